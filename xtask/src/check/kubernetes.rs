//! targets/kubernetes: checks that need no cluster, and the promises on a real one. The cluster is the one that
//! KUBECONFIG names, with an image that OTELET_IMAGE names and that its nodes can pull; without both,
//! tests/kubernetes-node makes a cluster here, and keeps the expensive part in `target/kubernetes-node`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::check::{Outcome, real};
use crate::command::{Ran, run};
use crate::{collector, places};

/// The name of the image that is made here.
const IMAGE: &str = "docker.io/library/otelet:promise";

/// The exit status of tests/kubernetes-node/node for a machine that lacks something.
const EX_UNAVAILABLE: i32 = 69;

/// The manifests: they render, the chart is clean, and kustomize and Helm give the same objects.
pub fn manifests() -> Outcome {
    let Some(kubectl) = tool("kubectl") else {
        return Outcome::Skipped(
            "kubectl is missing: have it on PATH, or `tests/kubernetes-node/node build`".to_owned(),
        );
    };
    match look(&kubectl, tool("helm").as_deref()) {
        Ok(what) => Outcome::Passed(what),
        Err(why) => Outcome::Failed(why),
    }
}

fn look(kubectl: &Path, helm: Option<&Path>) -> Result<String, String> {
    let folder = places::root().join("targets/kubernetes");
    let render = |folder: &Path| stdout_of("kustomize", Command::new(kubectl).arg("kustomize").arg(folder));
    let base = objects(&render(&folder.join("base"))?)?;
    let mut overlays = 0;
    for overlay in std::fs::read_dir(folder.join("overlays")).map_err(|cause| format!("overlays: {cause}"))?.flatten() {
        objects(&render(&overlay.path())?)?;
        overlays += 1;
    }
    let Some(helm) = helm else {
        return Ok(format!("base and {overlays} overlays; skipped: the chart, since helm is missing"));
    };
    let chart = folder.join("chart");
    stdout_of("helm lint", Command::new(helm).args(["lint", "--strict"]).arg(&chart))?;
    let template = |values: &[&str]| {
        let mut command = Command::new(helm);
        command.args(["template", "otelet", "--namespace=otelet", "--kube-version=1.34"]).arg(&chart).args(values);
        run("helm template", &mut command)
    };
    values_count(&template)?;
    let rendered = template(&[])?;
    let chart = if rendered.ok() { objects(&rendered.stdout)? } else { return Err(rendered.output) };
    for (name, object) in &base {
        match chart.get(name) {
            None if name.starts_with("Namespace/") => {}
            None => return Err(format!("{name}: is in base/ and not in the chart")),
            Some(same) if same == object => {}
            Some(other) => {
                return Err(format!("{name}: base/ and the chart differ\nbase/  {object}\nchart  {other}"));
            }
        }
    }
    match chart.keys().find(|name| !base.contains_key(*name)) {
        Some(name) => Err(format!("{name}: is in the chart and not in base/")),
        None => Ok(format!("{} objects, the same from base/ and from the chart; {overlays} overlays", base.len())),
    }
}

/// Checks that a value of the chart ends up where it belongs, and that an unknown value is refused.
fn values_count(template: &impl Fn(&[&str]) -> Result<Ran, String>) -> Result<(), String> {
    let refused = template(&["--set", "nodee.enabled=false"])?;
    if refused.ok() || !refused.output.contains("nodee") {
        return Err(format!("the chart takes a value that does not exist\n{}", refused.output));
    }
    let values = "image.repository=r.example/o,image.tag=t,cluster.enabled=false,node.settings.log_level=debug,\
                  node.resources.limits.memory=1Gi,node.tolerations[0].key=edge,node.env[0].name=A,node.collector=x: y,\
                  priorityClassName=p,backend.secret=s,backend.endpoint=https://e.example,backend.authorization=k";
    let rendered = template(&["--set", values])?;
    let objects = objects(&rendered.stdout)?;
    let at = |name: &str, pointer: &str| objects.get(name).and_then(|object| object.pointer(pointer)).cloned();
    let node = |pointer: &str| at("DaemonSet/otelet-node", &format!("/spec/template/spec{pointer}"));
    let container = |pointer: &str| node(&format!("/containers/0{pointer}"));
    let settings = at("ConfigMap/otelet-node", "/data/otelet.yaml").unwrap_or_default();
    let holds = |what: &str, is: bool| {
        if is { Ok(()) } else { Err(format!("the chart does not put {what} where it belongs\n{}", rendered.output)) }
    };
    holds("cluster.enabled", !objects.contains_key("Deployment/otelet-cluster"))?;
    holds("image", container("/image") == Some("r.example/o:t".into()))?;
    holds("node.resources", container("/resources/limits/memory") == Some("1Gi".into()))?;
    holds("what node.resources leaves", container("/resources/requests/cpu") == Some("50m".into()))?;
    let last = container("/env").and_then(|env| env.as_array()?.last()?.get("name").cloned());
    holds("node.env", last == Some("A".into()))?;
    holds("node.tolerations", node("/tolerations") == Some(serde_json::json!([{"key": "edge"}])))?;
    holds("priorityClassName", node("/priorityClassName") == Some("p".into()))?;
    holds("priorityClassName alone", !objects.contains_key("PriorityClass/otelet"))?;
    holds("node.settings", word(&settings).contains("log_level: debug") && word(&settings).contains("standby: 1h"))?;
    holds("node.collector", at("ConfigMap/otelet-node", "/data/collector.yaml") == Some("x: y\n".into()))?;
    holds("backend", at("Secret/s", "/stringData/endpoint") == Some("https://e.example".into()))?;
    let backend = node("/volumes")
        .and_then(|volumes| volumes.as_array()?.iter().find_map(|it| it.pointer("/secret/secretName").cloned()));
    holds("backend.secret", backend == Some("s".into()))
}

/// The stdout of a program that succeeds.
fn stdout_of(what: &str, command: &mut Command) -> Result<String, String> {
    let ran = run(what, command)?;
    if ran.ok() { Ok(ran.stdout) } else { Err(format!("{what} failed\n{}", ran.output)) }
}

/// The objects by kind and name, without Helm's own additions: its labels, and the checksum of the settings.
fn objects(text: &str) -> Result<BTreeMap<String, Value>, String> {
    let mut objects = BTreeMap::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut object: Value =
            serde::Deserialize::deserialize(document).map_err(|cause| format!("not what was rendered: {cause}"))?;
        if object.is_null() {
            continue;
        }
        let name = format!("{}/{}", word(&object["kind"]), word(&object["metadata"]["name"]));
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("labels");
        }
        if let Some(template) = object.pointer_mut("/spec/template/metadata").and_then(Value::as_object_mut) {
            template.remove("annotations");
        }
        if objects.insert(name.clone(), object).is_some() {
            return Err(format!("{name}: is there twice"));
        }
    }
    Ok(objects)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// A program on PATH, or the one that was compiled with the node.
fn tool(name: &str) -> Option<PathBuf> {
    let compiled = || {
        let bins = std::fs::read_dir(places::target().join("kubernetes-node")).ok()?.flatten();
        bins.map(|bin| bin.path().join(name)).find(|path| path.is_file())
    };
    places::on_path(name).or_else(compiled)
}

/// The promises on a real cluster.
pub fn step() -> Outcome {
    if let (Some(_), Ok(image)) = (std::env::var_os("KUBECONFIG"), std::env::var("OTELET_IMAGE")) {
        println!("  the cluster of KUBECONFIG, with the image {image}");
        return real::judge(promises(&[]));
    }
    let built = match node(&["build"]) {
        Ok(ran) => PathBuf::from(ran.stdout.trim()),
        Err(outcome) => return outcome,
    };
    let image = match collector::for_kubernetes().and_then(|collector| image(&collector)) {
        Ok(path) => path,
        Err(why) => return Outcome::Failed(format!("no image: {why}")),
    };
    let outcome = on_a_node(&built, &image);
    if let Err(outcome) = node(&["stop"]) {
        return outcome;
    }
    outcome
}

fn on_a_node(built: &Path, image: &str) -> Outcome {
    let started = match node(&["start"]) {
        Ok(ran) => ran,
        Err(outcome) => return outcome,
    };
    let kubeconfig = started.stdout.lines().last().unwrap_or_default().to_owned();
    for words in [&["join", "second"][..], &["load", image]] {
        if let Err(outcome) = node(words) {
            return outcome;
        }
    }
    // PATH begins with kubectl and helm of the same sources.
    let mut path = OsString::from(built);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    real::judge(promises(&[("KUBECONFIG", kubeconfig.into()), ("OTELET_IMAGE", IMAGE.into()), ("PATH", path)]))
}

/// Runs them with these variables.
fn promises(variables: &[(&str, OsString)]) -> Result<Ran, String> {
    let mut command = places::cargo();
    command
        .args(["test", "--workspace", "--test", "promises", "--locked", "--", "runs_in_kubernetes"])
        // One after the other: there is one cluster.
        .args(["--ignored", "--test-threads=1", "--show-output"])
        .envs(variables.iter().map(|(name, value)| (name, value)));
    run("promises in Kubernetes", &mut command)
}

/// Compiles the part that takes longest before the cluster can start.
///
/// # Errors
///
/// The missing tool, or the compiler's output.
pub fn prepare() -> Result<(), String> {
    match node(&["build"]) {
        Ok(_) => collector::for_kubernetes().map(drop),
        Err(Outcome::Skipped(why) | Outcome::Failed(why) | Outcome::Passed(why)) => Err(why),
    }
}

/// Makes the image with this Collector, and returns its file.
fn image(collector: &Path) -> Result<String, String> {
    let this = std::env::current_exe().map_err(|cause| format!("xtask: {cause}"))?;
    let collector = format!("--collector={}", collector.display());
    let made = stdout_of("image", Command::new(this).args(["image", &collector, &format!("--tag={IMAGE}")]))?;
    made.lines().last().map(str::to_owned).ok_or_else(|| "no path was printed".to_owned())
}

fn node(words: &[&str]) -> Result<Ran, Outcome> {
    let script = places::root().join("tests/kubernetes-node/node");
    let dir = places::target().join("kubernetes-node");
    match run(&format!("node {}", words.join(" ")), Command::new(script).args(words).env("OTELET_NODE_DIR", dir)) {
        Ok(ran) if ran.ok() => Ok(ran),
        Ok(ran) if ran.status.code() == Some(EX_UNAVAILABLE) => Err(Outcome::Skipped(ran.last_words())),
        Ok(ran) => Err(Outcome::Failed(format!("node {}: {}", words.join(" "), ran.output))),
        Err(why) => Err(Outcome::Skipped(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_the_same_whoever_labels_them() {
        let base = "kind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [1]}\n";
        let chart = "---\n# nothing\n---\nkind: Service\nmetadata: {labels: {x: z}, name: a}\nspec:\n  ports:\n  - 1\n";
        assert_eq!(objects(base).unwrap(), objects(chart).unwrap());
        assert_ne!(objects(base).unwrap(), objects(&base.replace('1', "2")).unwrap());
        assert!(objects(&format!("{base}---\n{base}")).unwrap_err().contains("Service/a: is there twice"));
    }
}
