//! The files of archives and packages, and their places.

use std::fs;

use crate::command::run;
use crate::dist::tar::{Entry, gzip};
use crate::places;

/// The texts that the agent's table of flags makes.
#[derive(Default)]
pub struct Pages {
    man: String,
    bash: String,
    zsh: String,
    fish: String,
}

impl Pages {
    /// Builds and asks `examples/pages.rs`, on this machine.
    ///
    /// # Errors
    ///
    /// The output of cargo.
    pub fn print() -> Result<Pages, String> {
        let print = |name: &str| {
            let mut cargo = places::cargo();
            cargo.args(["run", "--quiet", "--locked", "--package", "otelet", "--example", "pages", "--", name]);
            let ran = run("man page and completions", &mut cargo)?;
            if ran.ok() { Ok(ran.stdout) } else { Err(format!("the page {name} cannot be printed\n{}", ran.output)) }
        };
        Ok(Pages { man: print("man")?, bash: print("bash")?, zsh: print("zsh")?, fish: print("fish")? })
    }

    /// Pages of a line each.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        let page = |text: &str| text.to_owned();
        Self {
            man: page(".TH OTELET 8 \n"),
            bash: page("complete\n"),
            zsh: page("#compdef\n"),
            fish: page("complete\n"),
        }
    }
}

/// Everything in one flat directory, with the installer and the sums that it checks.
///
/// # Errors
///
/// A file that cannot be read.
pub fn archive(binary: &[u8], bill: &[u8], pages: &Pages) -> Result<Vec<Entry>, String> {
    let mut entries = vec![Entry::file("otelet", 0o755, binary)];
    entries.extend(installer(pages)?);
    entries.extend([
        Entry::file("collector.yaml", 0o644, target("collector.yaml")?),
        Entry::file("otelet.cdx.json", 0o644, bill),
        Entry::file("LICENSE", 0o644, read("LICENSE")?),
    ]);
    entries.push(sums(&entries));
    Ok(entries)
}

/// The files of the archive for Windows, in one directory: the agent installs itself as a service.
///
/// # Errors
///
/// A file that cannot be read.
pub fn windows(binary: &[u8], bill: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = vec![
        Entry::file("otelet.exe", 0o755, binary),
        Entry::file("otelet.yaml", 0o644, read("targets/windows/otelet.yaml")?),
        Entry::file("collector.yaml", 0o644, read("targets/windows/collector.yaml")?),
        Entry::file("more.yaml", 0o644, read("targets/windows/more.yaml")?),
        Entry::file("LICENSE", 0o644, read("LICENSE")?),
        Entry::file("otelet.cdx.json", 0o644, bill),
    ];
    for page in ["windows", "settings", "status", "sources"] {
        entries.push(Entry::file(format!("docs/{page}.md"), 0o644, read(&format!("docs/{page}.md"))?));
    }
    entries.push(sums(&entries));
    Ok(entries)
}

/// The script that installs the MSI.
///
/// # Errors
///
/// A file that cannot be read.
pub fn script_for_windows() -> Result<Vec<u8>, String> {
    read("targets/windows/install.ps1")
}

/// The scripts that install and uninstall, and the files that they put beside the agent.
///
/// # Errors
///
/// A file that cannot be read.
pub fn installer(pages: &Pages) -> Result<Vec<Entry>, String> {
    Ok(vec![
        Entry::file("install.sh", 0o755, target("install.sh")?),
        Entry::file("uninstall.sh", 0o755, target("uninstall.sh")?),
        Entry::file("otelet.service", 0o644, target("otelet.service")?),
        Entry::file("otelet.openrc", 0o644, target("otelet.openrc")?),
        Entry::file("otelet.yaml", 0o644, target("otelet.yaml")?),
        Entry::file("otelet.8", 0o644, pages.man.as_bytes()),
        Entry::file("otelet.bash", 0o644, pages.bash.as_bytes()),
        Entry::file("_otelet", 0o644, pages.zsh.as_bytes()),
        Entry::file("otelet.fish", 0o644, pages.fish.as_bytes()),
    ])
}

/// The sums of some files, as the installer checks them.
pub fn sums(entries: &[Entry]) -> Entry {
    let sums: String = entries
        .iter()
        .filter_map(|entry| Some(format!("{}  {}\n", places::sha256(entry.content.as_ref()?), entry.path)))
        .collect();
    Entry::file("SHA256SUMS", 0o644, sums)
}

/// Where a family of distributions differs from the others.
pub enum Family {
    /// Distributions with `.deb`: common licences are on the host already.
    Debian,
    /// Distributions with `.rpm`.
    RedHat,
}

/// Everything where a package puts it.
///
/// # Errors
///
/// A file that cannot be read.
pub fn package(binary: &[u8], bill: &[u8], pages: &Pages, family: Family) -> Result<Vec<Entry>, String> {
    let (zsh, licence, text) = match family {
        Family::Debian => {
            let text =
                "Copyright: the authors of otelet\nLicense: Apache-2.0, see /usr/share/common-licenses/Apache-2.0\n";
            ("usr/share/zsh/vendor-completions", "usr/share/doc/otelet/copyright", text.into())
        }
        Family::RedHat => ("usr/share/zsh/site-functions", "usr/share/licenses/otelet/LICENSE", read("LICENSE")?),
    };
    let doc = "usr/share/doc/otelet";
    let files = vec![
        Entry::file("usr/bin/otelet", 0o755, binary),
        Entry::directory("etc/otelet", 0o750),
        Entry::file("etc/otelet/otelet.yaml", 0o640, target("otelet.yaml")?).config(),
        Entry::file("usr/lib/systemd/system/otelet.service", 0o644, target("otelet.service")?),
        Entry::file("usr/share/man/man8/otelet.8.gz", 0o644, gzip(pages.man.as_bytes())),
        Entry::file("usr/share/bash-completion/completions/otelet", 0o644, pages.bash.as_bytes()),
        Entry::file(format!("{zsh}/_otelet"), 0o644, pages.zsh.as_bytes()),
        Entry::file("usr/share/fish/vendor_completions.d/otelet.fish", 0o644, pages.fish.as_bytes()),
        Entry::directory(doc, 0o755),
        Entry::file(licence, 0o644, text),
        Entry::file(format!("{doc}/collector.yaml"), 0o644, target("collector.yaml")?),
        Entry::file(format!("{doc}/otelet.cdx.json"), 0o644, bill),
    ];
    Ok(with_folders(files))
}

/// Adds the directories above each entry, and puts all in order.
fn with_folders(mut entries: Vec<Entry>) -> Vec<Entry> {
    let paths: Vec<String> = entries.iter().map(|entry| entry.path.clone()).collect();
    for path in paths {
        for (slash, _) in path.match_indices('/') {
            let folder = &path[..slash];
            if !entries.iter().any(|entry| entry.path == folder) {
                entries.push(Entry::directory(folder, 0o755));
            }
        }
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    entries
}

fn target(name: &str) -> Result<Vec<u8>, String> {
    read(&format!("targets/linux/{name}"))
}

fn read(name: &str) -> Result<Vec<u8>, String> {
    let path = places::root().join(name);
    fs::read(&path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_comes_once_and_before_what_is_in_it() {
        let entries = with_folders(vec![
            Entry::file("usr/share/b", 0o644, ""),
            Entry::file("usr/share/a", 0o644, ""),
            Entry::directory("etc/otelet", 0o750),
        ]);
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["etc", "etc/otelet", "usr", "usr/share", "usr/share/a", "usr/share/b"]);
        assert_eq!(entries[1].mode, 0o750);
    }

    #[test]
    fn the_settings_file_of_the_packages_is_the_one_that_every_version_has() {
        // dpkg asks at an upgrade when a person has changed this file and a new version of it comes: on a host that upgrades by
        // itself, nobody answers. A new setting belongs into docs/settings.md and the man page.
        let sum = places::sha256(&target("otelet.yaml").unwrap());
        assert_eq!(sum, "77cb8a021fe2fb5550c3a686a4778460f0fc037e7ecd3908489c76c62942ad75");
    }
}
