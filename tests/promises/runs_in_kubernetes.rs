//! The installation of targets/kubernetes in a real Kubernetes: the cluster accepts it, it asks for little, delivers
//! its data, and survives changes of its pods. The tests use the cluster that KUBECONFIG names and the image that
//! OTELET_IMAGE names, with a Collector in it; `cargo xtask check --real` provides both. They remove everything again
//! except a directory on each node, and leave a namespace of somebody else alone.

use std::fs;
use std::time::SystemTime;

use serde_json::Value;

use super::cluster::{Cluster, NAMESPACE, PATIENCE, SINK, base, objects, pod_of};
use super::host::{Signal, hash, signal, stderr, stdout, wait_for_longer};

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
fn it_may_read_the_objects_it_needs_and_nothing_else() {
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
        // The exit status is 1 where the answer is no.
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

    // A pod that logs a line of this test alone.
    let marker = format!("/a-line-of-{}", std::process::id());
    let words =
        ["run", "writer", "--restart=Never", "--image", &cluster.image, "--", "validate", "--config-url", &marker];
    cluster.ours(&words);
    let got = cluster.delivers(
        start,
        &[
            // The kubelet's metrics.
            "k8s.node.cpu.usage",
            "k8s.node.memory.working_set",
            "k8s.pod.cpu.time",
            "container.memory.working_set",
            "k8s.volume.available",
            // The host's metrics.
            "system.cpu.utilization",
            "system.memory.usage",
            "system.filesystem.usage",
            "system.disk.io",
            // The cluster's metrics.
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

    // The agents' status as people see it: the Collector, its budget, and the agent's identity.
    for role in ["node", "cluster"] {
        let pod = cluster.pod(role);
        let status = cluster.status(&pod);
        assert_eq!(status["collector"]["healthy"], true, "{status:#}");
        assert!(!status.to_string().contains("nobody-may-see-this"));
        let said = cluster.ours(&["get", "pod", &pod, "-o", "jsonpath={.spec.containers[0].resources.limits.memory}"]);
        assert_eq!(said, "256Mi");
        match collector_process(&status) {
            Some(pid) => {
                let budget = format!("GOMEMLIMIT={}", 256 * 1024 * 1024 / 10 * 9);
                assert!(environment_of(pid).contains(&budget), "{:?}", environment_of(pid));
            }
            None => println!("skipped: the Collector's budget: its node is another machine"),
        }
    }

    // OTLP from an application of the node goes to the pod's own address: without kube-proxy the service does not lead
    // there.
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
fn collector_process(status: &Value) -> Option<u32> {
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

/// The environment of a process, or nothing if it has just ended.
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
fn a_deleted_pod_comes_back_as_the_same_agent_and_a_killed_collector_costs_no_pod() {
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
        // If the collector died in its probation, the config would be blamed.
        let applied = |status: &Value| status["config"]["remote_config_status"] == "applied";
        let status = cluster.wait_status(&pod, "an applied config", applied);
        match collector_process(&status) {
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
    // The offsets were kept: logs that were read before are not read again.
    let again = SystemTime::now();
    cluster.delivers(again, &["k8s.node.cpu.usage"]);
    assert_eq!(cluster.received(start).matches(&format!("{marker}: does not exist")).count(), 1);
}

#[test]
#[ignore = "needs a Kubernetes cluster: cargo xtask check --real"]
fn an_image_that_is_missing_or_unhealthy_leaves_the_old_pods_running() {
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

    // With a Collector that does not exist, no new agent is ever healthy.
    for (role, ..) in &old {
        cluster.ours(&["set", "env", workload(role), "OTELET_COLLECTOR_PATH=/usr/local/bin/no-such-otelcol"]);
    }
    in_trouble("node", &["Error", "CrashLoopBackOff"]);
    let second = || (cluster.pods("cluster").len() == 2).then_some(());
    wait_for_longer(PATIENCE, "a second pod of the Deployment", second, || cluster.everything());
    old_ones_run("a Collector that is not there");

    // A new agent that is healthy takes over, with the same identity.
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
