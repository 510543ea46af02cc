//! The installation of targets/kubernetes asks a cluster for little: to read the objects that it reports on, and on a
//! node the directories that it names. This file checks the manifests as text; runs_in_kubernetes.rs shows the same on
//! a real cluster.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use otelet::cli;
use otelet::settings::{self, Environment, Location, World};
use serde::Deserialize;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("targets/kubernetes")
}

/// All objects in the YAML files of a folder and those below it.
fn objects(folder: &Path) -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(objects(&path));
        } else if path.extension().is_some_and(|it| it == "yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let documents = serde_yaml::Deserializer::from_str(&text);
            let values = documents.map(|document| Value::deserialize(document).unwrap());
            found.extend(values.filter(|value| value["kind"].is_string()).map(|value| (path.clone(), value)));
        }
    }
    found
}

fn of_kind(kind: &str) -> Vec<(PathBuf, Value)> {
    let all = [objects(&folder().join("base")), objects(&folder().join("overlays"))].concat();
    let found: Vec<_> = all.into_iter().filter(|(_, object)| object["kind"] == kind).collect();
    assert!(!found.is_empty(), "there is a {kind}");
    found
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn its_role_only_reads_and_reads_no_secrets() {
    for (path, role) in of_kind("ClusterRole") {
        for rule in role["rules"].as_array().unwrap() {
            let place = format!("{}: {rule}", path.display());
            assert!(rule.get("nonResourceURLs").is_none(), "{place}");
            assert!(texts(&rule["verbs"]).iter().all(|verb| ["get", "list", "watch"].contains(verb)), "{place}");
            for resource in texts(&rule["resources"]) {
                // The only subresource that it reads; pods/exec, pods/log and nodes/proxy are others.
                assert!(!resource.contains('/') || resource == "nodes/stats", "{place}");
                assert!(!["*", "secrets", "configmaps", "serviceaccounts"].contains(&resource), "{place}");
            }
            assert!(!texts(&rule["apiGroups"]).contains(&"*"), "{place}");
        }
    }
    for (path, account) in of_kind("ServiceAccount") {
        assert_eq!(account["automountServiceAccountToken"], false, "{}", path.display());
    }
}

#[test]
fn pods_have_no_privileges_and_a_limit_that_the_collector_knows() {
    for (kind, limit_of_paths) in [("DaemonSet", 3), ("Deployment", 0)] {
        let found = of_kind(kind);
        let [(_, workload)] = &found[..] else { panic!("one {kind}") };
        let pod = &workload["spec"]["template"]["spec"];
        for key in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(pod.get(key).is_none(), "{kind}: {key}");
        }
        let [container] = &pod["containers"].as_array().unwrap()[..] else { panic!("one container") };
        let security = &container["securityContext"];
        assert_ne!(security["privileged"], true);
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"], serde_json::json!({"drop": ["ALL"]}));
        let seccomp = [&security["seccompProfile"]["type"], &pod["securityContext"]["seccompProfile"]["type"]];
        assert!(seccomp.iter().any(|it| **it == "RuntimeDefault"), "{kind}");

        let volumes = pod["volumes"].as_array().unwrap();
        let host: Vec<&Value> = volumes.iter().filter(|volume| volume.get("hostPath").is_some()).collect();
        assert_eq!(host.len(), limit_of_paths, "{kind}");
        for volume in host {
            let mounts = container["volumeMounts"].as_array().unwrap().iter();
            let mut mounts = mounts.filter(|mount| mount["name"] == volume["name"]);
            assert!(mounts.all(|mount| mount["readOnly"] == true || volume["name"] == "state"), "{kind}: {volume}");
        }

        assert!(container["resources"]["limits"]["memory"].is_string());
        let env = container["env"].as_array().unwrap();
        let budget = env.iter().find(|it| it["name"] == "OTELET_COLLECTOR_MEMORY_LIMIT").unwrap();
        assert_eq!(budget["valueFrom"]["resourceFieldRef"]["resource"], "limits.memory");
        for (probe, words) in [("readinessProbe", &["status", "--healthy"][..]), ("livenessProbe", &["status"])] {
            let command = texts(&container[probe]["exec"]["command"]);
            assert_eq!((command[0], &command[1..]), ("/usr/local/bin/otelet", words), "{kind}: {probe}");
        }
        let update = workload["spec"].get("updateStrategy").unwrap_or(&workload["spec"]["strategy"]);
        assert_eq!(update["rollingUpdate"], serde_json::json!({"maxSurge": 1, "maxUnavailable": 0}), "{kind}");
        // Long enough for a Collector to drain.
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 45, "{kind}");
    }
}

#[test]
fn manifests_and_chart_name_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    for kind in ["DaemonSet", "Deployment"] {
        let image = &of_kind(kind)[0].1["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(*image, format!("otelet:{version}-collector"));
    }
    let read = |name: &str| -> Value {
        serde_yaml::from_str(&fs::read_to_string(folder().join("chart").join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("Chart.yaml")["version"], version);
    assert_eq!(read("Chart.yaml")["appVersion"], version);
    assert_eq!(read("values.yaml")["image"]["tag"], format!("{version}-collector"));
}

#[test]
fn the_chart_reads_the_files_of_the_base() {
    let (chart, base) = (folder().join("chart/base"), folder().join("base"));
    assert_eq!(chart.canonicalize().unwrap(), base.canonicalize().unwrap());
}

#[test]
fn the_settings_in_every_config_map_are_good() {
    let files: Vec<(PathBuf, &str)> =
        ["base/node/otelet.yaml", "overlays/server/node.yaml", "overlays/kloudmate/node.yaml"]
            .into_iter()
            .map(|name| (folder().join(name), "daemonset"))
            .chain(
                ["base/cluster/otelet.yaml", "overlays/server/cluster.yaml", "overlays/kloudmate/cluster.yaml"]
                    .into_iter()
                    .map(|name| (folder().join(name), "deployment")),
            )
            .collect();
    for (path, environment) in files {
        let text = fs::read(&path).unwrap();
        let world = World {
            var: Box::new(move |name| match name {
                "OTELET_ENVIRONMENT" => Some(environment.into()),
                "OTELET_COLLECTOR_MEMORY_LIMIT" => Some("268435456".into()),
                "K8S_NAMESPACE" => Some("otelet".into()),
                _ => None,
            }),
            read: Box::new(move |path| match path.to_str().unwrap() {
                "/etc/otelet/otelet.yaml" => Ok(text.clone()),
                "/run/secrets/otelet/endpoint" => Ok(b"https://otlp.example.com\n".to_vec()),
                "/run/secrets/otelet/authorization" => Ok(b"Bearer nobody-may-see-this".to_vec()),
                "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt" => Ok(b"a\nb\n".to_vec()),
                _ => Err(io::ErrorKind::NotFound.into()),
            }),
            here: "/".into(),
        };
        let invocation = cli::parse(std::iter::empty::<std::ffi::OsString>()).unwrap();

        let settings =
            settings::load(&invocation.flags, &world).unwrap_or_else(|error| panic!("{}: {error}", path.display()));

        assert_eq!(settings.collector.memory_limit, Some(256 * 1024 * 1024));
        assert!(settings.config.url.is_some(), "{}", path.display());
        if path.starts_with(folder().join("base")) {
            assert_eq!(settings.config.url, Some(Location::File("/etc/otelet/collector.yaml".into())));
        }
        let is_node = environment == "daemonset";
        assert_eq!(settings.config.environment, if is_node { Environment::DaemonSet } else { Environment::Deployment });
        // A pod that starts beside its predecessor stands by if both share a state; without a shared state its identity
        // is derived.
        assert_ne!(settings.standby.is_zero(), settings.identity.is_none(), "{}", path.display());
        assert!(!is_node || !settings.standby.is_zero(), "{}", path.display());
        assert!(settings.secrets().contains(&"Bearer nobody-may-see-this".to_owned()), "{}", path.display());
    }
}
