//! The bill of materials: what is linked into a binary, as CycloneDX 1.5 in JSON. From `cargo metadata` and `Cargo.lock`;
//! what only helps to build (build scripts, macros, tests) is not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::build::Built;
use crate::build::platforms::Platform;
use crate::command::run;
use crate::dist::{Stamp, about};
use crate::places;

/// The bill for one binary.
///
/// # Errors
///
/// What cargo said, or what is missing in its answer.
pub fn bill(platform: &Platform, built: &Built, stamp: &Stamp) -> Result<Vec<u8>, String> {
    let lock = places::root().join("Cargo.lock");
    let lock = fs::read_to_string(&lock).map_err(|cause| format!("{}: cannot read: {cause}", lock.display()))?;
    let linked = linked(&metadata(platform)?)?;
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

fn metadata(platform: &Platform) -> Result<Value, String> {
    let ran = run(
        "cargo metadata",
        places::cargo().args(["metadata", "--format-version=1", "--locked", "--filter-platform", &platform.target]),
    )?;
    if !ran.ok() {
        return Err(format!("cargo metadata: {}", ran.last_words()));
    }
    serde_json::from_str(&ran.stdout).map_err(|cause| format!("cargo metadata: {cause}"))
}

/// A crate that is linked in.
struct Crate {
    name: String,
    version: String,
    licence: Option<String>,
    /// The keys of what it links.
    needs: BTreeSet<String>,
}

impl Crate {
    /// What it is called everywhere: the package URL.
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// What the agent links, by cargo's own ids.
fn linked(metadata: &Value) -> Result<BTreeMap<String, Crate>, String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
    let is_macro = |id: &str| {
        packages.get(id).is_some_and(|package| {
            list(&package["targets"]).iter().any(|target| list(&target["kind"]).contains(&json!("proc-macro")))
        })
    };
    let root = packages
        .iter()
        .find(|(_, package)| package["name"] == "otelet")
        .map(|(id, _)| id.clone())
        .ok_or("cargo metadata: knows no package otelet")?;
    let mut found = BTreeMap::new();
    let mut ahead = vec![root];
    while let Some(id) = ahead.pop() {
        if found.contains_key(&id) {
            continue;
        }
        let package = packages.get(&id).ok_or_else(|| format!("cargo metadata: knows no package {id}"))?;
        // The kind of an ordinary dependency is null.
        let needs: BTreeSet<String> = list(&nodes.get(&id).unwrap_or(&Value::Null)["deps"])
            .iter()
            .filter(|dep| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()))
            .map(|dep| text(&dep["pkg"]))
            .filter(|id| !is_macro(id))
            .collect();
        ahead.extend(needs.iter().cloned());
        let licence = package["license"].as_str().map(|licence| licence.replace('/', " OR ").replace("  ", " "));
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        found.insert(id, Crate { name, version, licence, needs });
    }
    Ok(found)
}

fn document(linked: &BTreeMap<String, Crate>, checksums: &BTreeMap<(String, String), String>, stamp: &Stamp) -> Value {
    let own = format!("pkg:cargo/otelet@{}", stamp.version);
    let mut crates: Vec<&Crate> = linked.values().collect();
    crates.sort_by_key(|one| (&one.name, &one.version));
    let components = crates.iter().filter(|one| one.purl() != own).map(|one| {
        let mut component = json!({
            "type": "library", "bom-ref": one.purl(), "purl": one.purl(), "name": one.name, "version": one.version,
        });
        if let Some(licence) = &one.licence {
            component["licenses"] = json!([{"expression": licence}]);
        }
        if let Some(sum) = checksums.get(&(one.name.clone(), one.version.clone())) {
            component["hashes"] = sha256(sum);
        }
        component
    });
    let dependencies = crates.iter().map(|one| {
        let needs: BTreeSet<String> = one.needs.iter().filter_map(|id| Some(linked.get(id)?.purl())).collect();
        json!({"ref": one.purl(), "dependsOn": needs})
    });
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
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
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
    fn what_is_linked_is_in_it_and_what_only_builds_is_not() {
        let platform = Platform::named("x86_64-unknown-linux-musl").unwrap();
        let linked = linked(&metadata(&platform).unwrap()).unwrap();
        let names: BTreeSet<&str> = linked.values().map(|one| one.name.as_str()).collect();
        for there in ["otelet", "ring", "rustls", "smol", "serde"] {
            assert!(names.contains(there), "{there}");
        }
        for absent in ["cc", "syn", "serde_derive", "rcgen", "xtask", "windows-sys"] {
            assert!(!names.contains(absent), "{absent}");
        }
        let stamp = Stamp { version: env!("CARGO_PKG_VERSION"), time: 0 };
        let lock = fs::read_to_string(places::root().join("Cargo.lock")).unwrap();
        let document = document(&linked, &checksums(&lock), &stamp);
        for component in document["components"].as_array().unwrap() {
            assert!(component["hashes"][0]["content"].as_str().is_some_and(|sum| sum.len() == 64), "{component}");
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        }
        assert_eq!(document["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    }
}
