//! Looks into a Linux binary: for which machine it is, and whether it is static and position independent. After elf(5).

use std::fs;
use std::path::Path;

/// `ET_DYN`: it may be loaded anywhere.
const POSITION_INDEPENDENT: u16 = 3;
/// `PT_INTERP`: it wants a dynamic loader.
const INTERPRETER: u32 = 3;

/// The facts in the headers.
#[derive(Debug, PartialEq, Eq)]
pub struct Elf {
    /// `e_machine`.
    pub machine: u16,
    /// Whether it may be loaded anywhere, so that each start has other addresses.
    pub position_independent: bool,
    /// Whether it needs no dynamic loader, and so no libc of the host.
    pub is_static: bool,
}

impl Elf {
    /// Reads the headers of a file.
    ///
    /// # Errors
    ///
    /// The file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Elf, String> {
        let bytes = fs::read(path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))?;
        Elf::of(&bytes).ok_or_else(|| format!("{}: not an ELF file of a little-endian machine", path.display()))
    }

    fn of(bytes: &[u8]) -> Option<Elf> {
        if bytes.get(..4)? != b"\x7fELF" || *bytes.get(5)? != 1 {
            return None;
        }
        let wide = *bytes.get(4)? == 2;
        let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        // e_phoff, e_phentsize and e_phnum; the upper half of a 64-bit e_phoff is zero in a file of this size.
        let (table, size, count) = if wide { (0x20, 0x36, 0x38) } else { (0x1c, 0x2a, 0x2c) };
        let (table, size, count) = (u32_at(table)? as usize, u16_at(size)? as usize, u16_at(count)? as usize);
        let mut is_static = true;
        for index in 0..count {
            is_static &= u32_at(table + index * size)? != INTERPRETER;
        }
        Some(Elf { machine: u16_at(0x12)?, position_independent: u16_at(0x10)? == POSITION_INDEPENDENT, is_static })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
    #[test]
    fn a_test_binary_is_position_independent_and_not_static() {
        let found = Elf::read(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(found, Elf { machine: 62, position_independent: true, is_static: false });
    }

    #[test]
    fn a_narrow_header_is_read_and_a_cut_one_refused() {
        let mut bytes = vec![0; 0x34 + 32];
        bytes[..6].copy_from_slice(b"\x7fELF\x01\x01");
        bytes[0x10] = 2;
        bytes[0x12] = 40;
        bytes[0x1c] = 0x34;
        bytes[0x2a] = 32;
        bytes[0x2c] = 1;
        assert_eq!(Elf::of(&bytes), Some(Elf { machine: 40, position_independent: false, is_static: true }));
        bytes[0x34] = 3;
        assert!(!Elf::of(&bytes).unwrap().is_static);
        assert_eq!(Elf::of(&bytes[..0x34]), None);
        assert_eq!(Elf::of(b"MZ"), None);
    }
}
