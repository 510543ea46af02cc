//! The installer for Docker on a scripted engine: it looks before it removes the container that runs, puts it back when the
//! new one is not healthy, and names the reason. `runs_in_docker` tries it on a real engine.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::host::{stderr, stdout};

/// A client whose engine is a directory: images/NAME, containers/NAME and volumes/NAME. An image with the file `sick` is
/// never healthy, one with the file `bad` does not take its settings.
const DOCKER: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 1
echo "$*" >>calls
last() { for word; do :; done; echo "$word"; }
case "$1 $2" in
'version '*) ;;
'info '*) echo '[name=seccomp]' ;;
'run --rm')
    for word; do image=$before before=$word; done
    [ ! -e "images/$image/bad" ] || { echo 'otelet: otelet.yaml:1:1: bogus: unknown key'; exit 78; }
    exit 1 ;;
'run --detach')
    name=$4 image=$(last "$@") user=
    for word; do [ "$before" != --user ] || user=$word; before=$word; done
    mkdir -p "containers/$name" "volumes/$name-state"
    echo "$image" >"containers/$name/image"; echo "$user" >"containers/$name/user"; echo running >"containers/$name/state"
    echo "$*" >"containers/$name/words" ;;
'container inspect')
    name=$(last "$@")
    [ -d "containers/$name" ] || exit 1
    case "$*" in *Config.User*) cat "containers/$name/user" ;; *State.Status*) cat "containers/$name/state" ;; esac ;;
'image inspect') [ -d "images/$3" ] ;;
'volume inspect') [ -d "volumes/$(last "$@")" ] && echo "$PWD/volumes/$(last "$@")" ;;
'exec '*)
    image=$(cat "containers/$2/image")
    [ -e "images/$image/sick" ] || exit 0
    case "$*" in *--healthy) echo 'collector is waiting: localhost does not resolve' ;; *) echo 'collector   waiting' ;; esac
    exit 1 ;;
'stop '*) echo exited >"containers/$(last "$@")/state" ;;
'start '*) echo running >"containers/$2/state" ;;
'rm '*) rm -r "containers/$2" ;;
'rename '*) mv "containers/$2" "containers/$3" ;;
'logs '*) echo '2026-11-30T10:00:00Z WARN  localhost does not resolve' ;;
*) echo "unknown: $*" >&2; exit 99 ;;
esac
"#;

struct Place {
    dir: PathBuf,
    _socket: UnixListener,
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("otelet-in-docker-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("docker"), DOCKER).unwrap();
        fs::set_permissions(dir.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
        let place = Self { _socket: UnixListener::bind(dir.join("d.sock")).unwrap(), dir };
        place.image("good", &[]);
        place
    }

    fn image(&self, name: &str, marks: &[&str]) {
        fs::create_dir_all(self.dir.join("images").join(name)).unwrap();
        marks.iter().for_each(|mark| fs::write(self.dir.join("images").join(name).join(mark), "").unwrap());
    }

    fn install(&self, words: &[&str]) -> Output {
        Command::new("sh")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/targets/docker/install.sh"))
            .arg(format!("--socket={}", self.dir.join("d.sock").display()))
            .args(words)
            .env("DOCKER", self.dir.join("docker"))
            .output()
            .unwrap()
    }

    fn installed(&self, words: &[&str]) -> String {
        let output = self.install(words);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    /// Runs the installer, which must fail, and returns its complaint.
    fn refused(&self, words: &[&str]) -> String {
        let output = self.install(words);
        assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
        stderr(&output)
    }

    /// The containers that exist: name, image and state.
    fn containers(&self) -> Vec<(String, String, String)> {
        let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap().trim().to_owned();
        let entries = fs::read_dir(self.dir.join("containers")).into_iter().flatten().flatten().map(|it| it.path());
        entries
            .map(|it| (it.file_name().unwrap().display().to_string(), read(&it, "image"), read(&it, "state")))
            .collect()
    }

    fn words(&self) -> String {
        fs::read_to_string(self.dir.join("containers/otelet/words")).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn one(image: &str) -> Vec<(String, String, String)> {
    vec![("otelet".into(), image.into(), "running".into())]
}

#[test]
fn a_container_that_is_not_healthy_is_replaced_by_the_one_before_and_the_reason_is_told() {
    let place = Place::new("back");
    place.image("sick", &["sick"]);
    place.installed(&["--image=good"]);

    let said = place.refused(&["--image=sick", "--wait=1"]);

    let reason = "not healthy after 1s: collector is waiting: localhost does not resolve; it was removed, and the one before it runs again";
    assert!(said.contains(reason) && said.contains(" WARN "), "{said}");
    assert_eq!(place.containers(), one("good"));

    // Without one before it, it stays to be looked at, and the next commands are named.
    let place = Place::new("first");
    place.image("sick", &["sick"]);
    let said = place.refused(&["--image=sick", "--wait=1"]);
    assert!(said.contains("localhost does not resolve; the container stays: '"), "{said}");
    assert!(said.contains(" exec otelet otelet status' and '"), "{said}");
    assert_eq!(place.containers(), one("sick"));
    // A sick one is nothing to go back to.
    place.installed(&["--image=good"]);
    assert_eq!(place.containers(), one("good"));
}

#[test]
fn an_interrupted_run_is_continued_and_still_has_a_way_back() {
    let place = Place::new("interrupted");
    place.image("sick", &["sick"]);
    place.installed(&["--image=good"]);
    fs::rename(place.dir.join("containers/otelet"), place.dir.join("containers/otelet-previous")).unwrap();

    let said = place.refused(&["--image=sick", "--wait=0"]);
    assert!(said.contains("the one before it runs again"), "{said}");
    assert_eq!(place.containers(), one("good"));
}

#[test]
fn a_volume_of_another_user_is_refused_before_anything_is_changed() {
    let place = Place::new("owner");
    place.installed(&["--image=good", "--user=4242:4242"]);
    let calls = || fs::read_to_string(place.dir.join("calls")).unwrap();
    let before = calls().len();

    let said = place.refused(&["--image=good", "--user=0:0"]);

    assert!(
        said.contains("the volume otelet-state belongs to uid 4242, and uid 0 could not use it; nothing was changed")
    );
    assert!(said.contains("keep the user: --user=4242:4242") && said.contains("chown -R 0:0 "), "{said}");
    let calls = calls()[before..].to_owned();
    assert!(!calls.contains("stop ") && !calls.contains("run "), "{calls}");
    assert_eq!(place.containers(), one("good"));
}

#[test]
fn settings_are_read_on_the_host_and_refused_before_anything_is_changed() {
    let place = Place::new("settings");
    place.image("bad", &["bad"]);
    let file = place.dir.join("otelet.yaml");
    fs::write(&file, "log_level: info\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let settings = format!("--settings={}", file.display());

    let said = place.installed(&["--image=good", &settings]);

    assert!(said.contains("kill --signal=HUP otelet"), "{said}");
    let variable = format!("--env OTELET_SETTINGS=/hostfs{}", fs::canonicalize(&file).unwrap().display());
    assert!(place.words().contains(&variable), "{}", place.words());
    let said = place.refused(&["--image=bad", &settings]);
    assert!(said.contains("nothing was changed (status 78): otelet: otelet.yaml:1:1: bogus: unknown key"), "{said}");
    assert_eq!(place.containers(), one("good"));

    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let other = fs::metadata(&file).unwrap().uid() + 1;
    let said = place.refused(&["--image=good", &settings, &format!("--user={other}:{other}")]);
    assert!(said.contains(&format!("uid {other} in the container may not read it; chown or chmod it")), "{said}");
}

#[test]
fn it_says_which_system_logs_are_read() {
    let place = Place::new("logs");
    let said = place.installed(&["--image=good"]);
    let any = ["syslog", "messages", "auth.log", "secure", "kern.log"].map(|name| Path::new("/var/log").join(name));
    match any.iter().any(|path| path.is_file()) {
        true => assert!(said.contains("reads the system logs /var/log/"), "{said}"),
        false => assert!(said.contains("a container does not read the journal); install rsyslog"), "{said}"),
    }
}
