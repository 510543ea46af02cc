//! A real Kubernetes for the promises: the installation, a sink for its data, and helpers that ask either.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use otelet_core::units::rfc3339;
use serde_json::Value;

use super::host::{Host, stderr, stdout, wait_for_longer};

/// The longest wait: a kubelet looks for a changed ConfigMap every minute or two.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The namespace of the installation and of the sink.
pub const NAMESPACE: &str = "otelet";
pub const SINK: &str = "otelet-sink";

/// The sink: an agent with a Collector that prints all data it receives.
const SINK_MANIFEST: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: sink}
data:
  sink.yaml: |
    receivers: {otlp: {protocols: {http: {endpoint: "0.0.0.0:4318"}}}}
    exporters: {debug: {verbosity: detailed, use_internal_logger: false}}
    service:
      pipelines:
        metrics: {receivers: [otlp], exporters: [debug]}
        logs: {receivers: [otlp], exporters: [debug]}
---
apiVersion: v1
kind: Pod
metadata: {name: sink}
spec:
  terminationGracePeriodSeconds: 5
  containers:
    - name: sink
      image: IMAGE
      env:
        - {name: OTELET_CONFIG_URL, value: /etc/sink/sink.yaml}
        - {name: OTELET_COLLECTOR_LOG_RATE, value: 1GiB}
      readinessProbe: {exec: {command: [/usr/local/bin/otelet, status, --healthy]}, periodSeconds: 1, timeoutSeconds: 10}
      volumeMounts: [{name: config, mountPath: /etc/sink}]
  volumes: [{name: config, configMap: {name: sink}}]
"#;

/// A cluster with a sink, and the installation of a test.
pub struct Cluster {
    pub host: Host,
    pub image: String,
}

impl Cluster {
    /// Returns the cluster, or prints why there is none.
    pub fn new() -> Option<Self> {
        let missing = match (std::env::var_os("KUBECONFIG"), std::env::var("OTELET_IMAGE")) {
            (None, _) => "KUBECONFIG names no cluster".to_owned(),
            (_, Err(_)) => "OTELET_IMAGE names no image of otelet with a Collector in it".to_owned(),
            (Some(_), Ok(image)) => {
                let cluster = Self { host: Host::new(), image };
                match cluster.run("kubectl", &["get", "namespaces", "-o", "name"]) {
                    Err(why) => format!("the cluster of KUBECONFIG cannot be asked: {why}"),
                    Ok(names) if names.lines().any(|name| name == format!("namespace/{NAMESPACE}")) => {
                        panic!("the cluster has a namespace {NAMESPACE} already, which may be somebody's")
                    }
                    Ok(_) => return Some(cluster),
                }
            }
        };
        println!("skipped: {missing}");
        None
    }

    pub fn command(&self, program: &str, words: &[&str], input: &str) -> Result<Output, String> {
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(input.as_bytes());
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ok(output)
    }

    pub fn run(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let output = self.command(program, words, "")?;
        match output.status.success() {
            true => Ok(stdout(&output).trim().to_owned()),
            false => Err(stderr(&output).trim().to_owned()),
        }
    }

    pub fn kubectl(&self, words: &[&str]) -> String {
        self.run("kubectl", words).unwrap_or_else(|why| panic!("kubectl {words:?}: {why}"))
    }

    /// The same in the namespace of the installation.
    pub fn ours(&self, words: &[&str]) -> String {
        self.kubectl(&[&["-n", NAMESPACE], words].concat())
    }

    pub fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[words, &["-o", "json"]].concat())).unwrap()
    }

    pub fn apply(&self, namespace: &str, text: &str, more: &[&str]) -> Result<String, String> {
        let words = [&["-n", namespace, "apply", "-f", "-"], more].concat();
        let output = self.command("kubectl", &words, text)?;
        if output.status.success() { Ok(stdout(&output) + &stderr(&output)) } else { Err(stderr(&output)) }
    }

    /// Starts the sink, and returns its endpoint.
    pub fn sink(&self) -> String {
        self.kubectl(&["create", "namespace", SINK]);
        self.apply(SINK, &SINK_MANIFEST.replace("IMAGE", &self.image), &[]).unwrap();
        self.kubectl(&["-n", SINK, "wait", "pod/sink", "--for=condition=Ready", "--timeout=120s"]);
        let address = self.kubectl(&["-n", SINK, "get", "pod", "sink", "-o", "jsonpath={.status.podIP}"]);
        format!("http://{address}:4318")
    }

    /// The data that the sink has received since then.
    pub fn received(&self, since: SystemTime) -> String {
        self.kubectl(&["-n", SINK, "logs", "sink", "--since-time", &rfc3339(since)])
    }

    /// Waits until the sink has received all of these since then.
    pub fn delivers(&self, since: SystemTime, wanted: &[&str]) -> String {
        let mut received = String::new();
        wait_for_longer(
            PATIENCE,
            &format!("{wanted:?} at the sink"),
            || {
                received = self.received(since);
                wanted.iter().all(|name| received.contains(name)).then(|| received.clone())
            },
            || self.everything(),
        )
    }

    /// Everything that helps to find out why a test failed.
    pub fn everything(&self) -> String {
        let mut text = String::new();
        for words in [
            &["get", "pods", "-o", "wide"][..],
            &["get", "events"],
            &["logs", "daemonset/otelet-node", "--tail=20"],
            &["logs", "deployment/otelet-cluster", "--tail=20"],
        ] {
            text += &self.run("kubectl", &[&["-n", NAMESPACE], words].concat()).unwrap_or_else(|why| why);
            text += "\n";
        }
        text
    }

    /// The default configs, made quick, without the sink's own log, and without components that the image's Collector
    /// lacks; these are printed once for all tests.
    pub fn configs(&self) -> &'static [String; 2] {
        static CONFIGS: OnceLock<[String; 2]> = OnceLock::new();
        CONFIGS.get_or_init(|| {
            let own_log = format!("exclude: [\"/var/log/pods/{SINK}_*/*/*.log\", ");
            let node = base("node/collector.yaml").replace("exclude: [", &own_log);
            let cluster = base("cluster/collector.yaml");
            [node, cluster].map(|text| {
                let text = text.replace("collection_interval: 60s", "collection_interval: 2s");
                self.possible(&text.replace("batch: {}", "batch: {timeout: 200ms}"))
            })
        })
    }

    /// The config without components that the Collector reports as unknown.
    fn possible(&self, text: &str) -> String {
        let mut config: Value = serde_yaml::from_str(text).unwrap();
        let mut missing: Vec<String> = Vec::new();
        loop {
            let probe = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"},
                "data": {"probe.yaml": config.to_string()}});
            self.apply(SINK, &probe.to_string(), &[]).unwrap();
            let pod = format!(
                r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "probe"}}, "spec": {{"restartPolicy": "Never",
                "volumes": [{{"name": "c", "configMap": {{"name": "probe"}}}}], "containers": [{{"name": "probe", "image": "{}",
                "args": ["validate", "--config-url=/etc/probe/probe.yaml"],
                "volumeMounts": [{{"name": "c", "mountPath": "/etc/probe"}}]}}]}}}}"#,
                self.image
            );
            self.apply(SINK, &pod, &[]).unwrap();
            let ended = || {
                let phase = self.kubectl(&["-n", SINK, "get", "pod", "probe", "-o", "jsonpath={.status.phase}"]);
                ["Succeeded", "Failed"].contains(&phase.as_str()).then_some(())
            };
            wait_for_longer(PATIENCE, "an answer of the Collector in the image", ended, String::new);
            let said = self.kubectl(&["-n", SINK, "logs", "probe"]);
            self.kubectl(&["-n", SINK, "delete", "pod", "probe", "--now"]);
            let unknown: Vec<String> = said
                .split("unknown type: \"")
                .skip(1)
                .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
                .collect();
            if unknown.is_empty() {
                break;
            }
            unknown.iter().for_each(|name| leave_out(&mut config, name));
            missing.extend(unknown);
        }
        if missing.is_empty() {
            return text.to_owned();
        }
        missing.sort();
        println!("skipped: not validated here, since the Collector of the image has no {}", missing.join(", "));
        serde_yaml::to_string(&config).unwrap()
    }

    /// The manifests of a person who installs by kustomize, with the image and the configs of the test.
    pub fn overlay(&self, configs: &[String; 2]) -> PathBuf {
        let root = self.host.path("kubernetes");
        if !root.exists() {
            copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/kubernetes/base"), &root.join("base"));
            fs::create_dir(root.join("overlay")).unwrap();
        }
        let overlay = root.join("overlay");
        let (name, tag) = self.image.rsplit_once(':').expect("OTELET_IMAGE has a tag");
        for (role, config) in ["node", "cluster"].into_iter().zip(configs) {
            fs::write(overlay.join(format!("{role}.yaml")), config).unwrap();
        }
        let text = format!(
            "resources: [../base]
namespace: {NAMESPACE}
images: [{{name: otelet, newName: {name}, newTag: {tag}}}]
generatorOptions: {{disableNameSuffixHash: true}}
configMapGenerator:
  - {{name: otelet-node, behavior: merge, files: [collector.yaml=node.yaml]}}
  - {{name: otelet-cluster, behavior: merge, files: [collector.yaml=cluster.yaml]}}
patches:
  - target: {{name: otelet-(node|cluster), kind: DaemonSet|Deployment}}
    patch: |-
      - {{op: add, path: /spec/template/spec/containers/0/env/-, value: {{name: OTELET_COLLECTOR_PROBATION, value: 5s}}}}
  - target: {{kind: DaemonSet}}
    patch: |-
      - {{op: test, path: /spec/template/spec/volumes/2/name, value: state}}
      - {{op: replace, path: /spec/template/spec/volumes/2/hostPath/path, value: {}}}
",
            // A directory of this test's own: another test may have left data on the node.
            Path::new("/var/lib").join(self.host.path("").file_name().unwrap()).display()
        );
        fs::write(overlay.join("kustomization.yaml"), text).unwrap();
        overlay
    }

    /// Installs by kustomize, and waits until both are ready.
    pub fn installed(&self) {
        let endpoint = self.sink();
        let configs = self.configs();
        self.kubectl(&["apply", "-k", &self.overlay(configs).display().to_string()]);
        self.secret(&endpoint);
        self.ready();
    }

    fn secret(&self, endpoint: &str) {
        let endpoint = format!("--from-literal=endpoint={endpoint}");
        let key = "--from-literal=authorization=Bearer nobody-may-see-this";
        self.ours(&["create", "secret", "generic", "otelet-backend", &endpoint, key]);
    }

    pub fn ready(&self) {
        for what in ["daemonset/otelet-node", "deployment/otelet-cluster"] {
            let words = ["-n", NAMESPACE, "rollout", "status", what, "--timeout=180s"];
            self.run("kubectl", &words).unwrap_or_else(|why| panic!("{what}: {why}\n{}", self.everything()));
        }
    }

    /// The pods of a role, without the ones that are about to end.
    pub fn pods(&self, role: &str) -> Vec<Value> {
        let list = self.json(&["-n", NAMESPACE, "get", "pods", "-l", &format!("app.kubernetes.io/name=otelet-{role}")]);
        let pods = list["items"].as_array().unwrap().iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
    }

    /// The only pod of a role, or the one on the first node if each node has one.
    pub fn pod(&self, role: &str) -> String {
        let mut pods = self.pods(role);
        pods.sort_by_key(|pod| pod["spec"]["nodeName"].as_str().unwrap_or("~").to_owned());
        pods.first().expect("there is one")["metadata"]["name"].as_str().unwrap().to_owned()
    }

    pub fn status(&self, pod: &str) -> Value {
        self.try_status(pod).unwrap_or_else(|| panic!("{pod} has no status: {}", self.everything()))
    }

    fn try_status(&self, pod: &str) -> Option<Value> {
        let words = ["-n", NAMESPACE, "exec", pod, "--", "/usr/local/bin/otelet", "status", "--json"];
        serde_json::from_str(&self.run("kubectl", &words).ok()?).ok()
    }

    /// Waits until the agent's status is like this.
    pub fn wait_status(&self, pod: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let look = || self.try_status(pod).filter(&holds);
        wait_for_longer(PATIENCE, what, look, || self.everything())
    }

    pub fn restarts(&self, pod: &str) -> String {
        let path = "jsonpath={.status.containerStatuses[0].restartCount}";
        self.ours(&["get", "pod", pod, "-o", path])
    }

    /// Puts another config for the nodes' Collectors into the ConfigMap.
    pub fn change(&self, config: &str) {
        let patch = serde_json::json!({"data": {"collector.yaml": config}}).to_string();
        self.ours(&["patch", "configmap", "otelet-node", "--type=merge", "-p", &patch]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The sink goes last: a Collector that drains would wait for it.
        let overlay = self.host.path("kubernetes/overlay");
        if overlay.exists() {
            let _ = self.run("kubectl", &["delete", "-k", &overlay.display().to_string(), "--ignore-not-found"]);
        }
        for namespace in [NAMESPACE, SINK] {
            let _ = self.run("kubectl", &["delete", "namespace", namespace, "--ignore-not-found"]);
        }
    }
}

pub fn base(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/kubernetes/base").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

/// Removes a component from a config, wherever it stands.
fn leave_out(config: &mut Value, name: &str) {
    let is = |id: &str| id.split('/').next() == Some(name);
    for section in ["receivers", "processors", "exporters", "extensions"] {
        if let Some(section) = config[section].as_object_mut() {
            section.retain(|id, _| !is(id));
        }
    }
    let retain = |list: &mut Value| {
        if let Some(list) = list.as_array_mut() {
            list.retain(|id| !id.as_str().is_some_and(is));
        }
    };
    retain(&mut config["service"]["extensions"]);
    for pipeline in config["service"]["pipelines"].as_object_mut().unwrap().values_mut() {
        ["receivers", "processors", "exporters"].iter().for_each(|list| retain(&mut pipeline[list]));
    }
}

/// The objects in a text of YAML documents.
pub fn objects(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

/// A pod as a workload would make it, without the objects that must exist first.
pub fn pod_of(workload: &Value, name: &str) -> String {
    let mut spec = workload["spec"]["template"]["spec"].clone();
    for key in ["priorityClassName", "serviceAccountName"] {
        spec.as_object_mut().unwrap().remove(key);
    }
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}
