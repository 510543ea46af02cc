//! The files of `collector.local`: configs of the host that are passed before the offered one, which wins. A broken one
//! never costs the offered config its place: it is blamed by name, and used as it was before, or left out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::os;
use crate::store::{Layers, LocalFile};
use otelet_config as config;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// A mark that tells the files from others in their places, without reading them.
pub fn look(paths: &[PathBuf]) -> String {
    let stamps = paths.iter().map(|path| os::stamp(path).map_or_else(|_| "none".into(), |(stamp, _)| stamp));
    paths.iter().zip(stamps).map(|(path, stamp)| format!("{} {stamp}\n", path.display())).collect()
}

/// Whether files differ in comments and blank lines alone.
pub fn is_same(some: &[LocalFile], others: &[LocalFile]) -> bool {
    let same = |(one, other): (&LocalFile, &LocalFile)| {
        one == other || one.path == other.path && config::alike(one.body.as_bytes(), other.body.as_bytes())
    };
    some.len() == others.len() && some.iter().zip(others).all(same)
}

/// The files to try at first, and those that nobody can use, each with the reason.
pub fn read_all(paths: &[PathBuf], before: &Layers) -> (Vec<LocalFile>, Vec<(PathBuf, String)>) {
    let (mut files, mut broken) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path) {
            Ok(body) => files.push(LocalFile { path: path.clone(), body }),
            Err(why) => {
                files.extend(before.file(path).cloned());
                broken.push((path.clone(), why));
            }
        }
    }
    (files, broken)
}

/// The other choices if the collector refuses these files with a config, each with the files that it blames. The first
/// one that the collector takes is used.
pub fn other_choices(files: &[LocalFile], before: &Layers) -> Vec<(Vec<LocalFile>, Vec<PathBuf>)> {
    let mut choices = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let blamed = vec![file.path.clone()];
        if let Some(earlier) = before.file(&file.path).filter(|earlier| *earlier != file) {
            let mut choice = files.to_vec();
            choice[index] = earlier.clone();
            choices.push((choice, blamed.clone()));
        }
        let mut choice = files.to_vec();
        choice.remove(index);
        choices.push((choice, blamed));
    }
    if files.len() > 1 {
        choices.push((Vec::new(), files.iter().map(|file| file.path.clone()).collect()));
    }
    choices
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    // A pipe or a device might never end.
    if !metadata.is_file() {
        return Err("is no file".into());
    }
    if metadata.len() > LARGEST {
        return Err(format!("is {} bytes, the most taken is {LARGEST}", metadata.len()));
    }
    let body = fs::read(path).map_err(|error| error.to_string())?;
    match config::inspect(&body) {
        Ok(_) => String::from_utf8(body).map_err(|error| error.to_string()),
        // A file with comments only may be one that is not used for now. It is not passed.
        Err(config::Refusal::Empty) => Ok(String::new()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, body: &str) -> LocalFile {
        LocalFile { path: path.into(), body: body.into() }
    }

    #[test]
    fn one_file_is_blamed_before_all_are_and_an_earlier_content_is_tried_before_none() {
        let before = Layers { files: vec![file("/a", "old"), file("/b", "same")], ..Layers::default() };
        let files = [file("/a", "new"), file("/b", "same")];
        let choices = other_choices(&files, &before);
        let shown: Vec<String> = choices
            .iter()
            .map(|(files, blamed)| {
                let files: Vec<&str> = files.iter().map(|file| file.body.as_str()).collect();
                format!("{files:?} blames {}", blamed.len())
            })
            .collect();
        assert_eq!(shown, ["[\"old\", \"same\"] blames 1", "[\"same\"] blames 1", "[\"new\"] blames 1", "[] blames 2"]);
        assert_eq!(other_choices(&[], &before), []);
    }
}
