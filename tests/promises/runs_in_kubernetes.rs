//! In a real Kubernetes: what targets/kubernetes installs is accepted, asks for little, delivers, and lives through what happens to
//! pods. It takes the cluster that KUBECONFIG names and the image that OTELET_IMAGE names, with a Collector in it; `cargo xtask
//! check --real` provides both. Everything is removed again but a directory on each node, and a namespace that is somebody's is left
//! alone.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use otelet::units::rfc3339;
use serde_json::Value;

use super::host::{Host, Signal, hash, signal, stderr, stdout, wait_for_longer};

/// How long anything may take: a kubelet looks for a changed ConfigMap each minute or two.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where it is installed, and where the sink is.
const NAMESPACE: &str = "otelet";
const SINK: &str = "otelet-sink";

/// The sink: an agent with a Collector that prints all it gets.
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

/// A cluster with a sink, and what a test installs in it.
struct Cluster {
    host: Host,
    image: String,
}

impl Cluster {
    /// The cluster, or why there is none.
    fn new() -> Option<Self> {
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

    fn command(&self, program: &str, words: &[&str], input: &str) -> Result<Output, String> {
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

    fn run(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let output = self.command(program, words, "")?;
        match output.status.success() {
            true => Ok(stdout(&output).trim().to_owned()),
            false => Err(stderr(&output).trim().to_owned()),
        }
    }

    fn kubectl(&self, words: &[&str]) -> String {
        self.run("kubectl", words).unwrap_or_else(|why| panic!("kubectl {words:?}: {why}"))
    }

    /// The same in the namespace of the installation.
    fn ours(&self, words: &[&str]) -> String {
        self.kubectl(&[&["-n", NAMESPACE], words].concat())
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[words, &["-o", "json"]].concat())).unwrap()
    }

    /// `kubectl apply` of a text.
    fn apply(&self, namespace: &str, text: &str, more: &[&str]) -> Result<String, String> {
        let words = [&["-n", namespace, "apply", "-f", "-"], more].concat();
        let output = self.command("kubectl", &words, text)?;
        if output.status.success() { Ok(stdout(&output) + &stderr(&output)) } else { Err(stderr(&output)) }
    }

    /// Starts the sink, and answers with where it listens.
    fn sink(&self) -> String {
        self.kubectl(&["create", "namespace", SINK]);
        self.apply(SINK, &SINK_MANIFEST.replace("IMAGE", &self.image), &[]).unwrap();
        self.kubectl(&["-n", SINK, "wait", "pod/sink", "--for=condition=Ready", "--timeout=120s"]);
        let address = self.kubectl(&["-n", SINK, "get", "pod", "sink", "-o", "jsonpath={.status.podIP}"]);
        format!("http://{address}:4318")
    }

    /// What the sink has got since then.
    fn got(&self, since: SystemTime) -> String {
        self.kubectl(&["-n", SINK, "logs", "sink", "--since-time", &rfc3339(since)])
    }

    /// Waits until the sink has got all of these since then.
    fn delivers(&self, since: SystemTime, wanted: &[&str]) -> String {
        let mut got = String::new();
        wait_for_longer(
            PATIENCE,
            &format!("{wanted:?} at the sink"),
            || {
                got = self.got(since);
                wanted.iter().all(|name| got.contains(name)).then(|| got.clone())
            },
            || self.everything(),
        )
    }

    /// For whoever has to find out why a test fails.
    fn everything(&self) -> String {
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

    /// The default configs, made quick, without the sink's own log, and without what the Collector of the image does not
    /// have, which is said, once for all tests.
    fn configs(&self) -> &'static [String; 2] {
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

    /// The config without components that the Collector says it does not know.
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
    fn overlay(&self, configs: &[String; 2]) -> PathBuf {
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
            // What another test has left on the node is not this one's.
            Path::new("/var/lib").join(self.host.path("").file_name().unwrap()).display()
        );
        fs::write(overlay.join("kustomization.yaml"), text).unwrap();
        overlay
    }

    /// Installs by kustomize, and waits until both are ready.
    fn installed(&self) {
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

    fn ready(&self) {
        for what in ["daemonset/otelet-node", "deployment/otelet-cluster"] {
            let words = ["-n", NAMESPACE, "rollout", "status", what, "--timeout=180s"];
            self.run("kubectl", &words).unwrap_or_else(|why| panic!("{what}: {why}\n{}", self.everything()));
        }
    }

    /// The pods of a role that are not about to end.
    fn pods(&self, role: &str) -> Vec<Value> {
        let list = self.json(&["-n", NAMESPACE, "get", "pods", "-l", &format!("app.kubernetes.io/name=otelet-{role}")]);
        let pods = list["items"].as_array().unwrap().iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).cloned().collect()
    }

    /// The one of them, on the first node if there is one on each.
    fn pod(&self, role: &str) -> String {
        let mut pods = self.pods(role);
        pods.sort_by_key(|pod| pod["spec"]["nodeName"].as_str().unwrap_or("~").to_owned());
        pods.first().expect("there is one")["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// The agent's own status.
    fn status(&self, pod: &str) -> Value {
        self.try_status(pod).unwrap_or_else(|| panic!("{pod} has no status: {}", self.everything()))
    }

    fn try_status(&self, pod: &str) -> Option<Value> {
        let words = ["-n", NAMESPACE, "exec", pod, "--", "/usr/local/bin/otelet", "status", "--json"];
        serde_json::from_str(&self.run("kubectl", &words).ok()?).ok()
    }

    /// Waits until the agent's status is like this.
    fn wait_status(&self, pod: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let look = || self.try_status(pod).filter(&holds);
        wait_for_longer(PATIENCE, what, look, || self.everything())
    }

    fn restarts(&self, pod: &str) -> String {
        let path = "jsonpath={.status.containerStatuses[0].restartCount}";
        self.ours(&["get", "pod", pod, "-o", path])
    }

    /// Puts another config for the Collectors of the nodes into the ConfigMap.
    fn change(&self, config: &str) {
        let patch = serde_json::json!({"data": {"collector.yaml": config}}).to_string();
        self.ours(&["patch", "configmap", "otelet-node", "--type=merge", "-p", &patch]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The sink last: a Collector that drains would wait for it.
        let overlay = self.host.path("kubernetes/overlay");
        if overlay.exists() {
            let _ = self.run("kubectl", &["delete", "-k", &overlay.display().to_string(), "--ignore-not-found"]);
        }
        for namespace in [NAMESPACE, SINK] {
            let _ = self.run("kubectl", &["delete", "namespace", namespace, "--ignore-not-found"]);
        }
    }
}

fn base(name: &str) -> String {
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

/// Takes a component out of a config, wherever it stands.
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
fn objects(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| <Value as serde::Deserialize>::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

/// A pod as a workload would make it, without what must exist first.
fn pod_of(workload: &Value, name: &str) -> String {
    let mut spec = workload["spec"]["template"]["spec"].clone();
    for key in ["priorityClassName", "serviceAccountName"] {
        spec.as_object_mut().unwrap().remove(key);
    }
    serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn it_is_accepted_under_pod_security_and_the_chart_is_the_same() {
    let Some(cluster) = Cluster::new() else { return };
    let overlay = cluster.overlay(&["node", "cluster"].map(|role| base(&format!("{role}/collector.yaml"))));
    let rendered = cluster.kubectl(&["kustomize", &overlay.display().to_string()]);
    let objects = objects(&rendered);
    let (namespace, others): (Vec<&Value>, Vec<_>) = objects.iter().partition(|it| it["kind"] == "Namespace");
    assert_eq!(namespace.len(), 1);
    cluster.apply(NAMESPACE, &namespace[0].to_string(), &[]).unwrap();
    cluster.kubectl(&["create", "namespace", SINK]);

    // Strict: a key that the API server does not know is an error.
    let dry = ["--dry-run=server", "--validate=strict"];
    for object in &others {
        let said = cluster.apply(NAMESPACE, &object.to_string(), &dry);
        assert!(said.as_ref().is_ok_and(|said| !said.contains("Warning")), "{}: {said:?}", object["kind"]);
    }
    let workload = |kind: &str| *others.iter().find(|it| it["kind"] == kind).unwrap();
    let [node, once] = [("DaemonSet", "node"), ("Deployment", "once")].map(|(kind, name)| pod_of(workload(kind), name));
    let level = |level: &str| {
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        cluster.kubectl(&["label", "namespace", SINK, "--overwrite", &label]);
    };
    level("restricted");
    assert!(
        cluster.apply(SINK, &once, &dry).is_ok_and(|said| !said.contains("Warning")),
        "the Deployment is restricted"
    );
    level("baseline");
    cluster.apply(SINK, &once, &dry).unwrap();
    let refusal = cluster.apply(SINK, &node, &dry).unwrap_err();
    let complaint = refusal.split_once("\"baseline:latest\": ").expect(&refusal).1.trim();
    assert_eq!(
        complaint, r#"hostPath volumes (volumes "state", "pod-logs", "host-root")"#,
        "host paths, and nothing else"
    );

    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/kubernetes/chart");
    match cluster.run("helm", &["template", "otelet", chart, "-n", NAMESPACE, "--kube-version=1.34"]) {
        Err(why) => println!("skipped: the chart: {why}"),
        Ok(rendered) => {
            let said = cluster.apply(NAMESPACE, &rendered, &dry).unwrap();
            assert!(said.contains("daemonset.apps/otelet-node") && !said.contains("Warning"), "{said}");
        }
    }
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn it_may_ask_what_it_needs_and_nothing_else() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.kubectl(&["create", "namespace", NAMESPACE]);
    cluster.overlay(&["node", "cluster"].map(|role| base(&format!("{role}/collector.yaml"))));
    for role in ["node", "cluster"] {
        cluster.apply(NAMESPACE, &base(&format!("{role}/access.yaml")), &[]).unwrap();
    }
    let nobody = [
        "get secrets",
        "list secrets",
        "watch secrets",
        "list configmaps",
        "create pods",
        "delete pods",
        "patch pods",
        "create pods/exec",
        "create pods/attach",
        "create pods/portforward",
        "create pods/ephemeralcontainers",
        "get pods/log",
        "get nodes/proxy",
        "create nodes/proxy",
        "get nodes/log",
        "patch nodes",
        "create deployments.apps",
        "patch daemonsets.apps",
        "create serviceaccounts/token",
        "impersonate users",
        "escalate clusterroles.rbac.authorization.k8s.io",
        "bind clusterroles.rbac.authorization.k8s.io",
        "list clusterroles.rbac.authorization.k8s.io",
        "create events",
        "* *",
    ];
    let seen_by_one = [
        "events",
        "namespaces",
        "nodes",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "services",
        "daemonsets.apps",
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "jobs.batch",
        "cronjobs.batch",
        "horizontalpodautoscalers.autoscaling",
    ];
    let may = |role: &str, what: &str| {
        let account = format!("system:serviceaccount:{NAMESPACE}:otelet-{role}");
        let mut words = vec!["auth", "can-i", "--all-namespaces", "--as", &account];
        let (verb, resource) = what.split_once(' ').unwrap();
        let (resource, part) = match resource.trim().split_once('/') {
            Some((resource, part)) => (resource, Some(format!("--subresource={part}"))),
            None => (resource.trim(), None),
        };
        words.extend([verb, resource]);
        words.extend(part.as_deref());
        // It ends with 1 where the answer is no.
        let output = cluster.command("kubectl", &words, "").unwrap();
        match stdout(&output).trim() {
            "yes" => true,
            "no" => false,
            other => panic!("{words:?}: {other} {}", stderr(&output)),
        }
    };
    for what in nobody {
        assert!(!may("node", what), "the DaemonSet may {what}");
        assert!(!may("cluster", what), "the Deployment may {what}");
    }
    assert!(may("node", "get nodes/stats"));
    assert!(!may("cluster", "get nodes/stats"));
    for resource in seen_by_one {
        for verb in ["get", "list", "watch"] {
            assert!(may("cluster", &format!("{verb} {resource}")), "the Deployment may not {verb} {resource}");
        }
        assert!(!may("node", &format!("list {resource}")), "the DaemonSet may list {resource}");
    }
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn metrics_of_nodes_and_pods_logs_and_the_state_of_the_cluster_arrive() {
    let Some(cluster) = Cluster::new() else { return };
    let start = SystemTime::now();
    cluster.installed();
    let nodes = cluster.json(&["get", "nodes"]);
    let nodes: Vec<&str> =
        nodes["items"].as_array().unwrap().iter().map(|it| it["metadata"]["name"].as_str().unwrap()).collect();
    if nodes.len() < 2 {
        println!("skipped: two nodes: the cluster has one");
    }

    // A pod whose one line nobody else writes.
    let marker = format!("/a-line-of-{}", std::process::id());
    let words =
        ["run", "writer", "--restart=Never", "--image", &cluster.image, "--", "validate", "--config-url", &marker];
    cluster.ours(&words);
    let got = cluster.delivers(
        start,
        &[
            // The kubelet's.
            "k8s.node.cpu.usage",
            "k8s.node.memory.working_set",
            "k8s.pod.cpu.time",
            "container.memory.working_set",
            "k8s.volume.available",
            // The host's.
            "system.cpu.utilization",
            "system.memory.usage",
            "system.filesystem.usage",
            "system.disk.io",
            // The cluster's.
            "k8s.deployment.available",
            "k8s.daemonset.ready_nodes",
            "k8s.pod.phase",
            "k8s.node.condition_ready",
            // The pod's line.
            &marker,
            "k8s.container.name: Str(writer)",
        ],
    );
    for node in &nodes {
        let wanted = format!("k8s.node.name: Str({node})");
        if !got.contains(&wanted) {
            cluster.delivers(start, &[&wanted]);
        }
    }
    assert!(!got.contains("nobody-may-see-this"));

    // The agents, as people see them: which Collector, its budget, who they are.
    for role in ["node", "cluster"] {
        let pod = cluster.pod(role);
        let status = cluster.status(&pod);
        assert_eq!(status["collector"]["healthy"], true, "{status:#}");
        assert!(!status.to_string().contains("nobody-may-see-this"));
        let said = cluster.ours(&["get", "pod", &pod, "-o", "jsonpath={.spec.containers[0].resources.limits.memory}"]);
        assert_eq!(said, "256Mi");
        match collector_here(&status) {
            Some(pid) => {
                let budget = format!("GOMEMLIMIT={}", 256 * 1024 * 1024 / 10 * 9);
                assert!(environment_of(pid).contains(&budget), "{:?}", environment_of(pid));
            }
            None => println!("skipped: the Collector's budget: its node is another machine"),
        }
    }

    // OTLP from an application of the node, by the pod's own address: that the service leads there is kube-proxy's to do.
    println!(
        "skipped: the service in front of the node's OTLP receiver: not routed by every cluster; the pod is asked itself"
    );
    let pod = cluster.pod("node");
    let address = cluster.ours(&["get", "pod", &pod, "-o", "jsonpath={.status.podIP}"]);
    let application = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "application"}}, "spec": {{"containers": [{{
        "name": "application", "image": "{}", "env": [
        {{"name": "OTELET_EXPORT_TO", "value": "http://{address}:4318"}}, {{"name": "OTELET_EXPORT_EVERY", "value": "1s"}},
        {{"name": "OTELET_EXPORT_METRICS", "value": "agent"}}, {{"name": "OTELET_CONFIG_URL", "value": "/none"}}]}}],
        "terminationGracePeriodSeconds": 5}}}}"#,
        cluster.image
    );
    cluster.apply(NAMESPACE, &application, &[]).unwrap();
    cluster.delivers(start, &["service.name: Str(otelet)"]);
}

/// The process of the Collector, where its node is this machine.
fn collector_here(status: &Value) -> Option<u32> {
    let uid = format!("OTELET_INSTANCE_UID={}", status["agent"]["instance_uid"].as_str().unwrap());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        // A command that the agent runs for a moment has the same environment.
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let name = String::from_utf8_lossy(&command).into_owned();
        name.contains("otelcol") && !name.contains("validate") && environment_of(*pid).contains(&uid)
    })
}

/// Its environment, or nothing if it has just ended.
fn environment_of(pid: u32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&text).split('\0').map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn a_changed_config_map_is_applied_without_a_new_pod_and_a_bad_one_is_refused_while_data_flows() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.installed();
    let pod = cluster.pod("node");
    let good = fs::read_to_string(cluster.host.path("kubernetes/overlay/node.yaml")).unwrap();
    let before = cluster.status(&pod)["config"]["effective_hash"].clone();

    let better = good.replace("metric_groups: [node, pod, container, volume]", "metric_groups: [node]");
    assert_ne!(better, good);
    cluster.change(&better);
    let after = cluster
        .wait_status(&pod, "the better config", |status| status["config"]["effective_hash"] == hash(&better).as_str());
    assert_ne!(after["config"]["effective_hash"], before);
    cluster.wait_status(&pod, "a healthy Collector", |status| status["collector"]["healthy"] == true);

    let bad = good.replace("kubeletstats:", "kubeletstatz:");
    cluster.change(&bad);
    let refused = cluster.wait_status(&pod, "a refusal", |status| {
        status["config"]["remote_hash"] == hash(&bad).as_str() && status["config"]["remote_config_status"] == "failed"
    });
    assert_eq!(refused["config"]["effective_hash"], hash(&better).as_str());
    assert!(refused["config"]["message"].to_string().contains("kubeletstatz"), "{refused:#}");
    cluster.delivers(SystemTime::now(), &["k8s.node.cpu.usage", "system.cpu.utilization"]);

    assert_eq!(cluster.pod("node"), pod, "the same pod all the time");
    assert_eq!(cluster.restarts(&pod), "0");
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn a_deleted_pod_comes_back_as_the_same_agent_and_a_killed_collector_is_the_agents_business() {
    let Some(cluster) = Cluster::new() else { return };
    let start = SystemTime::now();
    cluster.installed();
    let marker = format!("/once-{}", std::process::id());
    cluster.ours(&[
        "run",
        "writer",
        "--restart=Never",
        "--image",
        &cluster.image,
        "--",
        "validate",
        "--config-url",
        &marker,
    ]);
    cluster.delivers(start, &[&marker]);
    for role in ["node", "cluster"] {
        let pod = cluster.pod(role);
        // One that dies in its probation would be the config's fault.
        let applied = |status: &Value| status["config"]["remote_config_status"] == "applied";
        let status = cluster.wait_status(&pod, "an applied config", applied);
        match collector_here(&status) {
            None => println!("skipped: a killed Collector: its node is another machine"),
            Some(collector) => {
                signal(collector, Signal::KILL);
                let again = cluster.wait_status(&pod, "another Collector", |status| {
                    let collector = &status["collector"];
                    collector["healthy"] == true && collector["restarts"].as_u64().is_some_and(|count| count > 0)
                });
                assert_eq!(again["agent"]["since"], status["agent"]["since"], "the same agent");
                assert_eq!(cluster.restarts(&pod), "0", "the kubelet has nothing to do with it");
            }
        }

        cluster.ours(&["delete", "pod", &pod]);

        cluster.ready();
        let new = cluster.pod(role);
        assert_ne!(new, pod);
        assert_eq!(cluster.status(&new)["agent"]["instance_uid"], status["agent"]["instance_uid"], "{role}");
    }
    // Offsets were kept: what was read before is not read again.
    let again = SystemTime::now();
    cluster.delivers(again, &["k8s.node.cpu.usage"]);
    assert_eq!(cluster.got(start).matches(&format!("{marker}: does not exist")).count(), 1);
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn an_image_that_cannot_be_had_or_does_not_get_healthy_leaves_the_old_pods_running() {
    let Some(cluster) = Cluster::new() else { return };
    cluster.installed();
    let old = ["node", "cluster"].map(|role| {
        let pod = cluster.pod(role);
        let uid = cluster.status(&pod)["agent"]["instance_uid"].clone();
        (role, pod, uid)
    });
    let workload = |role: &str| if role == "node" { "daemonset/otelet-node" } else { "deployment/otelet-cluster" };
    let old_ones_run = |why: &str| {
        let since = SystemTime::now();
        for (_, pod, uid) in &old {
            assert_eq!(cluster.status(pod)["agent"]["instance_uid"], *uid, "{why}");
        }
        cluster.delivers(since, &["k8s.node.cpu.usage", "k8s.deployment.available"]);
    };
    // Waits for a new pod of this role that is in this trouble.
    let in_trouble = |role: &str, trouble: &[&str]| {
        let look = || {
            let pods = cluster.pods(role);
            let mut reasons = pods.iter().filter_map(|pod| {
                let state = &pod["status"]["containerStatuses"][0];
                [&state["state"]["waiting"]["reason"], &state["state"]["terminated"]["reason"]]
                    .into_iter()
                    .find_map(Value::as_str)
                    .map(str::to_owned)
            });
            reasons.find(|reason| trouble.contains(&reason.as_str()))
        };
        wait_for_longer(PATIENCE, &format!("{trouble:?} of {role}"), look, || cluster.everything());
    };

    for (role, ..) in &old {
        cluster.ours(&["set", "image", workload(role), "otelet=localhost/no-such-otelet:0"]);
    }
    old.iter().for_each(|(role, ..)| in_trouble(role, &["ErrImagePull", "ImagePullBackOff"]));
    old_ones_run("an image that cannot be had");

    for (role, ..) in &old {
        cluster.ours(&["rollout", "undo", workload(role)]);
    }
    cluster.ready();
    old_ones_run("taken back");

    // A Collector that is not there: no new agent is ever healthy.
    for (role, ..) in &old {
        cluster.ours(&["set", "env", workload(role), "OTELET_COLLECTOR_PATH=/usr/local/bin/no-such-otelcol"]);
    }
    in_trouble("node", &["Error", "CrashLoopBackOff"]);
    let second = || (cluster.pods("cluster").len() == 2).then_some(());
    wait_for_longer(PATIENCE, "a second pod of the Deployment", second, || cluster.everything());
    old_ones_run("a Collector that is not there");

    // And one that is healthy takes over, as the same agent.
    for (role, ..) in &old {
        cluster.ours(&["set", "env", workload(role), "OTELET_COLLECTOR_PATH-", "OTELET_LOG_LEVEL=debug"]);
    }
    cluster.ready();
    for (role, pod, uid) in &old {
        let new = cluster.pod(role);
        assert_ne!(new, *pod);
        assert_eq!(cluster.wait_status(&new, "its turn", |_| true)["agent"]["instance_uid"], *uid);
    }
    let log = cluster.ours(&["logs", &cluster.pod("node")]);
    assert!(log.contains("standing by for up to 1h"), "{log}");
    cluster.delivers(SystemTime::now(), &["k8s.node.cpu.usage", "k8s.deployment.available"]);
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn the_chart_installs_and_leaves_nothing_behind() {
    let Some(cluster) = Cluster::new() else { return };
    if let Err(why) = cluster.run("helm", &["version"]) {
        println!("skipped: the chart: {why}");
        return;
    }
    let endpoint = cluster.sink();
    let [node, once] = cluster.configs();
    let values = serde_json::json!({
        "image": {"repository": cluster.image.rsplit_once(':').unwrap().0, "tag": cluster.image.rsplit_once(':').unwrap().1},
        "backend": {"endpoint": endpoint, "authorization": "Bearer nobody-may-see-this"},
        "node": {"collector": node, "settings": {"log_level": "debug"}},
        "cluster": {"collector": once},
    });
    let path = cluster.host.path("values.yaml");
    fs::write(&path, values.to_string()).unwrap();
    let inventory = || {
        let kinds = "clusterroles,clusterrolebindings,priorityclasses";
        let mut names: Vec<String> =
            cluster.kubectl(&["get", kinds, "-o", "name"]).lines().map(str::to_owned).collect();
        names.retain(|name| name.contains("otelet"));
        names
    };
    assert!(inventory().is_empty(), "{:?}", inventory());
    cluster.kubectl(&["create", "namespace", NAMESPACE]);
    cluster.kubectl(&["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=privileged"]);
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/targets/kubernetes/chart");
    let start = SystemTime::now();

    let installed =
        cluster.run("helm", &["install", "otelet", chart, "-n", NAMESPACE, "--values", path.to_str().unwrap()]);
    installed.unwrap_or_else(|why| panic!("{why}"));
    cluster.ready();
    cluster.delivers(start, &["k8s.node.cpu.usage", "k8s.deployment.available", "system.cpu.utilization"]);
    assert_eq!(inventory().len(), 5, "{:?}", inventory());

    cluster.run("helm", &["uninstall", "otelet", "-n", NAMESPACE, "--wait"]).unwrap();
    assert!(inventory().is_empty(), "{:?}", inventory());
    let left = || {
        let kinds = "all,configmaps,secrets,poddisruptionbudgets,serviceaccounts";
        let names = cluster.ours(&["get", kinds, "-o", "name"]);
        let own = |name: &&str| !["configmap/kube-root-ca.crt", "serviceaccount/default"].contains(name);
        names.lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    // Pods end after the objects that made them.
    wait_for_longer(PATIENCE, "nothing left", || left().is_empty().then_some(()), || format!("{:?}", left()));
}
