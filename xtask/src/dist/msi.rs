//! The MSI: wixl makes it of `targets/windows/msi/otelet.wxs`, msibuild says what wixl cannot, and the rest is made the same in
//! each run. No installation of Windows is needed for it.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::build::{self, platforms::Platform};
use crate::command::run;
use crate::dist::stamp::Stamp;
use crate::dist::tar::Entry;
use crate::dist::trial::Scratch;
use crate::places;

/// The name of what the MSI runs, as the tables have it.
const LIBRARY: &str = "otelet_msi.dll";

/// The properties that a person may give on the command line: Windows Installer hands only these on to the part of it that has
/// the rights.
const PROPERTIES: &str = "CONFIG_URL;CONFIG_PUBLIC_KEY;COLLECTOR_PATH;ATTRIBUTES;KEEP_STATE";

/// The machine in the PE header that an MSI for x64 is for.
const FOR_X64: u16 = 0x8664;

/// The type of an action that Windows Installer runs only if something fails later, for which wixl has no word: a function of a
/// library, put into the script (msidbCustomActionTypeInScript) of the rollback (msidbCustomActionTypeRollback), not as the
/// user (msidbCustomActionTypeNoImpersonate).
const UNDO: [&str; 4] = ["UndoStop", "UndoUninstall", "UndoConfigure", "UndoRegister"];
const ROLLBACK: u32 = 0x1 | 0x400 | 0x100 | 0x800;

/// Whether an MSI can be made here for this target.
///
/// # Errors
///
/// The tool to install, or the reason that there is no MSI.
pub fn possible(platform: &Platform) -> Result<(), String> {
    if platform.needs.pe != Some(FOR_X64) {
        return Err("wixl makes none for this processor; `otelet service install` of the zip does the same".to_owned());
    }
    match ["wixl", "msibuild"].iter().find(|tool| places::on_path(tool).is_none()) {
        Some(tool) => Err(format!("no {tool} here: `apt-get install wixl msitools`")),
        None => Ok(()),
    }
}

/// Builds the library that it runs.
///
/// # Errors
///
/// The compiler's output.
pub fn library(platform: &Platform, way: Option<&str>) -> Result<Vec<u8>, String> {
    let path = build::library(platform, "otelet-msi", way)?;
    fs::read(&path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))
}

/// Makes it of `entries`, of which it has those that its tables name, and of the library that it runs.
///
/// # Errors
///
/// The output of the tools, or a part that Windows Installer would refuse.
pub fn msi(entries: &[Entry], library: &[u8], stamp: &Stamp) -> Result<Vec<u8>, String> {
    let version = product_version(stamp.version)?;
    let scratch = Scratch::new("msi")?;
    let source = places::root().join("targets/windows/msi/otelet.wxs");
    let tables = fs::read(&source).map_err(|cause| format!("{}: cannot read: {cause}", source.display()))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(stamp.time);
    let put = |name: &str, content: &[u8]| {
        let path = scratch.dir.join(name);
        let written =
            fs::write(&path, content).and_then(|()| fs::File::options().write(true).open(&path)?.set_modified(time));
        written.map_err(|cause| format!("{}: cannot write: {cause}", path.display()))
    };
    // The same name, the same content: whoever installs it again gets what is there already.
    let mut parts: Vec<&[u8]> = vec![version.as_bytes(), &tables, library];
    for entry in entries.iter().filter(|entry| !entry.path.contains('/')) {
        let Some(content) = &entry.content else { continue };
        put(&entry.path, content)?;
        parts.extend([entry.path.as_bytes(), content]);
    }
    put(LIBRARY, library)?;
    let package = uuid(&places::sha256_of(&parts));
    let product = uuid(&places::sha256_of(&[b"otelet ", version.as_bytes(), b" x86_64"]));

    let mut wixl = Command::new("wixl");
    wixl.current_dir(&scratch.dir).env("TZ", "UTC").args(["--arch", "x64", "--output", "otelet.msi"]);
    wixl.arg(format!("--define=Version={version}")).arg(format!("--define=ProductCode={product}")).arg(&source);
    must("wixl", &mut wixl)?;
    let mut summary = Command::new("msibuild");
    summary.current_dir(&scratch.dir).args(["otelet.msi", "-s", "otelet", "the authors of otelet", "x64;1033"]);
    summary.arg(format!("{{{package}}}"));
    must("msibuild", &mut summary)?;
    let mut patch = Command::new("msibuild");
    patch.current_dir(&scratch.dir).args(["otelet.msi", "-q"]).arg(format!(
        "UPDATE `Property` SET `Value` = 'OLDER;NEWER;{PROPERTIES}' WHERE `Property` = 'SecureCustomProperties'"
    ));
    for action in UNDO {
        patch.arg(format!("UPDATE `CustomAction` SET `Type` = {ROLLBACK} WHERE `Action` = '{action}'"));
    }
    must("msibuild", &mut patch)?;
    let made = scratch.dir.join("otelet.msi");
    let mut bytes = fs::read(&made).map_err(|cause| format!("{}: cannot read: {cause}", made.display()))?;
    set_times(&mut bytes, stamp.time).ok_or("the MSI has no summary of the usual form")?;
    Ok(bytes)
}

fn must(tool: &str, command: &mut Command) -> Result<(), String> {
    let ran = run(tool, command)?;
    // wixl only warns of what it does not know, and leaves it out.
    match ran.ok() && !ran.output.contains("WARNING") {
        true => Ok(()),
        false => Err(format!("{tool}: {}\n{}", ran.last_words(), ran.output)),
    }
}

/// Windows Installer compares three numbers, the first two up to 255, and nothing else; otelet.wxs ends at 127.
fn product_version(version: &str) -> Result<String, String> {
    let numbers: Vec<Option<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    match numbers[..] {
        [Some(0..=127), Some(0..=255), Some(0..=65_535)] => Ok(version.to_owned()),
        _ => Err(format!("version {version}: an MSI takes three numbers, up to 127.255.65535")),
    }
}

/// A UUID of a kind that anybody may make (RFC 9562, version 8) of the beginning of a sum.
fn uuid(sum: &str) -> String {
    let sum = sum.to_ascii_uppercase();
    format!("{}-{}-8{}-A{}-{}", &sum[..8], &sum[8..12], &sum[13..16], &sum[17..20], &sum[20..32])
}

/// Sets the times in the summary (MS-OLEPS), which wixl and msibuild take from the clock. None where there is none.
fn set_times(bytes: &mut [u8], seconds: u64) -> Option<()> {
    /// FMTID_SummaryInformation.
    const SUMMARY: [u8; 16] =
        [0xe0, 0x85, 0x9f, 0xf2, 0xf9, 0x4f, 0x68, 0x10, 0xab, 0x91, 0x08, 0x00, 0x2b, 0x27, 0xb3, 0xd9];
    /// PIDSI_CREATE_DTM, PIDSI_LASTSAVE_DTM, and their type VT_FILETIME.
    const TIMES: [usize; 2] = [12, 13];
    const FILETIME: usize = 64;
    // Counted from 1601 in units of 100 ns.
    let time = ((seconds + 11_644_473_600) * 10_000_000).to_le_bytes();
    let identifier = bytes.windows(16).position(|part| part == SUMMARY)?;
    let number = |bytes: &[u8], at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    // The stream begins 28 bytes before the first identifier, behind which stands where the section is.
    let section = identifier.checked_sub(28)? + number(bytes, identifier + 16)?;
    let mut left = TIMES.len();
    for entry in 0..number(bytes, section + 4)?.min(64) {
        let at = section + 8 + entry * 8;
        let value = section + number(bytes, at + 4)?;
        if TIMES.contains(&number(bytes, at)?) && number(bytes, value)? == FILETIME {
            bytes.get_mut(value + 4..value + 12)?.copy_from_slice(&time);
            left -= 1;
        }
    }
    (left == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(version: &'static str, time: u64) -> Vec<u8> {
        let entries = ["otelet.exe", "collector.yaml", "LICENSE", "otelet.cdx.json", "docs/left-out.md"]
            .map(|name| Entry::file(name, 0o644, format!("the {name}")));
        msi(&entries, b"the library", &Stamp { version, time }).unwrap()
    }

    fn asked(package: &[u8], words: &[&str]) -> String {
        let scratch = Scratch::new("msiinfo").unwrap();
        let path = scratch.dir.join("x.msi");
        fs::write(&path, package).unwrap();
        let (verb, rest) = words.split_first().unwrap();
        let ran = run("msiinfo", Command::new("msiinfo").arg(verb).arg(&path).args(rest)).unwrap();
        assert!(ran.ok(), "{}", ran.output);
        ran.stdout.replace('\r', "")
    }

    #[test]
    fn an_msi_is_the_same_each_time_and_has_what_an_upgrade_needs() {
        if let Err(reason) = possible(&Platform::named("x86_64-pc-windows-gnu").unwrap()) {
            return println!("skipped: no MSI is made: {reason}");
        }
        let package = made("1.2.3", 1_709_210_096);
        assert!(package == made("1.2.3", 1_709_210_096), "two runs give the same bytes");
        let summary = asked(&package, &["suminfo"]);
        for part in ["Template: x64;1033", "Feb 29 12:34:56 2024"] {
            assert!(summary.contains(part), "{part}\n{summary}");
        }
        let properties = asked(&package, &["export", "Property"]);
        for part in [
            "ALLUSERS\t1\n",
            "ProductVersion\t1.2.3\n",
            "UpgradeCode\t{9D0B0C8E-5C0F-4F5B-9E0A-6B0F3D3F7A41}\n",
            "SecureCustomProperties\tOLDER;NEWER;CONFIG_URL;CONFIG_PUBLIC_KEY;COLLECTOR_PATH;ATTRIBUTES;KEEP_STATE\n",
        ] {
            assert!(properties.contains(part), "{part}\n{properties}");
        }
        let product =
            |properties: &str| properties.lines().find(|line| line.starts_with("ProductCode")).unwrap().to_owned();
        let other = asked(&made("1.2.4", 1_709_210_096), &["export", "Property"]);
        assert_ne!(product(&properties), product(&other), "another version is another product");
        let files = asked(&package, &["export", "File"]);
        assert_eq!(files.lines().count(), 3 + 4, "{files}");
    }

    #[test]
    fn each_deferred_action_runs_as_the_system_and_what_changes_something_can_be_undone() {
        if let Err(reason) = possible(&Platform::named("x86_64-pc-windows-gnu").unwrap()) {
            return println!("skipped: no MSI is made: {reason}");
        }
        let package = made("1.2.3", 7);
        let table = |name: &str| -> Vec<Vec<String>> {
            let text = asked(&package, &["export", name]);
            text.lines().skip(3).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
        };
        // msidbCustomActionType: a DLL, deferred 0x400, rollback 0x100, not as the user 0x800.
        let kinds: Vec<(String, u32)> =
            table("CustomAction").into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect();
        let mut sequence: Vec<(u32, String)> =
            table("InstallExecuteSequence").into_iter().map(|row| (row[2].parse().unwrap(), row[0].clone())).collect();
        sequence.sort();
        let at = |name: &str| sequence.iter().find(|(_, action)| action == name).unwrap().0;
        for (name, kind) in &kinds {
            match name.as_str() {
                "Prepare" => assert_eq!(kind & 0xc00, 0, "{name}"),
                _ => assert_eq!(kind & 0xc00, 0xc00, "{name}"),
            }
            if let Some(done) = name.strip_prefix("Undo") {
                assert_eq!(kind & 0x100, 0x100, "{name}");
                assert_eq!(at(name) + 1, at(done), "{name} is noted down just before {done}");
            }
        }
        let order = [
            "FindRelatedProducts",
            "Prepare",
            "InstallInitialize",
            "Stop",
            "Uninstall",
            "RemoveFiles",
            "InstallFiles",
            "Configure",
            "Register",
            "Start",
            "InstallExecute",
            "RemoveExistingProducts",
            "InstallFinalize",
        ];
        assert!(order.map(at).is_sorted(), "{sequence:?}");
    }

    #[test]
    fn a_version_that_windows_installer_cannot_compare_is_refused() {
        assert_eq!(product_version("127.0.65535").unwrap(), "127.0.65535");
        for version in ["1.2", "1.2.3-rc1", "128.0.0", "1.256.3", "1.2.65536", "1.2.3.4"] {
            let why = product_version(version).unwrap_err();
            assert_eq!(why, format!("version {version}: an MSI takes three numbers, up to 127.255.65535"));
        }
    }

    #[test]
    fn a_code_is_a_uuid() {
        assert_eq!(uuid("0123456789abcdef0123456789abcdef01"), "01234567-89AB-8DEF-A123-456789ABCDEF");
    }
}
