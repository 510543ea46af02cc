//! Makes links to the logs of containers, in a directory that belongs to the collector. The files of the engine's
//! `json-file` driver do not name their container, so the path of the link does. The `filelog` receiver of any distribution
//! finds the logs by a pattern, and reads name, image and labels from the path; see targets/docker/collector.yaml.
//!
//! A path is `containers/new/BASE64/BASE64/log`: the parts together are base64 of a JSON object, with `_` for `/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use super::container::{Description, clip, identity};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use otelet_core::telemetry::Value;
use otelet_core::units;

/// The directory of the links, below the collector's directory.
const DIRECTORY: &str = "containers";

/// The collector reads `old` logs from their end at first sight, and `new` logs from their beginning.
const CLASSES: [&str; 2] = ["old", "new"];

/// A container that is older than this at the agent's first scan is `old`: the log of years would cost more to send than it is
/// worth.
const OLD: Duration = Duration::from_secs(600);

/// The length of one part of the path. A file name may have 255 bytes.
const PART: usize = 240;

/// The most bytes of JSON in a path. In base64 they fit into a path of 4096 bytes, with room for the directories above.
const MOST_JSON: usize = 2400;

/// The longest value of a label, as in events.
const LONGEST_LABEL: usize = 512;

/// A container with the label `otelet.logs=off` gets no link; with `raw`, the collector leaves its lines as they are. The
/// image of otelet has `off`: a collector that reads its own log would log about that, without end.
const SWITCH: &str = "otelet.logs";

/// One log that cannot be read is reported for all of them: the reason is mostly the same.
static WARNED: Once = Once::new();

/// The places of the links and of the logs.
#[derive(Debug, Clone)]
pub struct Links {
    pub directory: PathBuf,
    /// The directory at which the host's root is mounted.
    pub root: PathBuf,
}

/// A link that should exist.
#[derive(Debug, PartialEq)]
pub struct Link {
    target: PathBuf,
    /// The part of the link's path that describes the container.
    parts: PathBuf,
    created: Option<SystemTime>,
}

impl Description {
    /// The link to its log. None if its logging driver writes no file, or its label says `off`.
    pub fn link(&self, root: &Path) -> Option<Link> {
        let (driver, config) = (&self.host_config.log_config, &self.config);
        let path = self.log_path.as_deref().filter(|path| driver.r#type == "json-file" && path.starts_with('/'))?;
        let labels = || config.labels.iter().flatten();
        if labels().any(|(name, value)| name == SWITCH && value == "off") {
            return None;
        }
        let mut facts = serde_json::Map::new();
        for (name, value) in identity(&self.id, self.name.trim_start_matches('/'), &config.image) {
            let value = match value {
                Value::Text(text) => text.into_owned().into(),
                Value::List(text) => vec![text.into_owned()].into(),
                Value::Int(_) | Value::Double(_) => continue,
            };
            facts.insert(name.into_owned(), value);
        }
        let mut room = MOST_JSON.saturating_sub(serde_json::Value::Object(facts.clone()).to_string().len());
        // The switch says how the collector reads the log, so it has room before all other labels.
        let switch = labels().filter(|(name, _)| *name == SWITCH);
        for (name, value) in switch.chain(labels()) {
            let (name, value) = (format!("container.label.{name}"), clip(value, LONGEST_LABEL));
            let entry = serde_json::json!({&name: value}).to_string().len();
            // A label that does not fit is left out; a smaller one after it may still fit.
            if entry <= room && !facts.contains_key(&name) {
                room -= entry;
                facts.insert(name, value.into());
            }
        }
        // `/` would end a part of the path.
        let encoded = STANDARD.encode(serde_json::Value::Object(facts).to_string()).replace('/', "_");
        let parts = encoded.as_bytes().chunks(PART).map(|part| std::str::from_utf8(part).expect("base64 is ASCII"));
        Some(Link {
            target: root.join(path.trim_start_matches('/')),
            parts: parts.collect(),
            created: units::parse_rfc3339(&self.created),
        })
    }
}

impl Links {
    /// Makes the missing links, and removes links whose log is gone. A container whose name or labels have changed gets another
    /// link of the same class.
    ///
    /// # Errors
    ///
    /// The disk's error, if a link or a directory cannot be made.
    pub fn update(&self, wanted: &[Link], now: SystemTime) -> io::Result<()> {
        let directory = self.directory.join(DIRECTORY);
        let first = !directory.exists();
        for class in CLASSES {
            // The collector may run as another user, who has to get through. The directory above keeps other users out.
            fs::create_dir_all(directory.join(class))?;
        }
        let mut existing = Vec::new();
        for class in CLASSES {
            collect(&directory.join(class), &mut |path, target| existing.push((class, path, target)));
        }
        for link in wanted {
            let before = existing.iter().find(|(_, _, target)| *target == link.target);
            let long_ago = link.created.is_some_and(|created| now.duration_since(created).is_ok_and(|age| age > OLD));
            let class = before.map_or(CLASSES[usize::from(!(first && long_ago))], |(class, ..)| class);
            let folder = directory.join(class).join(&link.parts);
            let path = folder.join("log");
            if before.is_some_and(|(_, known, _)| *known == path) {
                continue;
            }
            if let Err(error) = fs::File::open(&link.target) {
                // With a link, the receiver would log this at every poll.
                let target = link.target.display();
                WARNED.call_once(|| log::warn!("{target}: {error}; logs of containers like this one are not read"));
                continue;
            }
            fs::create_dir_all(&folder)?;
            soft_link(&link.target, &path)?;
        }
        for (_, path, target) in &existing {
            let replaced = wanted
                .iter()
                .any(|link| link.target == *target && !path.parent().is_some_and(|it| it.ends_with(&link.parts)));
            if replaced || is_gone(target) {
                remove(path, &directory);
            }
        }
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "it exists on every system; std deprecates it for Windows, which has two kinds of links, and it makes the right one, for files"
)]
fn soft_link(target: &Path, path: &Path) -> io::Result<()> {
    fs::soft_link(target, path)
}

/// Whether the file does not exist. A file that may not be read does exist.
fn is_gone(target: &Path) -> bool {
    fs::metadata(target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Calls `each` with the path and the target of every link below a directory.
fn collect(directory: &Path, each: &mut impl FnMut(PathBuf, PathBuf)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::read_link(&path) {
            Ok(target) => each(path, target),
            Err(_) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => collect(&path, each),
            Err(_) => {}
        }
    }
}

/// Removes a link and the directories that only led to it.
fn remove(path: &Path, root: &Path) {
    let _ = fs::remove_file(path);
    let mut folder = path.parent();
    while let Some(empty) =
        folder.filter(|folder| folder.parent().is_some_and(|above| above != root && above.starts_with(root)))
    {
        if fs::remove_dir(empty).is_err() {
            return;
        }
        folder = empty.parent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, labels: &str) -> Description {
        serde_json::from_str(&format!(
            r#"{{"Id":"abc","Name":"/{name}","Created":"2026-11-25T10:00:00.5Z","LogPath":"/d/abc/abc-json.log",
            "Config":{{"Image":"web:1","Labels":{labels}}},"HostConfig":{{"LogConfig":{{"Type":"json-file"}}}}}}"#
        ))
        .unwrap()
    }

    /// The attributes that a collector reads from the path.
    fn read(link: &Link) -> serde_json::Value {
        let text: String = link.parts.to_str().unwrap().replace('/', "").replace('_', "/");
        let digit = |byte: u8| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        let mut bytes = Vec::new();
        for group in text.as_bytes().chunks(4) {
            let number =
                group.iter().fold(0, |sum, &byte| sum << 6 | if byte == b'=' { 0 } else { u32::from(digit(byte)) });
            let padding = group.iter().filter(|&&byte| byte == b'=').count();
            bytes.extend(&number.to_be_bytes()[1..4 - padding]);
        }
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_links_path_describes_its_container_and_is_short_enough() {
        let root = Path::new("/hostfs");
        let link = container("web", r#"{"a":"ä?>~"}"#).link(root).unwrap();
        assert_eq!(link.target, Path::new("/hostfs/d/abc/abc-json.log"));
        assert_eq!(
            read(&link),
            serde_json::json!({"container.id": "abc", "container.name": "web", "container.image.name": "web", "container.image.tags": ["1"],
                "container.label.a": "ä?>~"})
        );
        let many: Vec<String> = (0..100).map(|number| format!(r#""label{number}":"{}""#, "x".repeat(600))).collect();
        let link = container("web", &format!("{{{},\"otelet.logs\":\"raw\"}}", many.join(","))).link(root).unwrap();
        assert!(link.parts.as_os_str().len() < 3500, "{}", link.parts.as_os_str().len());
        assert!(link.parts.components().all(|part| part.as_os_str().len() <= PART));
        assert_eq!(read(&link)["container.label.otelet.logs"], "raw", "whatever else there is");
        assert_eq!(read(&link)["container.label.label0"].as_str().unwrap().len(), LONGEST_LABEL);
    }

    #[test]
    fn a_container_without_a_log_file_or_with_logs_off_has_no_link() {
        let root = Path::new("/");
        assert_eq!(container("web", r#"{"otelet.logs":"off"}"#).link(root), None);
        let mut other = container("web", "{}");
        other.host_config.log_config.r#type = "journald".into();
        assert_eq!(other.link(root), None);
        assert_eq!(serde_json::from_str::<Description>(r#"{"Id":"1","State":{}}"#).unwrap().link(root), None);
    }

    #[test]
    fn links_follow_their_containers() {
        let scratch = std::env::temp_dir().join(format!("otelet-links-{}", std::process::id()));
        let (root, directory) = (scratch.join("host"), scratch.join("collector"));
        fs::create_dir_all(root.join("d/abc")).unwrap();
        fs::create_dir_all(&directory).unwrap();
        let log = root.join("d/abc/abc-json.log");
        fs::write(&log, "text").unwrap();
        let links = Links { directory: directory.clone(), root: root.clone() };
        let there = || {
            let mut found = Vec::new();
            collect(&directory, &mut |path, _| found.push(path.strip_prefix(&directory).unwrap().to_owned()));
            found
        };
        let born = units::parse_rfc3339("2026-11-25T10:00:00Z").unwrap();
        let link = |name: &str| container(name, "{}").link(&root).unwrap();

        links.update(&[link("web")], born + OLD * 2).unwrap();
        let [first] = &there()[..] else { panic!("{:?}", there()) };
        assert!(first.starts_with("containers/old"), "it existed before the agent: {first:?}");
        assert_eq!(fs::read_to_string(directory.join(first)).unwrap(), "text");

        // Renamed: the link has the new name and the same class.
        links.update(&[link("front")], born + OLD * 3).unwrap();
        let [second] = &there()[..] else { panic!("{:?}", there()) };
        assert!(second.starts_with("containers/old") && second != first, "{second:?}");

        fs::remove_file(&log).unwrap();
        links.update(&[], born + OLD * 4).unwrap();
        assert_eq!(there(), [] as [PathBuf; 0]);
        assert_eq!(
            fs::read_dir(directory.join("containers/old")).unwrap().count(),
            0,
            "its directories are removed too"
        );

        // After the first scan every container is new, whatever its age.
        fs::write(&log, "text").unwrap();
        links.update(&[link("web")], born + OLD * 5).unwrap();
        assert!(there()[0].starts_with("containers/new"), "{:?}", there());
        fs::remove_dir_all(&scratch).unwrap();
    }
}
