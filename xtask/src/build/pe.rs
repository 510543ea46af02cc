//! Looks into a Windows binary: for which machine it is, how it may be loaded, and which libraries it wants. After PE Format.

use std::fs;
use std::path::Path;

/// `IMAGE_DLLCHARACTERISTICS_*`
const HIGH_ENTROPY_VA: u16 = 0x20;
const DYNAMIC_BASE: u16 = 0x40;
const NX_COMPAT: u16 = 0x100;
/// `IMAGE_SUBSYSTEM_WINDOWS_CUI`
const CONSOLE: u16 = 3;

/// The libraries of every Windows since Server 2016; `api-ms-win-*` are names for functions in them.
const OF_WINDOWS: [&str; 14] = [
    "advapi32.dll",
    "bcrypt.dll",
    "bcryptprimitives.dll",
    "iphlpapi.dll",
    "kernel32.dll",
    "kernelbase.dll",
    "msi.dll",
    "msvcrt.dll",
    "ntdll.dll",
    "psapi.dll",
    "shell32.dll",
    "user32.dll",
    "userenv.dll",
    "ws2_32.dll",
];

/// The facts in the headers.
#[derive(Debug, PartialEq, Eq)]
pub struct Pe {
    /// For which machine.
    pub machine: u16,
    /// Whether each start has other addresses, and all 64 bits are used for them.
    pub moves: bool,
    /// See `moves`.
    pub moves_far: bool,
    /// Whether data cannot be executed.
    pub no_execute: bool,
    /// Whether it is a program for the console.
    pub console: bool,
    /// The libraries that it wants.
    pub imports: Vec<String>,
}

impl Pe {
    /// Reads the headers of a file.
    ///
    /// # Errors
    ///
    /// The file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Pe, String> {
        let bytes = fs::read(path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))?;
        Pe::of(&bytes).ok_or_else(|| format!("{}: not a PE file of a 64-bit machine", path.display()))
    }

    fn of(bytes: &[u8]) -> Option<Pe> {
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
        let head = u32_at(0x3c)?;
        // The optional header follows the one of 20 bytes behind the signature; 0x20b is PE32+.
        let optional = head + 24;
        if bytes.get(head..head + 4)? != b"PE\0\0" || u16_at(optional)? != 0x20b {
            return None;
        }
        let sections = optional + usize::from(u16_at(head + 20)?);
        let count = usize::from(u16_at(head + 6)?);
        // Where in the file something is that will be loaded there.
        let place = |address: usize| {
            (0..count).map(|index| sections + index * 40).find_map(|section| {
                let (size, start, raw) = (u32_at(section + 8)?, u32_at(section + 12)?, u32_at(section + 20)?);
                (start..start + size).contains(&address).then(|| address - start + raw)
            })
        };
        // The second directory is that of the imports: 20 bytes for each library, its name in the fourth word, zeros at the end.
        let mut imports = Vec::new();
        let table = u32_at(optional + 112 + 8)?;
        let mut entry = if table == 0 { None } else { Some(place(table)?) };
        while let Some(at) = entry {
            let name = u32_at(at + 12)?;
            if name == 0 {
                break;
            }
            let text = bytes.get(place(name)?..)?.split(|byte| *byte == 0).next()?;
            imports.push(String::from_utf8_lossy(text).to_lowercase());
            entry = Some(at + 20);
        }
        let flags = u16_at(optional + 70)?;
        Some(Pe {
            machine: u16_at(head + 4)?,
            moves: flags & DYNAMIC_BASE != 0,
            moves_far: flags & HIGH_ENTROPY_VA != 0,
            no_execute: flags & NX_COMPAT != 0,
            console: u16_at(optional + 68)? == CONSOLE,
            imports,
        })
    }
}

/// Whether each Windows has this library.
pub fn of_windows(name: &str) -> bool {
    name.starts_with("api-ms-win-") || OF_WINDOWS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers of a program with one section, in which the table of its imports is.
    fn program() -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
        put(0, b"MZ");
        put(0x3c, &[0x80]);
        put(0x80, b"PE\0\0\x64\x86\x01\0");
        // The size of the optional header: 112 bytes and 16 directories of 8.
        put(0x94, &[0xf0]);
        put(0x98, &[0x0b, 0x02]);
        put(0x98 + 68, &[3, 0, 0x60, 0x01]);
        put(0x98 + 120, &0x1010_u32.to_le_bytes());
        // The section: 0x200 bytes, loaded at 0x1000, in the file at 0x200.
        for (at, value) in [(8, 0x200_u32), (12, 0x1000), (16, 0x200), (20, 0x200)] {
            put(0x188 + at, &value.to_le_bytes());
        }
        put(0x210 + 12, &0x1080_u32.to_le_bytes());
        put(0x280, b"KERNEL32.dll\0");
        bytes
    }

    #[test]
    fn the_headers_of_a_program_are_read_and_cut_ones_refused() {
        let bytes = program();
        let expected = Pe {
            machine: 0x8664,
            moves: true,
            moves_far: true,
            no_execute: true,
            console: true,
            imports: vec!["kernel32.dll".to_owned()],
        };
        assert_eq!(Pe::of(&bytes), Some(expected));
        for length in [0, 0x3f, 0x98, 0x188, 0x220, 0x284] {
            assert_ne!(
                Pe::of(&bytes[..length]).map(|pe| pe.imports),
                Some(vec!["kernel32.dll".to_owned()]),
                "{length}"
            );
        }
        assert_eq!(Pe::of(b"\x7fELF"), None);
    }

    #[test]
    fn a_library_of_a_compiler_is_not_of_windows() {
        assert!(of_windows("kernel32.dll") && of_windows("api-ms-win-core-synch-l1-2-0.dll"));
        assert!(!of_windows("libgcc_s_seh-1.dll") && !of_windows("libwinpthread-1.dll"));
    }
}
