//! The bill of materials: what is linked into a binary, as CycloneDX 1.5 in JSON. From `cargo tree` and `Cargo.lock`; what
//! only helps to build (build scripts, macros, tests) is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::build::Binary;
use crate::build::platforms::Platform;
use crate::command::run;
use crate::dist::{Stamp, about};
use crate::places;

/// The bill for one binary.
///
/// # Errors
///
/// The output of cargo, or the part that its answer lacks.
pub fn bill(platform: &Platform, built: &Binary, stamp: &Stamp) -> Result<Vec<u8>, String> {
    let lock = places::root().join("Cargo.lock");
    let lock = fs::read_to_string(&lock).map_err(|cause| format!("{}: cannot read: {cause}", lock.display()))?;
    let linked = linked(&tree(platform)?)?;
    let mut document = document(&linked, &checksums(&lock), stamp);
    document["metadata"]["component"]["hashes"] = sha256(&places::sha256_of_file(Path::new(&built.path))?);
    document["metadata"]["properties"] = json!([
        {"name": "otelet:target", "value": platform.target},
        {"name": "otelet:built-with", "value": built.with},
    ]);
    let components = document["components"].as_array_mut().expect("it was made as one");
    components.push(json!({
        "type": "library", "bom-ref": "rust-std", "name": "rust-std", "version": built.rustc,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }));
    if platform.target.contains("-musl") {
        components
            .push(json!({"type": "library", "bom-ref": "musl", "name": "musl", "licenses": [{"expression": "MIT"}]}));
    }
    let text = serde_json::to_string_pretty(&document).expect("maps with string keys only");
    Ok((text + "\n").into_bytes())
}

/// The crates that cargo would link, a line for each time that something needs one: depth, name and version, licence. `cargo
/// metadata` would have the features that the tests want, too.
fn tree(platform: &Platform) -> Result<String, String> {
    let mut cargo = places::cargo();
    cargo.args(["tree", "--locked", "--package", "otelet", "--target", &platform.target]).args([
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "depth",
        "--no-dedupe",
        "--format",
        "|{p}|{l}",
    ]);
    let ran = run("cargo tree", &mut cargo)?;
    if ran.ok() { Ok(ran.stdout) } else { Err(format!("cargo tree: {}", ran.last_words())) }
}

/// A crate that is linked in.
#[derive(Debug, Default)]
struct Crate {
    licence: String,
    /// The crates that it links.
    needs: BTreeSet<Name>,
}

/// A name and a version.
type Name = (String, String);

/// The name of a crate in any tool: its package URL.
fn purl((name, version): &Name) -> String {
    format!("pkg:cargo/{name}@{version}")
}

/// The crates that the agent links, itself included.
fn linked(tree: &str) -> Result<BTreeMap<Name, Crate>, String> {
    let mut found: BTreeMap<Name, Crate> = BTreeMap::new();
    let mut above: Vec<Name> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let strange = || format!("cargo tree: a line that was not expected: {line}");
        let mut fields = line.split('|');
        let (Some(depth), Some(package), Some(licence)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(strange());
        };
        // `ring v0.17.14`, and behind that a path or a remark.
        let (name, rest) = package.split_once(" v").ok_or_else(strange)?;
        let version = rest.split(' ').next().unwrap_or(rest);
        let name = (name.to_owned(), version.to_owned());
        above.truncate(depth.parse().map_err(|_| strange())?);
        if let Some(parent) = above.last() {
            found.entry(parent.clone()).or_default().needs.insert(name.clone());
        }
        found.entry(name.clone()).or_default().licence = licence.replace(" / ", "/").replace('/', " OR ");
        above.push(name);
    }
    Ok(found)
}

fn document(linked: &BTreeMap<Name, Crate>, checksums: &BTreeMap<Name, String>, stamp: &Stamp) -> Value {
    let own = format!("pkg:cargo/otelet@{}", stamp.version);
    let components = linked.iter().filter(|(name, _)| purl(name) != own).map(|(name, one)| {
        let mut component = json!({
            "type": "library", "bom-ref": purl(name), "purl": purl(name), "name": name.0, "version": name.1,
            "licenses": [{"expression": one.licence}],
        });
        if let Some(sum) = checksums.get(name) {
            component["hashes"] = sha256(sum);
        }
        component
    });
    let dependencies = linked
        .iter()
        .map(|(name, one)| json!({"ref": purl(name), "dependsOn": one.needs.iter().map(purl).collect::<Vec<_>>()}));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": stamp.rfc3339(),
            "component": {
                "type": "application", "bom-ref": own, "purl": own, "name": "otelet", "version": stamp.version,
                "description": about::SUMMARY,
                "licenses": [{"expression": about::LICENSE}],
            },
        },
        "components": components.collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    })
}

fn sha256(sum: &str) -> Value {
    json!([{"alg": "SHA-256", "content": sum}])
}

/// The checksums of a `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> BTreeMap<Name, String> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) = (value("name"), value("version"), value("checksum")) {
            sums.insert((name, version), sum);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_says_who_needs_whom_and_a_strange_line_is_shown() {
        let tree = "0|a v1.0.0 (/somewhere)|Apache-2.0\n1|b v2.0.0|MIT/Apache-2.0\n2|c v3.0.0|MIT\n1|c v3.0.0|MIT\n";
        let linked = linked(tree).unwrap();
        let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(linked[&named("a", "1.0.0")].needs, [named("b", "2.0.0"), named("c", "3.0.0")].into());
        assert_eq!(linked[&named("b", "2.0.0")].needs, [named("c", "3.0.0")].into());
        assert_eq!(linked[&named("b", "2.0.0")].licence, "MIT OR Apache-2.0");
        assert!(super::linked("warning").unwrap_err().ends_with("not expected: warning"));
    }

    #[test]
    fn what_is_linked_is_in_it_and_what_only_builds_is_not() {
        let platform = Platform::named("x86_64-unknown-linux-musl").unwrap();
        let linked = linked(&tree(&platform).unwrap()).unwrap();
        let names: BTreeSet<&str> = linked.keys().map(|(name, _)| name.as_str()).collect();
        for there in ["otelet", "ring", "rustls", "smol", "serde"] {
            assert!(names.contains(there), "{there}");
        }
        for absent in ["cc", "syn", "serde_derive", "rcgen", "aho-corasick", "xtask", "otelet-testkit", "windows-sys"] {
            assert!(!names.contains(absent), "{absent}");
        }
        let stamp = Stamp { version: env!("CARGO_PKG_VERSION"), time: 0 };
        let lock = fs::read_to_string(places::root().join("Cargo.lock")).unwrap();
        let document = document(&linked, &checksums(&lock), &stamp);
        let mut unsummed = Vec::new();
        for component in document["components"].as_array().unwrap() {
            match component["hashes"][0]["content"].as_str() {
                Some(sum) => assert_eq!(sum.len(), 64, "{component}"),
                None => unsummed.push(component["name"].as_str().unwrap()),
            }
            assert!(component["licenses"][0]["expression"].as_str().is_some_and(|it| !it.is_empty()), "{component}");
        }
        // Crates of this workspace come from no registry, which would have summed them.
        assert_eq!(unsummed, ["otelet-config", "otelet-core", "otelet-wire"]);
        assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    }
}
