//! Makes one body of the files that a server offers, as the collector would of several `--config`.
//!
//! A single file is handed on byte for byte. Several files are merged in the order of their names; the file without a
//! name is last. Mappings are merged deeply, other values are replaced by later ones. The result is written as JSON,
//! which is YAML: comments are lost, anchors and merge keys are expanded, and an unquoted number with a leading zero
//! becomes a text.

use serde_json::Map;

use super::wire::AgentConfigMap;
use otelet_config::merge::{MAX_MERGED, lay_over, read};

/// The most files of one config.
pub const MAX_FILES: usize = 64;

/// The outcome of merging files.
#[derive(Debug, Clone, PartialEq)]
pub enum MergeOutcome {
    Body(Vec<u8>),
    /// Only blank files: there is no remote config. The collector keeps running.
    Blank,
    /// The files cannot be merged, with the reason for the author of the config.
    Refused(String),
}

pub fn merge(map: &AgentConfigMap, max_size: u64) -> MergeOutcome {
    if map.config_map.is_empty() {
        let why = "the config has no files, which asks to stop the collector; it goes on as before";
        return MergeOutcome::Refused(why.into());
    }
    if let Some((name, file)) = map.config_map.iter().find(|(_, file)| !file.role.is_empty()) {
        return MergeOutcome::Refused(format!(
            "config file {name:?} has the role {:?}; only files that are configs of the collector are taken, those \
             without a role",
            file.role
        ));
    }
    let blank = |body: &[u8]| body.trim_ascii().is_empty();
    // The map is sorted, so the file without a name is first.
    let mut files: Vec<_> = map.config_map.iter().filter(|(_, file)| !blank(&file.body)).collect();
    if files.first().is_some_and(|(name, _)| name.is_empty()) {
        files.rotate_left(1);
    }
    match files[..] {
        [] => MergeOutcome::Blank,
        [(_, file)] => MergeOutcome::Body(file.body.to_vec()),
        _ => {
            let mut merged = Map::new();
            let mut budget = MAX_MERGED;
            for (name, file) in files {
                match read(&file.body, &mut budget) {
                    Ok(mapping) => lay_over(&mut merged, mapping),
                    Err(why) => return MergeOutcome::Refused(format!("config file {name:?}: {why}")),
                }
            }
            let text = serde_json::to_vec_pretty(&merged).expect("maps with string keys and numbers only");
            match text.len() as u64 <= max_size {
                true => MergeOutcome::Body(text),
                false => MergeOutcome::Refused(format!(
                    "the config files merged are {} bytes, the most taken is config.max_size {max_size}",
                    text.len()
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::wire::AgentConfigFile;
    use super::*;

    const MAX: u64 = 4 << 20;

    fn files(files: &[(&str, &str)]) -> AgentConfigMap {
        let file = |body: &str| AgentConfigFile { body: body.as_bytes().to_vec().into(), ..Default::default() };
        AgentConfigMap { config_map: files.iter().map(|(name, body)| (name.to_string(), file(body))).collect() }
    }

    fn text(merged: MergeOutcome) -> String {
        match merged {
            MergeOutcome::Body(body) => String::from_utf8(body).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn refused(merged: MergeOutcome) -> String {
        match merged {
            MergeOutcome::Refused(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_file_is_handed_on_byte_for_byte_with_any_name_and_content() {
        for name in ["", "collector.yaml"] {
            let body = "# a comment\r\na: &x 0644\nb: *x \n";
            assert_eq!(text(merge(&files(&[(name, body), ("blank", " \n")]), MAX)), body);
        }
        assert_eq!(text(merge(&files(&[("", "{ not yaml")]), MAX)), "{ not yaml", "it is checked later");
    }

    #[test]
    fn blank_files_are_no_config_and_no_files_are_refused() {
        assert_eq!(merge(&files(&[("", "")]), MAX), MergeOutcome::Blank);
        assert_eq!(merge(&files(&[("", " \n"), ("a", "")]), MAX), MergeOutcome::Blank);
        assert!(refused(merge(&files(&[]), MAX)).contains("it goes on as before"));
    }

    #[test]
    fn several_files_are_merged_by_name_and_the_one_without_a_name_comes_last() {
        let merged = merge(
            &files(&[
                ("", "exporters: {debug: {verbosity: detailed}}\n"),
                ("b", "receivers: {otlp: {protocols: {http: }}}\nlist: [3]\nnull_wins: \n"),
                (
                    "a",
                    "receivers: {otlp: {protocols: {grpc: }}}\nexporters: {debug: {verbosity: basic, x: 1}}\nlist: [1, 2]\nnull_wins: {a: 1}\n",
                ),
            ]),
            MAX,
        );
        let expected = "
            receivers: {otlp: {protocols: {grpc: , http: }}}
            exporters: {debug: {verbosity: detailed, x: 1}}
            list: [3]
            null_wins: ";
        let value = |text: &str| serde_yaml::from_str::<Value>(text).unwrap();
        assert_eq!(value(&text(merged)), value(expected));
    }

    #[test]
    fn texts_that_look_like_other_types_stay_texts() {
        let body = "a: '0123'\nb: 'true'\nc: ${env:X}\nd: \"1.0\"\ne: yes\ng: 1.5\nh: 0x1F\ni: ~\n";
        let merged = text(merge(&files(&[("a", body), ("b", "z: 1")]), MAX));
        let expected = serde_yaml::from_str::<Value>(&format!("{body}z: 1\n")).unwrap();
        assert_eq!(serde_yaml::from_str::<Value>(&merged).unwrap(), expected);
        for quoted in ["\"0123\"", "\"true\"", "\"1.0\"", "\"yes\""] {
            assert!(merged.contains(quoted), "{merged}");
        }
    }

    #[test]
    fn anchors_and_merge_keys_are_expanded() {
        let body = "base: &base {a: 1, b: 2}\nother: &other {a: 9, d: 4}\nmore: {<<: [*base, *other], b: 3}\n";
        let merged = text(merge(&files(&[("a", body), ("b", "more: {c: 4}")]), MAX));
        let value: Value = serde_yaml::from_str(&merged).unwrap();
        assert_eq!(value["more"], serde_yaml::from_str::<Value>("{a: 1, b: 3, c: 4, d: 4}").unwrap());
    }

    #[test]
    fn a_file_that_cannot_be_merged_is_refused_by_name() {
        let bomb = {
            let leaf = "x".repeat(1000);
            let mut text = format!("a0: &a0 [{}]\n", [&*leaf; 9].join(", "));
            for level in 1..9 {
                let below = vec![format!("*a{}", level - 1); 9].join(", ");
                text += &format!("a{level}: &a{level} [{below}]\n");
            }
            text
        };
        for (body, why) in [
            ("a: b: c", "not well-formed YAML"),
            ("- a", "is not a mapping"),
            ("a: 1\na: 2", "stands twice"),
            ("a: !custom b", "has a YAML tag"),
            ("a: .inf", "inf cannot be merged"),
            ("<<: 1", "`<<` is for mappings"),
            ("x: {? [a] : b}", "a key is not a text"),
            ("a: 1\n---\nb: 2", "second YAML document"),
            (&*bomb, "aliases"),
        ] {
            let why_not = refused(merge(&files(&[("good", "z: 1"), ("bad", body)]), MAX));
            assert!(why_not.starts_with("config file \"bad\": ") && why_not.contains(why), "{why_not}");
        }
        let large = format!("a: {}\n", "x".repeat(600));
        let why = refused(merge(&files(&[("a", &large), ("b", "b: 1")]), 512));
        assert!(why.ends_with(" bytes, the most taken is config.max_size 512"), "{why}");
    }

    #[test]
    fn a_file_with_a_role_is_refused() {
        let mut map = files(&[("", "a: 1"), ("rules", "b: 1")]);
        map.config_map.get_mut("rules").unwrap().role = "supplementary".into();
        let why = refused(merge(&map, MAX));
        assert!(why.starts_with("config file \"rules\" has the role \"supplementary\""), "{why}");
    }

    #[test]
    fn deep_files_are_merged_on_the_small_stack_of_an_exchange() {
        let deep = format!("{}{}", "{a: ".repeat(60), "}".repeat(60));
        let work = move || text(merge(&files(&[("a", &deep), ("b", &deep.replace('a', "b"))]), MAX)).len();
        let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap();
        assert!(thread.join().unwrap() > 0);
    }
}
