//! A machine to have a Collector for, in Go's words and in those of the release files.

/// An operating system and a processor, as Go names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `GOOS`.
    pub os: &'static str,
    /// `GOARCH`.
    pub arch: &'static str,
    /// `GOARM`, for 32-bit ARM.
    pub arm: Option<&'static str>,
}

impl Platform {
    /// The machine this runs on.
    pub fn here() -> Platform {
        let target = format!("{}-unknown-{}", std::env::consts::ARCH, std::env::consts::OS);
        Platform::of_rust_target(&target).unwrap_or(Platform {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            arm: None,
        })
    }

    /// The machine that a Rust target such as `aarch64-unknown-linux-musl` stands for.
    ///
    /// # Errors
    ///
    /// The part of the target that has no counterpart here.
    pub fn of_rust_target(target: &str) -> Result<Platform, String> {
        let (processor, rest) = target.split_once('-').unwrap_or((target, ""));
        let (arch, arm) = match processor {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "i586" | "i686" | "x86" => ("386", None),
            "arm" if rest.starts_with("unknown-linux-") => ("arm", Some("6")),
            "arm" => ("arm", Some("7")),
            _ if processor.starts_with("armv7") => ("arm", Some("7")),
            "riscv64" | "riscv64gc" => ("riscv64", None),
            "powerpc64le" => ("ppc64le", None),
            "s390x" => ("s390x", None),
            _ => return Err(format!("{target}: no Collector is known for {processor}")),
        };
        let os = ["linux", "windows", "freebsd"]
            .into_iter()
            .find(|os| rest.contains(os))
            .or_else(|| (rest.contains("darwin") || rest.contains("macos")).then_some("darwin"))
            .ok_or_else(|| format!("{target}: no Collector is known for it; try x86_64-unknown-linux-musl"))?;
        Ok(Platform { os, arch, arm })
    }

    /// Whether this is the machine this runs on.
    pub fn is_here(&self) -> bool {
        *self == Platform::here()
    }

    /// `linux-amd64`, `linux-armv7`: for file names and messages.
    pub fn name(&self) -> String {
        format!("{}-{}", self.os, self.processor())
    }

    /// `amd64`, `armv7`: as in the names of the release files.
    pub fn processor(&self) -> String {
        match self.arm {
            Some(version) => format!("{}v{version}", self.arch),
            None => self.arch.to_owned(),
        }
    }

    /// The name of a program file there.
    pub fn program(&self, name: &str) -> String {
        if self.os == "windows" { format!("{name}.exe") } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_targets_become_the_names_of_go() {
        for (target, name) in [
            ("x86_64-unknown-linux-musl", "linux-amd64"),
            ("aarch64-unknown-linux-musl", "linux-arm64"),
            ("armv7-unknown-linux-musleabihf", "linux-armv7"),
            ("arm-unknown-linux-musleabihf", "linux-armv6"),
            ("x86_64-pc-windows-gnu", "windows-amd64"),
            ("aarch64-apple-darwin", "darwin-arm64"),
        ] {
            assert_eq!(Platform::of_rust_target(target).unwrap().name(), name);
        }
    }

    #[test]
    fn an_unknown_target_is_named() {
        let message = Platform::of_rust_target("avr-none").unwrap_err();
        assert_eq!(message, "avr-none: no Collector is known for avr");
    }
}
