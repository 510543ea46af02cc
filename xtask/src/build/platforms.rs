//! The table `targets/platforms.yaml`: what otelet is built for, and what each target needs.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

use crate::places;

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    every: Defaults,
    targets: BTreeMap<String, Requirements>,
}

/// The needs of every target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Flags for rustc.
    pub rustflags: Vec<String>,
    /// Flags for the C compiler.
    pub cflags: Vec<String>,
    /// Features of std, where it is built from its sources.
    pub std_features: Vec<String>,
}

/// The needs of one target; the table itself explains the keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// Its name for people.
    pub is: String,
    /// The architecture in a `.deb`.
    pub deb: Option<String>,
    /// The architecture in a `.rpm`.
    pub rpm: Option<String>,
    /// The platform in a container image.
    pub container: Option<String>,
    /// `e_machine` of an ELF file.
    pub machine: Option<u16>,
    /// The machine of a PE file.
    pub pe: Option<u16>,
    /// Flags of `every` that rustc does not take for it.
    #[serde(default)]
    pub without: Vec<String>,
    /// Flags for rustc for this target alone.
    #[serde(default)]
    pub rustflags: Vec<String>,
    /// C compilers that link too.
    pub compilers: Vec<String>,
    /// Flags for rustc where zig compiles and links.
    pub zig: Vec<String>,
    /// Emulators that run its programs on other machines.
    #[serde(default)]
    pub emulators: Vec<String>,
}

/// One target with all that it needs.
#[derive(Debug, Clone)]
pub struct Platform {
    /// The Rust target.
    pub target: String,
    /// The needs of every target.
    pub every: Defaults,
    /// The needs of this one.
    pub needs: Requirements,
}

impl Platform {
    /// All that the table names, those for Linux first.
    ///
    /// # Errors
    ///
    /// The fault in the table.
    pub fn all() -> Result<Vec<Platform>, String> {
        let path = places::root().join("targets/platforms.yaml");
        let text = fs::read_to_string(&path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))?;
        let table: Table = serde_yaml::from_str(&text).map_err(|cause| format!("{}: {cause}", path.display()))?;
        let mut all: Vec<Platform> = table
            .targets
            .into_iter()
            .map(|(target, needs)| Platform { target, every: table.every.clone(), needs })
            .collect();
        // The usual machine first.
        all.sort_by_key(|platform| (platform.is_windows(), !platform.target.starts_with("x86_64")));
        Ok(all)
    }

    /// The one with this name.
    ///
    /// # Errors
    ///
    /// The names that there are.
    pub fn named(target: &str) -> Result<Platform, String> {
        let all = Platform::all()?;
        let names: Vec<String> = all.iter().map(|platform| platform.target.clone()).collect();
        all.into_iter()
            .find(|platform| platform.target == target)
            .ok_or_else(|| format!("{target}: not in targets/platforms.yaml, which has {}", names.join(", ")))
    }

    /// The one that runs on this machine, if it is a Linux.
    pub fn here() -> Option<Platform> {
        Platform::all().ok()?.into_iter().find(Platform::is_here)
    }

    /// Whether its programs run here by themselves.
    pub fn is_here(&self) -> bool {
        self.processor() == std::env::consts::ARCH
            && std::env::consts::OS == if self.is_windows() { "windows" } else { "linux" }
    }

    /// Whether it is a Windows.
    pub fn is_windows(&self) -> bool {
        self.target.contains("-windows-")
    }

    /// The processor: the first part of the target.
    pub fn processor(&self) -> &str {
        self.target.split('-').next().unwrap_or(&self.target)
    }

    /// The name of a program file there.
    pub fn program(&self, name: &str) -> String {
        if self.is_windows() { format!("{name}.exe") } else { name.to_owned() }
    }

    /// The target in the names of variables for cc and cargo.
    pub fn underscored(&self) -> String {
        self.target.replace('-', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read_and_begins_with_the_usual_machine() {
        let all = Platform::all().unwrap();
        assert_eq!(all[0].target, "x86_64-unknown-linux-musl");
        assert!(all.iter().all(|platform| platform.is_windows() == platform.needs.pe.is_some()));
        assert!(all.iter().all(|platform| platform.needs.pe.is_some() != platform.needs.machine.is_some()));
    }

    #[test]
    fn an_unknown_target_is_told_the_known_ones() {
        let message = Platform::named("avr-none").unwrap_err();
        assert!(message.starts_with("avr-none: not in targets/platforms.yaml, which has x86_64-unknown-linux-musl, "));
    }

    #[test]
    fn cross_hands_on_the_flags_for_c_of_each_target_that_it_has() {
        let cross = fs::read_to_string(places::root().join("Cross.toml")).unwrap();
        for platform in Platform::all().unwrap() {
            let handed_on = cross.contains(&format!("\"CFLAGS_{}\"", platform.underscored()));
            assert!(handed_on || cross.contains(&format!("no image for {}", platform.target)), "{}", platform.target);
        }
    }
}
