//! Links to the logs of containers, in a directory that is the collector's: what the engine's `json-file` driver writes says
//! nothing of the container, so the path of the link does. A `filelog` receiver finds the logs by a pattern and takes name,
//! image and labels from the path, whatever distribution it is in; see targets/docker/collector.yaml.
//!
//! `containers/new/BASE64/BASE64/log`: the parts together are base64 of a JSON object, with `_` for `/`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::container::{clip, identity};
use otelet_core::telemetry::Value;
use otelet_core::units;

/// The directory of the links, in that of the collector.
const DIRECTORY: &str = "containers";

/// Logs that are read from where they end when they are first seen, and those that are read from their beginning.
const CLASSES: [&str; 2] = ["old", "new"];

/// A container that is older than this when the agent looks for the first time has told its story to somebody else: to send
/// the log of years would cost more than it is worth.
const OLD: Duration = Duration::from_secs(600);

/// A part of a path has room for 255 bytes.
const PART: usize = 240;

/// The most that is told of a container, in bytes of JSON: in base64 it fits into a path of 4096 with room for the rest.
const MOST: usize = 2400;

/// The longest value of a label, as in events.
const LONGEST_LABEL: usize = 512;

/// The label by which a container says that its log is nobody's business: `off`. The image of otelet has it, since an
/// agent that reads its own collector's log would read of reading it.
const SWITCH: &str = "otelet.logs";

/// What is true of one log is true of the next: nobody wants to hear of each container.
static SAID: Once = Once::new();

/// Where links are, and where the files of the host are seen.
#[derive(Debug, Clone)]
pub struct Links {
    /// The collector's directory.
    pub directory: PathBuf,
    /// The host's root.
    pub root: PathBuf,
}

/// What the engine says of one container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Logged {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    created: String,
    #[serde(default)]
    log_path: Option<String>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    host_config: Option<HostConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    log_config: Option<LogConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    r#type: String,
}

/// A link that is to be there.
#[derive(Debug, PartialEq)]
pub struct Link {
    target: PathBuf,
    /// What the path says.
    parts: PathBuf,
    created: Option<SystemTime>,
}

impl Logged {
    /// The link to its log; none if it has no log that can be read, or wants none to be read.
    pub fn link(&self, root: &Path) -> Option<Link> {
        let driver = self.host_config.as_ref()?.log_config.as_ref()?;
        let path = self.log_path.as_deref().filter(|path| driver.r#type == "json-file" && path.starts_with('/'))?;
        let config = self.config.as_ref()?;
        let labels = || config.labels.iter().flatten();
        if labels().any(|(name, value)| name == SWITCH && value == "off") {
            return None;
        }
        let mut told = serde_json::Map::new();
        for (name, value) in identity(&self.id, self.name.trim_start_matches('/'), &config.image) {
            if let Value::Text(text) = value {
                told.insert(name.into_owned(), text.into_owned().into());
            }
        }
        let mut room = MOST.saturating_sub(serde_json::Value::Object(told.clone()).to_string().len());
        for (name, value) in labels() {
            let (name, value) = (format!("container.label.{name}"), clip(value, LONGEST_LABEL));
            let entry = serde_json::json!({&name: value}).to_string().len();
            // One that has no room is left out, and a smaller one may have it.
            if entry <= room {
                room -= entry;
                told.insert(name, value.into());
            }
        }
        // A path has no room for the `/`.
        let encoded = STANDARD.encode(serde_json::Value::Object(told).to_string()).replace('/', "_");
        let parts = encoded.as_bytes().chunks(PART).map(|part| std::str::from_utf8(part).expect("base64 is ASCII"));
        Some(Link {
            target: root.join(path.trim_start_matches('/')),
            parts: parts.collect(),
            created: units::parse_rfc3339(&self.created),
        })
    }
}

impl Links {
    /// Makes the links that are missing and removes those whose log is gone. A container that has another name or other
    /// labels now has another link, of the same class.
    ///
    /// # Errors
    ///
    /// What the disk would not do.
    pub fn update(&self, wanted: &[Link], now: SystemTime) -> io::Result<()> {
        let directory = self.directory.join(DIRECTORY);
        let first = !directory.exists();
        for class in CLASSES {
            // Passable for the collector, whoever it runs as: what it may not pass is above.
            fs::create_dir_all(directory.join(class))?;
        }
        let mut there = Vec::new();
        for class in CLASSES {
            collect(&directory.join(class), &mut |path, target| there.push((class, path, target)));
        }
        for link in wanted {
            let before = there.iter().find(|(_, _, target)| *target == link.target);
            let long_ago = link.created.is_some_and(|created| now.duration_since(created).is_ok_and(|age| age > OLD));
            let class = before.map_or(CLASSES[usize::from(!(first && long_ago))], |(class, ..)| class);
            let folder = directory.join(class).join(&link.parts);
            let path = folder.join("log");
            if before.is_some_and(|(_, known, _)| *known == path) {
                continue;
            }
            if let Err(error) = fs::File::open(&link.target) {
                // A receiver would say so with each look at it.
                let target = link.target.display();
                SAID.call_once(|| log::warn!("{target}: {error}; logs of containers like this one are not read"));
                continue;
            }
            fs::create_dir_all(&folder)?;
            soft_link(&link.target, &path)?;
        }
        for (_, path, target) in &there {
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

#[expect(deprecated, reason = "it is the one that every system has; where it means two things, this is the right one")]
fn soft_link(target: &Path, path: &Path) -> io::Result<()> {
    fs::soft_link(target, path)
}

/// Whether the file is not there, and not only out of sight.
fn is_gone(target: &Path) -> bool {
    fs::metadata(target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Tells each link below a directory.
fn collect(directory: &Path, tell: &mut impl FnMut(PathBuf, PathBuf)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::read_link(&path) {
            Ok(target) => tell(path, target),
            Err(_) if entry.file_type().is_ok_and(|kind| kind.is_dir()) => collect(&path, tell),
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

    fn said(name: &str, labels: &str) -> Logged {
        serde_json::from_str(&format!(
            r#"{{"Id":"abc","Name":"/{name}","Created":"2026-11-25T10:00:00.5Z","LogPath":"/d/abc/abc-json.log",
            "Config":{{"Image":"web:1","Labels":{labels}}},"HostConfig":{{"LogConfig":{{"Type":"json-file"}}}}}}"#
        ))
        .unwrap()
    }

    /// What a collector makes of the path.
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
    fn a_path_says_which_container_it_is_and_fits_into_a_path() {
        let root = Path::new("/hostfs");
        let link = said("web", r#"{"a":"ä?>~"}"#).link(root).unwrap();
        assert_eq!(link.target, Path::new("/hostfs/d/abc/abc-json.log"));
        assert_eq!(
            read(&link),
            serde_json::json!({"container.id": "abc", "container.name": "web", "container.image.name": "web:1",
                "container.label.a": "ä?>~"})
        );
        let many: Vec<String> = (0..100).map(|number| format!(r#""label{number}":"{}""#, "x".repeat(600))).collect();
        let link = said("web", &format!("{{{}}}", many.join(","))).link(root).unwrap();
        assert!(link.parts.as_os_str().len() < 3500, "{}", link.parts.as_os_str().len());
        assert!(link.parts.components().all(|part| part.as_os_str().len() <= PART));
        assert_eq!(read(&link)["container.label.label0"].as_str().unwrap().len(), LONGEST_LABEL);
    }

    #[test]
    fn a_log_that_cannot_or_must_not_be_read_has_no_link() {
        let root = Path::new("/");
        assert_eq!(said("web", r#"{"otelet.logs":"off"}"#).link(root), None);
        let mut other = said("web", "{}");
        other.host_config.as_mut().unwrap().log_config.as_mut().unwrap().r#type = "journald".into();
        assert_eq!(other.link(root), None);
        assert_eq!(serde_json::from_str::<Logged>(r#"{"Id":"1","State":{}}"#).unwrap().link(root), None);
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
        let link = |name: &str| said(name, "{}").link(&root).unwrap();

        links.update(&[link("web")], born + OLD * 2).unwrap();
        let [first] = &there()[..] else { panic!("{:?}", there()) };
        assert!(first.starts_with("containers/old"), "it was there before us: {first:?}");
        assert_eq!(fs::read_to_string(directory.join(first)).unwrap(), "text");

        // Renamed: it stays what it was, under its new name.
        links.update(&[link("front")], born + OLD * 3).unwrap();
        let [second] = &there()[..] else { panic!("{:?}", there()) };
        assert!(second.starts_with("containers/old") && second != first, "{second:?}");

        fs::remove_file(&log).unwrap();
        links.update(&[], born + OLD * 4).unwrap();
        assert_eq!(there(), [] as [PathBuf; 0]);
        assert_eq!(
            fs::read_dir(directory.join("containers/old")).unwrap().count(),
            0,
            "nothing is left of the way to it"
        );

        // From now on everybody is new, however late we hear of it.
        fs::write(&log, "text").unwrap();
        links.update(&[link("web")], born + OLD * 5).unwrap();
        assert!(there()[0].starts_with("containers/new"), "{:?}", there());
        fs::remove_dir_all(&scratch).unwrap();
    }
}
