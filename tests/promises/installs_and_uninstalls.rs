//! The installer for Linux: installs into an empty tree, runs twice in a row, is interrupted at every step, respects
//! the files of others, and uninstalls. `runs_under_systemd` and `runs_under_openrc` try it with a real service
//! manager.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::host::{hash, stderr, stdout};

const TARGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/linux");

/// Commands after which the power may fail.
const STEPS: [&str; 7] = ["cp", "mv", "chmod", "mkdir", "sync", "sed", "cmp"];

/// An unpacked archive and a tree to install it into.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("otelet-install-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let place = Self { dir };
        fs::create_dir_all(place.archive()).unwrap();
        fs::create_dir_all(place.root().join("etc/systemd/system")).unwrap();
        for name in ["install.sh", "uninstall.sh", "otelet.service", "otelet.openrc", "otelet.yaml"] {
            fs::copy(Path::new(TARGETS).join(name), place.archive().join(name)).unwrap();
        }
        place.pack("otelet", "#!/bin/sh\n: version 1\n");
        place
    }

    fn archive(&self) -> PathBuf {
        self.dir.join("archive")
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn pack(&self, name: &str, text: &str) {
        fs::write(self.archive().join(name), text).unwrap();
        fs::set_permissions(self.archive().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        let files =
            fs::read_dir(self.archive()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
        let sums = files.filter(|name| name != "SHA256SUMS");
        let sums: String =
            sums.map(|name| format!("{}  {name}\n", hash(fs::read(self.archive().join(&name)).unwrap()))).collect();
        fs::write(self.archive().join("SHA256SUMS"), sums).unwrap();
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.arg(self.archive().join(name)).arg(format!("--root={}", self.root().display())).args(arguments);
        command
    }

    fn install(&self, arguments: &[&str]) -> Output {
        self.script("install.sh", arguments).output().unwrap()
    }

    fn installed(&self) {
        let output = self.install(&[]);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    }

    fn uninstalled(&self, arguments: &[&str]) {
        let output = self.script("uninstall.sh", arguments).output().unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    }

    /// Every file of the tree with its mode and content. The order in the manifest depends on where the installer was
    /// interrupted.
    fn tree(&self) -> BTreeMap<String, (u32, String)> {
        fn walk(at: &Path, root: &Path, found: &mut BTreeMap<String, (u32, String)>) {
            for entry in fs::read_dir(at).unwrap().flatten() {
                let (path, meta) = (entry.path(), entry.metadata().unwrap());
                let name = path.strip_prefix(root).unwrap().display().to_string();
                let mut text = String::new();
                if meta.is_dir() {
                    walk(&path, root, found);
                } else {
                    text = fs::read_to_string(&path).unwrap();
                }
                if name.ends_with("otelet/manifest") {
                    let mut lines: Vec<&str> = text.lines().collect();
                    lines.sort();
                    text = lines.join("\n");
                }
                found.insert(name, (meta.permissions().mode() & 0o7777, text));
            }
        }
        let mut found = BTreeMap::new();
        walk(&self.root(), &self.root(), &mut found);
        found
    }

    /// Installs, killed before the step of this number. Returns whether it had finished before that step.
    fn interrupted(&self, step: usize) -> bool {
        let shims = self.dir.join("shims");
        fs::create_dir_all(&shims).unwrap();
        let count = self.dir.join("count");
        fs::write(&count, "").unwrap();
        for name in STEPS {
            let real = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name)).into_iter().find(|path| path.exists());
            let real = real.expect("a system has it");
            let text = format!(
                "#!/bin/sh\nprintf x >>'{count}'\n[ $(wc -c <'{count}') -ne {step} ] || kill -9 $PPID\nexec {real} \"$@\"\n",
                count = count.display(),
                real = real.display()
            );
            fs::write(shims.join(name), text).unwrap();
            fs::set_permissions(shims.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", shims.display(), std::env::var("PATH").unwrap());
        let output = self.script("install.sh", &[]).env("PATH", path).output().unwrap();
        output.status.success()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn it_installs_into_an_empty_tree_and_uninstalls_without_a_trace() {
    let place = Place::new("empty");
    let before = place.tree();

    let output = place.install(&["--url=https://config.example.com/site's.yaml"]);

    assert!(output.status.success(), "{}", stderr(&output));
    let tree = place.tree();
    assert_eq!(tree["usr/local/bin/otelet"].0, 0o755);
    assert_eq!(tree["etc/otelet/otelet.yaml"].0, 0o640);
    assert!(tree["etc/otelet/otelet.yaml"].1.ends_with("config:\n  url: 'https://config.example.com/site''s.yaml'\n"));
    assert!(tree["etc/systemd/system/otelet.service"].1.contains("ExecStart=/usr/local/bin/otelet run\n"));

    place.uninstalled(&["--purge"]);
    let after = place.tree();
    let made: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
    // Directories of the file system hierarchy exist on every machine, but not in this test.
    assert_eq!(made, ["usr", "usr/local", "usr/local/lib"]);
}

#[test]
fn a_second_run_changes_nothing() {
    let place = Place::new("twice");
    place.installed();
    let once = place.tree();

    let output = place.install(&["--url=https://elsewhere.example.com/"]);

    assert_eq!(place.tree(), once, "settings of the first time stay as well");
    let said = stdout(&output);
    assert!(!said.contains("makes") && !said.contains("replaces"), "{said}");
}

#[test]
fn a_run_after_an_interruption_at_any_step_completes_it() {
    let whole = Place::new("whole");
    whole.installed();
    let whole = whole.tree();
    for step in 1.. {
        let place = Place::new("interrupted");
        let ended = place.interrupted(step);

        for (name, (_, text)) in place.tree() {
            let half = !name.ends_with(".otelet-new") && !name.contains("usr/local/lib/") && !text.is_empty();
            assert!(!half || whole[&name].1 == text, "step {step} leaves half of {name}");
        }
        place.installed();
        let mut left = place.tree();
        left.retain(|name, _| !name.ends_with(".otelet-new"));
        let differ = |name: &&String| left.get(*name) != whole.get(*name);
        let differing: Vec<_> = left.keys().chain(whole.keys()).filter(differ).collect();
        assert!(differing.is_empty(), "after an interruption at step {step}: {differing:?}");
        place.uninstalled(&["--purge"]);
        assert!(!place.root().join("etc/otelet").exists(), "step {step}");
        if ended {
            assert!(step > 10, "only {step} steps were seen: are these the commands that the script uses?");
            return;
        }
    }
}

#[test]
fn the_backend_and_the_settings_are_flags_and_a_second_run_says_that_they_are_left_out() {
    let place = Place::new("endpoint");
    place.pack("otelcol", "#!/bin/sh\n");
    let endpoint = "--endpoint=https://otlp.example.com";

    assert!(place.install(&[endpoint, "--url=/srv/site.yaml"]).status.success());

    let settings = &place.tree()["etc/otelet/otelet.yaml"].1;
    let expected = "config:\n  url: '/srv/site.yaml'\ncollector:\n  path: /usr/local/bin/otelcol\n  env: \
                    {OTEL_EXPORTER_OTLP_ENDPOINT: 'https://otlp.example.com'}\n";
    assert!(settings.ends_with(expected), "{settings}");
    let mut checked = Command::new(super::host::otelet());
    checked
        .args(["status", "--runtime-dir=/no/such"])
        .arg(format!("--settings={}", place.root().join("etc/otelet/otelet.yaml").display()));
    assert!(stderr(&checked.output().unwrap()).contains("no agent has written its status"), "the agent takes them");
    let said = stdout(&place.install(&["--endpoint=https://other.example.com"]));
    assert!(said.contains("--endpoint is left out: it counts for a first installation only; change "), "{said}");

    let place = Place::new("given");
    fs::write(place.dir.join("mine.yaml"), "alerts: []\n").unwrap();
    let mine = format!("--settings={}", place.dir.join("mine.yaml").display());
    assert_eq!(place.install(&[&mine, endpoint]).status.code(), Some(64), "two places for one thing");
    assert!(place.install(&[&mine]).status.success());
    assert_eq!(place.tree()["etc/otelet/otelet.yaml"], (0o640, "alerts: []\n".into()));
}

#[test]
fn the_man_page_that_the_service_names_is_installed_with_the_completions_and_goes_with_them() {
    let place = Place::new("pages");
    let pages = [
        ("otelet.8", "usr/local/share/man/man8/otelet.8"),
        ("otelet.bash", "usr/local/share/bash-completion/completions/otelet"),
        ("_otelet", "usr/local/share/zsh/site-functions/_otelet"),
        ("otelet.fish", "usr/local/share/fish/vendor_completions.d/otelet.fish"),
    ];
    for (name, _) in pages {
        place.pack(name, name);
    }

    place.installed();

    for (name, path) in pages {
        assert_eq!(place.tree()[path].1, name);
    }
    assert!(fs::read_to_string(Path::new(TARGETS).join("otelet.service")).unwrap().contains("man:otelet(8)"));
    place.uninstalled(&[]);
    assert!(!place.root().join("usr/local/share").exists());
}

#[test]
fn files_of_others_stay() {
    let place = Place::new("foreign");
    let settings = place.root().join("etc/otelet/otelet.yaml");
    fs::create_dir_all(settings.parent().unwrap()).unwrap();
    fs::write(&settings, "config: {url: /mine}\n").unwrap();
    fs::write(place.root().join("etc/otelet/notes"), "mine").unwrap();
    let before = place.tree();

    place.installed();
    assert_eq!(place.tree()["etc/otelet/otelet.yaml"], before["etc/otelet/otelet.yaml"]);
    place.uninstalled(&["--purge"]);

    let after = place.tree();
    for (name, file) in before {
        assert_eq!(after.get(&name), Some(&file), "{name}");
    }
}

#[test]
fn without_purge_settings_stay_and_a_later_purge_still_finds_them() {
    let place = Place::new("keep");
    place.installed();

    place.uninstalled(&[]);
    assert!(!place.root().join("usr/local/bin/otelet").exists());
    assert!(place.root().join("etc/otelet/otelet.yaml").exists());

    place.uninstalled(&["--purge"]);
    assert!(!place.root().join("etc/otelet").exists());
}

#[test]
fn a_bundle_brings_its_own_config_and_key() {
    let place = Place::new("bundle");
    place.pack("otelcol", "#!/bin/sh\n");
    place.pack("site.yaml", "receivers: {}\n");
    place.pack("site.yaml.minisig", "untrusted comment\n");
    place.pack("site.pub", "untrusted comment\nRWQ123\n");

    place.installed();

    let tree = place.tree();
    let settings = &tree["etc/otelet/otelet.yaml"].1;
    let expected =
        "config:\n  url: /etc/otelet/site.yaml\n  public_key: RWQ123\ncollector:\n  path: /usr/local/bin/otelcol\n";
    assert!(settings.ends_with(expected), "{settings}");
    assert_eq!(tree["etc/otelet/site.yaml"].1, "receivers: {}\n");
    assert!(tree.contains_key("etc/otelet/site.yaml.minisig"));
    assert_eq!(tree["usr/local/bin/otelcol"].0, 0o755);
}

#[test]
fn a_damaged_archive_is_refused_before_anything_is_touched() {
    let place = Place::new("damaged");
    let before = place.tree();
    fs::write(place.archive().join("otelet"), "#!/bin/sh\n: version 1, one byte of it turned\n").unwrap();

    let output = place.install(&[]);

    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("a file is damaged: otelet: FAILED; copy the archive again"),
        "{}",
        stderr(&output)
    );
    fs::remove_file(place.archive().join("SHA256SUMS")).unwrap();
    assert!(stderr(&place.install(&[])).contains("SHA256SUMS is missing; unpack the whole archive"));
    assert_eq!(place.tree(), before);
}

#[test]
fn a_wrong_argument_is_named() {
    let place = Place::new("argument");
    for (argument, problem) in [
        ("--ulr=x", "--ulr=x: no such flag"),
        ("--url=", "--url=: no such flag, or no value"),
        ("--wait=soon", "--wait=soon: give whole seconds"),
        ("--endpoint=otlp.example.com", "--endpoint=otlp.example.com: give http:// or https://"),
    ] {
        let output = place.install(&[argument]);
        assert_eq!(output.status.code(), Some(64));
        assert!(stderr(&output).contains(problem), "{}", stderr(&output));
    }
}

#[test]
fn the_rpm_labels_its_files_before_the_service_starts() {
    let dir = std::env::temp_dir().join(format!("otelet-labels-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    for name in ["restorecon", "systemctl"] {
        fs::write(dir.join(name), format!("#!/bin/sh\necho {name} \"$@\" >>{}\n", dir.join("calls").display()))
            .unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let post = |path: &str| {
        let ran = Command::new("/bin/sh").arg(Path::new(TARGETS).join("rpm/post")).arg("1").env("PATH", path).output();
        assert!(ran.as_ref().unwrap().status.success(), "{ran:?}");
    };
    post(&dir.display().to_string());

    let calls = fs::read_to_string(dir.join("calls")).unwrap();
    let first = calls.lines().next().unwrap();
    assert!(first.starts_with("restorecon ") && first.contains(" /usr/bin/otelet "), "{calls}");
    assert!(calls.contains("systemctl enable otelet.service"), "{calls}");

    // Without SELinux there is no such program.
    fs::remove_file(dir.join("restorecon")).unwrap();
    post(&dir.display().to_string());
    fs::remove_dir_all(&dir).unwrap();
}
