//! `cargo xtask dist --binary=PATH --version=V`: packages of a program that is there already, for tests of what the packages
//! do. A release takes minutes to build, and an upgrade needs two versions.

use std::path::PathBuf;

use crate::build::{Binary, platforms::Platform};
use crate::dist::{make, payload::Pages, stamp::Stamp};
use crate::{Failure, Flags, places};

/// A program, and what its packages say.
#[derive(Debug)]
pub struct Prebuilt {
    binary: PathBuf,
    version: String,
}

impl Prebuilt {
    /// Reads the flags. None where no program is given: then it is to be built.
    ///
    /// # Errors
    ///
    /// Flags that are for what is built, a version that not every kind of package may have.
    pub fn parse(args: &[String]) -> Result<Option<Prebuilt>, Failure> {
        let (mut binary, mut version, mut other) = (None, None, None);
        let mut flags = Flags::new("dist", args);
        while let Some(name) = flags.next_name() {
            match name {
                "--binary" => binary = Some(PathBuf::from(flags.value(name)?)),
                "--version" => version = Some(flags.value(name)?.to_owned()),
                name => other = other.or(Some(name)),
            }
        }
        match (binary, version, other) {
            (None, None, _) => Ok(None),
            (Some(_), Some(_), Some(other)) => Err(Failure::Usage(format!("--binary and {other}: give one of them"))),
            (Some(binary), Some(version), None) => {
                // deb-version(7) without what separates versions from revisions there and in an rpm.
                let fits = |c: char| c.is_ascii_alphanumeric() || ".+~".contains(c);
                if !version.starts_with(|c: char| c.is_ascii_digit()) || !version.chars().all(fits) {
                    let rule = "a digit, then letters, digits and any of .+~";
                    return Err(Failure::Usage(format!("--version={version}: not a version: {rule}")));
                }
                Ok(Some(Prebuilt { binary, version }))
            }
            _ => Err(Failure::Usage("--binary and --version: give both or none".to_owned())),
        }
    }

    /// Makes what `dist` makes, in a folder of its own. Nothing is tried: that is for who asked.
    ///
    /// # Errors
    ///
    /// The file that cannot be read or written.
    pub fn package(self) -> Result<(), String> {
        let platform = Platform::here().ok_or("this machine is not in targets/platforms.yaml")?;
        let folder = places::target().join("dist/given").join(&self.version);
        let built = Binary { path: self.binary, with: "--binary".to_owned(), rustc: "unknown".to_owned() };
        let stamp = Stamp { version: self.version.leak(), ..Stamp::now()? };
        make(&platform, &built, None, folder, &Pages::print()?, &stamp).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Prebuilt>, Failure> {
        Prebuilt::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    fn complaint(args: &[&str]) -> String {
        match parse(args) {
            Err(Failure::Usage(message)) => message,
            _ => panic!("not refused as a bad flag: {args:?}"),
        }
    }

    #[test]
    fn a_program_is_given_with_a_version_and_nothing_else() {
        let prebuilt = parse(&["--binary=a", "--version=1.2.3"]).ok().flatten().unwrap();
        assert_eq!((prebuilt.binary, prebuilt.version.as_str()), (PathBuf::from("a"), "1.2.3"));
        assert!(parse(&["--target=x86_64-unknown-linux-musl"]).ok().unwrap().is_none());
        assert_eq!(complaint(&["--binary=a"]), "--binary and --version: give both or none");
        assert_eq!(complaint(&["--binary=a", "--version=1", "--all"]), "--binary and --all: give one of them");
        let rule = "not a version: a digit, then letters, digits and any of .+~";
        assert_eq!(complaint(&["--binary=a", "--version=1-2"]), format!("--version=1-2: {rule}"));
    }
}
