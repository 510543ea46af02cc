//! The images, on a real Docker engine: both ways to make them, their files, and how they run: as an unprivileged user,
//! on a read-only root, without a capability. And the data of a Docker host that passes through a real Collector:
//! metrics, logs and events of its containers, also while the engine restarts.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::host::{Host, Signal, signal, state, stderr, stdout, wait_for_longer};
use super::runs_on_arm64::xtask;
use super::server::{Answer, Request, Server};
use super::watches_a_real_docker::{Engine, IMAGE, Network};

/// The start of a Collector in a container on a busy machine, and the engine's own health check, which runs every 30 s.
const LONG: Duration = Duration::from_secs(120);

/// Targets, their names in images, and `e_machine` of elf(5).
const TARGETS: [(&str, &str, u8); 2] =
    [("x86_64-unknown-linux-musl", "amd64", 62), ("aarch64-unknown-linux-musl", "arm64", 183)];

/// A container without any privilege.
const CONFINED: [&str; 5] = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
    "--tmpfs=/run/otelet:mode=1777",
    "--tmpfs=/tmp:mode=1777",
];

fn here() -> &'static (&'static str, &'static str, u8) {
    TARGETS.iter().find(|(target, ..)| target.starts_with(std::env::consts::ARCH)).expect("amd64 or arm64")
}

/// A Collector for a target, in a file of its own name.
fn collector(target: &str) -> Option<String> {
    xtask(&["collector", "--small", "--target", target]).inspect_err(|why| println!("skipped: {why}")).ok()
}

/// Makes an image without an engine, and returns its file.
fn made(target: &str, tag: &str, collector: Option<&str>) -> Option<PathBuf> {
    let mut words = vec!["image", "--target", target, "--tag", tag];
    words.extend(collector.into_iter().flat_map(|path| ["--collector", path]));
    xtask(&words).inspect_err(|why| println!("skipped: {why}")).ok().map(PathBuf::from)
}

fn made_with_collector(tag: &str) -> Option<PathBuf> {
    let collector = collector(here().0)?;
    made(here().0, tag, Some(&collector))
}

/// Makes that image and loads it.
fn loaded(engine: &Engine, tag: &str) -> Option<()> {
    let file = made_with_collector(tag)?;
    engine.docker(&["load", "--input", &file.display().to_string()]);
    Some(())
}

fn inspected(engine: &Engine, kind: &str, name: &str) -> Value {
    let text = engine.docker(&[kind, "inspect", name]);
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

/// `e_machine` of a program in an image.
fn machine(engine: &Engine, image: &str, program: &str) -> u8 {
    let container = engine.docker(&["create", image]);
    let copy = engine.dir.join("copy");
    engine.docker(&["cp", &format!("{container}:{program}"), &copy.display().to_string()]);
    engine.docker(&["rm", &container]);
    let bytes = fs::read(&copy).unwrap();
    assert_eq!(&bytes[..4], b"\x7fELF");
    bytes[18]
}

/// The agent's status, read in its container.
fn status(engine: &Engine, name: &str) -> Option<Value> {
    let output = engine.command(&["exec", name, "/usr/local/bin/otelet", "status", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

fn logs(engine: &Engine, name: &str) -> String {
    let output = engine.command(&["logs", name]).output().unwrap();
    stdout(&output) + &stderr(&output)
}

/// Waits until the status of the agent in a container is like this.
fn says(engine: &Engine, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let look = || status(engine, name).filter(|status| holds(status));
    wait_for_longer(LONG, what, look, || format!("{:#?}\n{}", status(engine, name), logs(engine, name)))
}

fn healthy(engine: &Engine, name: &str) -> Value {
    says(engine, name, "a healthy agent", |status| {
        status["collector"]["healthy"] == true && status["config"]["remote_config_status"] == "applied"
    })
}

/// The container's process, as the host sees it.
fn process(engine: &Engine, name: &str) -> u32 {
    engine.docker(&["inspect", "--format", "{{.State.Pid}}", name]).parse().unwrap()
}

/// The value of a line in `/proc/PID/status`.
fn fact(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn an_image_from_static_binaries_has_the_right_programs_and_runs_without_privileges() {
    let host = Host::new();
    let Some(engine) = Engine::with(&host, Network::Own) else { return };
    for (target, architecture, wanted) in TARGETS {
        let Some(file) = made(target, "otelet:one", None) else { return };
        engine.docker(&["load", "--input", &file.display().to_string()]);
        let said = inspected(&engine, "image", "otelet:one");
        assert_eq!((&said["Os"], &said["Architecture"]), (&"linux".into(), &architecture.into()));
        assert_eq!(machine(&engine, "otelet:one", "/usr/local/bin/otelet"), wanted);
        println!(
            "linux/{architecture}: {} bytes as a file, {} in the engine",
            fs::metadata(file).unwrap().len(),
            said["Size"]
        );
    }
    let Some(()) = loaded(&engine, "otelet:two") else { return };
    println!("with the small Collector: {} bytes in the engine", inspected(&engine, "image", "otelet:two")["Size"]);

    let limit = 128 << 20;
    let run = |name: &str| {
        let memory = format!("--memory={limit}");
        let words = [
            &["run", "-d", "--name", name, "--network=none", &memory, "--volume=state:/var/lib/otelet"],
            &CONFINED[..],
        ];
        engine.docker(&[&words.concat()[..], &["--volume=/bin/busybox:/busybox:ro", "otelet:two"]].concat());
    };
    run("first");
    let before = healthy(&engine, "first");

    let pid = process(&engine, "first");
    let collector = u32::try_from(before["collector"]["pid"].as_u64().unwrap()).unwrap();
    assert_ne!(collector, 1, "the agent is that");
    let [collector] = children(pid)[..] else { panic!("one child: {:?}", children(pid)) };
    for pid in [pid, collector] {
        assert_eq!(fact(pid, "Uid"), "65532\t65532\t65532\t65532");
        assert_eq!(
            ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| fact(pid, set)),
            ["0000000000000000"; 5]
        );
        assert_eq!(fact(pid, "NoNewPrivs"), "1");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{root}");

    // The kernel enforces the limit.
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        ["", "memory"].contains(&controllers).then(|| (controllers.to_owned(), path.to_owned()))
    });
    let (controller, path) = group.unwrap();
    let folder = Path::new("/sys/fs/cgroup").join(&controller).join(path.trim_start_matches('/'));
    let number = |names: [&str; 2]| -> u64 {
        let text = names.iter().find_map(|name| fs::read_to_string(folder.join(name)).ok());
        text.unwrap_or_else(|| panic!("{}: none of {names:?}", folder.display())).trim().parse().unwrap()
    };
    assert_eq!(number(["memory.limit_in_bytes", "memory.max"]), limit);
    let most = number(["memory.max_usage_in_bytes", "memory.peak"]);
    println!("the container was charged with {most} bytes at the most, of {limit}");
    // A process that wants more memory is killed, and no other one.
    let greedy = engine.command(&["exec", "first", "/busybox", "tail", "/dev/zero"]).status().unwrap();
    assert_eq!(greedy.code(), Some(137));
    assert!(number(["memory.max_usage_in_bytes", "memory.peak"]) <= limit);
    assert_eq!((process(&engine, "first"), &children(pid)[..]), (pid, &[collector][..]));
    healthy(&engine, "first");

    // A process whose parent has ended becomes a child of PID 1, which has not started it.
    let orphan = "/busybox sleep 0.1 & /busybox sleep 0.1 & /busybox sleep 1000 &";
    engine.docker(&["exec", "first", "/busybox", "sh", "-c", orphan]);
    let adopted = || children(pid).into_iter().filter(|child| *child != collector).collect::<Vec<_>>();
    wait_for_longer(
        LONG,
        "the orphans to be reaped",
        || (adopted().len() == 1).then_some(()),
        || format!("{:?}", adopted()),
    );
    assert_ne!(state(adopted()[0]), Some('Z'));
    signal(adopted()[0], Signal::KILL);
    wait_for_longer(
        LONG,
        "the last one to be reaped",
        || adopted().is_empty().then_some(()),
        || format!("{:?}", adopted()),
    );

    engine.docker(&["stop", "--time=60", "first"]);
    assert_eq!(inspected(&engine, "container", "first")["State"]["ExitCode"], 0);
    let log = logs(&engine, "first");
    assert!(log.contains("collector stopped: ") && log.contains("otelet stopped"), "{log}");
    engine.docker(&["rm", "first"]);

    // Another container on the same volume is the same agent.
    run("second");
    let after = healthy(&engine, "second");
    assert_eq!(after["agent"]["instance_uid"], before["agent"]["instance_uid"]);
    assert_eq!(after["config"]["last_good_hash"], before["config"]["last_good_hash"]);
    assert!(!logs(&engine, "second").contains("offered; validating"), "it goes on and does not begin anew");
}

/// A client that builds with BuildKit; the machine may have several clients.
fn builder() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut clients = std::env::split_paths(&path).map(|dir| dir.join("docker")).filter(|client| client.is_file());
    clients.find(|client| {
        let help = Command::new(client).env("DOCKER_BUILDKIT", "1").args(["build", "--help"]).output();
        help.is_ok_and(|help| stdout(&help).contains("--secret"))
    })
}

/// Makes an image of a directory for a platform, which `docker import` would take for this machine's.
fn import(engine: &Engine, root: &Path, name: &str, architecture: &str) {
    let folder = engine.dir.join("import");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let pack = |from: &Path, to: &Path| {
        let packed = Command::new("tar").arg("-C").arg(from).arg("-cf").arg(to).arg(".").status();
        assert!(packed.unwrap().success());
    };
    pack(root, &folder.join("layer.tar"));
    let sum = super::host::hash(fs::read(folder.join("layer.tar")).unwrap());
    let description = serde_json::json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{sum}")]},
    });
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    fs::write(folder.join("config.json"), description.to_string()).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = engine.dir.join("import.tar");
    pack(&folder, &archive);
    engine.docker(&["load", "--input", &archive.display().to_string()]);
}

/// Stands in for Rust on Alpine: a busybox, and programs that only copy the binary that was built before.
fn stand_in(dir: &Path, target: &str, binary: &Path) {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    for folder in ["bin", "prebuilt", "etc/ssl/certs", "tmp"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    fs::copy(busybox, dir.join("bin/busybox")).unwrap();
    for name in ["sh", "cp", "mkdir", "chmod", "od", "ls", "cat", "echo"] {
        let _ = std::os::unix::fs::symlink("busybox", dir.join("bin").join(name));
    }
    fs::copy(binary, dir.join("prebuilt").join(target)).unwrap();
    fs::write(dir.join("etc/ssl/certs/ca-certificates.crt"), "stand-in\n").unwrap();
    let script = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("apk", "[ \"$1\" = add ]\n");
    script(
        "cargo",
        "while [ $# -gt 0 ]; do [ \"$1\" = --target ] && target=$2; shift; done\n\
         [ -f /src/Cargo.toml ] && [ -f /src/src/main.rs ] && [ ! -e /src/.git ] || exit 1\n\
         mkdir -p /src/target/$target/release && cp /prebuilt/$target /src/target/$target/release/otelet\n",
    );
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn the_dockerfile_makes_the_same_image_for_each_platform() {
    let host = Host::new();
    let Some(engine) = Engine::with(&host, Network::Own) else { return };
    let Some(builder) = builder() else { return println!("skipped: no docker here builds with BuildKit") };
    println!(
        "skipped: Alpine's own packages and its Rust were not exercised: stand-ins have the names of the base images"
    );
    let build = |tag: &str, architecture: &str, more: &[&str]| {
        let mut command = Command::new(&builder);
        command
            .env("DOCKER_HOST", format!("unix://{}", engine.socket().display()))
            .env("DOCKER_BUILDKIT", "1")
            .args(["build", "--progress=plain", "--network=none", "--file=Dockerfile.alpine", "--tag", tag])
            .arg(format!("--platform=linux/{architecture}"))
            .args(more)
            .arg(".")
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        command.output().unwrap()
    };
    for (target, architecture, wanted) in TARGETS {
        let Some(file) = made(target, "otelet:made", None) else { return };
        engine.docker(&["load", "--input", &file.display().to_string()]);
        let binary = engine.dir.join("otelet");
        let container = engine.docker(&["create", "otelet:made"]);
        engine.docker(&["cp", &format!("{container}:/usr/local/bin/otelet"), &binary.display().to_string()]);
        let alpine = engine.dir.join(architecture);
        stand_in(&alpine, target, &binary);
        import(&engine, &alpine, "rust:1.95-alpine3.22", architecture);

        let built = build("otelet:built", architecture, &[]);
        assert!(built.status.success(), "{}", stderr(&built));
        let (built, made) = (inspected(&engine, "image", "otelet:built"), inspected(&engine, "image", "otelet:made"));
        assert_eq!(machine(&engine, "otelet:built", "/usr/local/bin/otelet"), wanted);
        assert_eq!((&built["Architecture"], &built["Os"]), (&architecture.into(), &"linux".into()));
        for key in ["User", "Entrypoint", "Volumes", "StopSignal", "Healthcheck", "Env"] {
            assert_eq!(built["Config"][key], made["Config"][key], "{key}");
        }
        for (name, value) in built["Config"]["Labels"].as_object().unwrap() {
            assert_eq!(made["Config"]["Labels"][name], *value, "{name}");
        }
        // The same files with the same owners and permissions, except the stand-in's CAs.
        assert_eq!(files(&engine, "otelet:built"), files(&engine, "otelet:made"));
        println!("linux/{architecture} by Dockerfile.alpine: {} bytes in the engine", built["Size"]);

        // The Collector of another image is added if it is for the same machine.
        let Some(collector) = collector(target) else { return };
        let others = engine.dir.join(format!("collector-{architecture}"));
        fs::create_dir_all(&others).unwrap();
        fs::copy(collector, others.join("otelcol-small")).unwrap();
        import(&engine, &others, "collector:1", architecture);
        let both = build("otelet:both", architecture, &["--build-arg=COLLECTOR_IMAGE=collector:1"]);
        assert!(both.status.success(), "{}", stderr(&both));
        assert_eq!(machine(&engine, "otelet:both", "/usr/local/bin/otelcol-small"), wanted);
        println!(
            "linux/{architecture} with the small Collector: {} bytes in the engine",
            inspected(&engine, "image", "otelet:both")["Size"]
        );
    }

    // The last build was for ARM64: an image that claims this platform but has a program for another machine is
    // refused.
    let other = engine.dir.join("collector-amd64");
    import(&engine, &other, "collector:1", "arm64");
    let refused = build("otelet:refused", "arm64", &["--build-arg=COLLECTOR_IMAGE=collector:1"]);
    assert!(!refused.status.success());
    assert!(
        stderr(&refused).contains("otelcol-small is for machine 62 of elf(5), and arm64 is 183"),
        "{}",
        stderr(&refused)
    );
    let empty = engine.dir.join("empty");
    fs::create_dir_all(empty.join("etc")).unwrap();
    import(&engine, &empty, "collector:1", "arm64");
    let refused = build("otelet:refused", "arm64", &["--build-arg=COLLECTOR_IMAGE=collector:1"]);
    assert!(stderr(&refused).contains("COLLECTOR_IMAGE=collector:1: has no /otelcol*"), "{}", stderr(&refused));
}

/// The files of an image: permissions, owner and path of each, without the ones that the engine adds.
fn files(engine: &Engine, image: &str) -> Vec<String> {
    let container = engine.docker(&["create", image]);
    let archive = engine.dir.join("export.tar").display().to_string();
    engine.docker(&["export", "--output", &archive, &container]);
    engine.docker(&["rm", &container]);
    let listed = Command::new("tar").args(["--numeric-owner", "-tvf", &archive]).output().unwrap();
    let engines = ["dev", "proc", "sys", ".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"];
    let mut files: Vec<String> = stdout(&listed)
        .lines()
        .filter_map(|line| {
            // drwxr-xr-x 0/0               0 2026-11-25 18:00 etc/
            let words: Vec<&str> = line.split_whitespace().collect();
            let path = words[5].trim_end_matches('/');
            let is_engines = engines.iter().any(|it| path == *it || path.starts_with(&format!("{it}/")));
            (!is_engines).then(|| format!("{} {} {path}", words[0], words[1]))
        })
        .collect();
    files.sort();
    files
}

/// The built-in config for a Docker host, changed so that a test sees its effects: it is quick, and sends to a sink
/// that reads JSON.
fn built_in() -> String {
    let text = include_str!("../../targets/docker/collector.yaml").to_owned();
    let changes = [
        ("  hostmetrics:\n    collection_interval: 60s\n", "  hostmetrics:\n    collection_interval: 250ms\n"),
        ("    collection_interval: 60s\n    # container.cpu", "    collection_interval: 500ms\n    # container.cpu"),
        ("  batch: {}", "  batch: {timeout: 100ms}"),
        ("  otlphttp:\n", "  otlphttp:\n    encoding: json\n    compression: none\n"),
        ("127.0.0.1}:4317", "127.0.0.1}:0"),
        ("127.0.0.1}:4318", "127.0.0.1}:0"),
    ];
    changes.into_iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from} stands once in it");
        text.replace(from, to)
    })
}

/// The data of a container that has arrived: names of metrics, lines of its log, and events.
#[derive(Debug, Default)]
struct ContainerData {
    metrics: Vec<String>,
    lines: Vec<(String, Value)>,
    events: Vec<String>,
}

fn attribute<'a>(attributes: &'a Value, name: &str) -> Option<&'a str> {
    attributes.as_array()?.iter().find(|it| it["key"] == name)?["value"]["stringValue"].as_str()
}

fn arrived(asked: &[Request], container: &str) -> ContainerData {
    let mut arrived = ContainerData::default();
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    for asked in asked {
        let Ok(body) = serde_json::from_slice::<Value>(&asked.body) else { continue };
        for resource in list(&body, "resourceMetrics") {
            if attribute(&resource["resource"]["attributes"], "container.name") == Some(container) {
                for scope in list(&resource, "scopeMetrics") {
                    let names = list(&scope, "metrics").into_iter().map(|it| it["name"].as_str().unwrap().to_owned());
                    arrived.metrics.extend(names);
                }
            }
        }
        for resource in list(&body, "resourceLogs") {
            let about = resource["resource"]["attributes"].clone();
            for scope in list(&resource, "scopeLogs") {
                for record in list(&scope, "logRecords") {
                    let event = record["eventName"].as_str().filter(|name| name.starts_with("docker.container."));
                    match event {
                        Some(name) if attribute(&record["attributes"], "container.name") == Some(container) => {
                            arrived.events.push(name.to_owned());
                        }
                        None if attribute(&about, "container.name") == Some(container) => {
                            let line = record["body"]["stringValue"].as_str().unwrap().to_owned();
                            arrived.lines.push((line, about.clone()));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    arrived
}

/// The times of the host metrics that have arrived, in nanoseconds.
fn host_metrics(asked: &[Request]) -> Vec<u64> {
    let mut times = Vec::new();
    for asked in asked.iter().filter(|asked| asked.path == "/v1/metrics") {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let metrics = body["resourceMetrics"].as_array().into_iter().flatten();
        let metrics = metrics.flat_map(|resource| resource["scopeMetrics"].as_array().into_iter().flatten());
        let metrics = metrics.flat_map(|scope| scope["metrics"].as_array().into_iter().flatten());
        for metric in metrics.filter(|metric| metric["name"] == "system.memory.usage") {
            times.push(metric["sum"]["dataPoints"][0]["timeUnixNano"].as_str().unwrap().parse().unwrap());
        }
    }
    times.sort_unstable();
    times
}

/// The longest pause between them that ended between two times. It may have begun before: a Collector that is killed at
/// once has sent nothing yet in that time.
fn longest_pause(times: &[u64], from: u64, to: u64) -> Duration {
    let ended = times.windows(2).filter(|pair| (from..=to).contains(&pair[1]));
    let pause = ended.map(|pair| pair[1] - pair[0]).max();
    Duration::from_nanos(pause.expect("host metrics in that time"))
}

fn now() -> u64 {
    u64::try_from(super::host::wall().as_nanos()).unwrap()
}

/// Runs the installer on this engine, and returns its output.
fn installs(engine: &Engine, words: &[&str]) -> String {
    let output = Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/targets/docker/install.sh"))
        .arg(format!("--socket={}", engine.socket().display()))
        .args(words)
        .env("DOCKER_HOST", format!("unix://{}", engine.socket().display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn container_data_arrives_under_their_names_and_an_engine_restart_interrupts_no_host_metrics() {
    let (host, sink) = (Host::new(), Server::new());
    let Some(mut engine) = Engine::with(&host, Network::OfTheTest) else { return };
    let Some(file) = made_with_collector("otelet:test") else { return };
    sink.answer(Answer::Status(200, vec![("Content-Type".into(), "application/json".into())], b"{}".to_vec()));
    host.server.offer(built_in());
    fs::write(host.path("env"), "OTELET_COLLECTOR_PROBATION=1s\nOTELET_EXPORT_EVERY=1s\n").unwrap();
    let endpoint = format!("--endpoint={}", sink.at("").trim_end_matches('/'));
    let (url, env) = (format!("--url={}", host.server.url()), format!("--env-file={}", host.path("env").display()));
    let load = format!("--load={}", file.display());
    let words = [&load, &endpoint, &url, &env].map(String::as_str);
    let said = installs(&engine, &words);
    assert!(said.contains("started otelet from otelet:test as 0:0") && said.contains("healthy"), "{said}");
    let uid = healthy(&engine, "otelet")["agent"]["instance_uid"].clone();
    let said = installs(&engine, &words);
    assert!(said.contains("replacing the container otelet; the volume otelet-state stays"), "{said}");
    let status = healthy(&engine, "otelet");
    assert_eq!(status["agent"]["instance_uid"], uid, "whoever replaces the container does not replace the agent");
    assert_eq!(fact(process(&engine, "otelet"), "CapEff"), "0000000000000000");

    let run = |name: &str, more: &[&str], script: &str| {
        let label = format!("--label=com.docker.compose.service={name}-service");
        let words = [&["run", "-d", "--name", name, "--network=none", &label], more].concat();
        engine.docker(&[&words[..], &[IMAGE, "/bin/sh", "-c", script]].concat());
    };
    run("steady", &[], "i=0; while true; do i=$((i+1)); echo line $i of steady; sleep 0.2; done");
    run("loaded", &["--label=team=pumps"], "echo begins; trap 'echo ends; exit 0' TERM; while true; do :; done");
    run("greedy", &["--memory=16m"], "echo hungry; sleep 4; tail /dev/zero");
    let wait = |what: &str, holds: &dyn Fn(&[Request]) -> bool| {
        let look = || holds(&sink.requests()).then_some(());
        let context = || {
            let asked = sink.requests();
            let all = ["steady", "loaded", "greedy"].map(|name| arrived(&asked, name));
            format!(
                "{:#?}\n{}",
                all.map(|mut it| {
                    it.metrics.sort();
                    it.metrics.dedup();
                    it.lines.truncate(5);
                    it
                }),
                logs(&engine, "otelet")
            )
        };
        wait_for_longer(LONG, what, look, context);
    };
    let has_metrics = |asked: &[Request], name: &str| {
        let metrics = arrived(asked, name).metrics;
        ["container.cpu.usage.total", "container.memory.usage.total"]
            .iter()
            .all(|wanted| metrics.iter().any(|it| it == wanted))
    };
    let has_line =
        |asked: &[Request], name: &str, text: &str| arrived(asked, name).lines.iter().any(|(line, _)| line == text);
    let has_event =
        |asked: &[Request], name: &str, event: &str| arrived(asked, name).events.iter().any(|it| it == event);
    wait("metrics of each", &|asked| ["steady", "loaded", "greedy"].iter().all(|name| has_metrics(asked, name)));
    wait("the first lines of each", &|asked| {
        has_line(asked, "steady", "line 1 of steady")
            && has_line(asked, "loaded", "begins")
            && has_line(asked, "greedy", "hungry")
    });
    engine.docker(&["stop", "--time=30", "loaded"]);
    engine.docker(&["start", "loaded"]);
    engine.docker(&["restart", "--time=30", "loaded"]);
    wait("what happened to each", &|asked| {
        let of_loaded = ["create", "start", "stop", "die", "restart"];
        of_loaded.iter().all(|event| has_event(asked, "loaded", &format!("docker.container.{event}")))
            && has_event(asked, "steady", "docker.container.start")
            && has_event(asked, "greedy", "docker.container.oom")
            && has_event(asked, "greedy", "docker.container.die")
    });
    wait("the last words of the one that was stopped", &|asked| has_line(asked, "loaded", "ends"));
    let (_, about) = arrived(&sink.requests(), "loaded").lines.swap_remove(0);
    for (name, value) in [
        ("container.image.name", IMAGE.split(':').next().unwrap()),
        ("container.label.com.docker.compose.service", "loaded-service"),
        ("container.label.team", "pumps"),
        ("os.type", "linux"),
    ] {
        assert_eq!(attribute(&about, name), Some(value), "{about}");
    }
    assert!(arrived(&sink.requests(), "otelet").lines.is_empty(), "nobody reads of his own reading");

    // The engine is restarted; agent and Collector outlive it here.
    let collector = children(process(&engine, "otelet"))[0];
    let agent = process(&engine, "otelet");
    let left = now();
    engine.stop();
    let so_far = sink.requests().len();
    sink.wait_for_requests(so_far + 8);
    engine.start();
    let again = sink.requests().len();
    let flows = || has_metrics(&sink.requests()[again..], "steady").then_some(());
    wait_for_longer(LONG, "metrics of containers from the same Collector", flows, || logs(&engine, "otelet"));
    let away = now();
    assert_eq!(children(agent), [collector], "one that is up stays up");
    engine.stop();
    // A Collector that has to start now does so without the engine.
    signal(collector, Signal::KILL);
    let look = || children(agent).into_iter().find(|child| *child != collector);
    let second = wait_for_longer(LONG, "another Collector", look, String::new);
    let killed = now();
    let look = || (host_metrics(&sink.requests()).last() > Some(&(killed + 1_000_000_000))).then_some(());
    wait_for_longer(LONG, "host metrics while the engine is away", look, String::new);
    let back = now();
    assert_eq!(children(agent), [second], "it starts once and not in vain");
    engine.start();
    wait_for_longer(
        LONG,
        "the Collector that reads the engine again",
        || children(agent).into_iter().find(|child| *child != second),
        String::new,
    );
    let again = sink.requests().len();
    wait_for_longer(
        LONG,
        "metrics of containers",
        || has_metrics(&sink.requests()[again..], "steady").then_some(()),
        || logs(&engine, "otelet"),
    );
    healthy(&engine, "otelet");
    let end = now();

    let times = host_metrics(&sink.requests());
    let [engine_away, restarted, engine_back] =
        [(left, away), (away, back), (back, end)].map(|(from, to)| longest_pause(&times, from, to));
    println!(
        "host metrics, taken each 250 ms, paused for {engine_away:?} while the engine was restarted, {restarted:?} while the Collector \
         was killed and started without it, {engine_back:?} while it was started with it again"
    );
    // The cost of a restart is measured here and not assumed: the unavoidable restart is the yardstick for the planned
    // ones.
    assert!(engine_away <= restarted, "an engine that is restarted costs no restart: {engine_away:?}, {restarted:?}");
    let log = logs(&engine, "otelet");
    assert_eq!(log.matches("collector exited: ").count(), 1, "the one that was killed: {log}");
    assert_eq!(log.matches("the Docker engine is back: ").count(), 1, "{log}");

    let said = installs(&engine, &["--uninstall"]);
    assert!(said.contains("removed the container otelet") && said.contains("kept the volume otelet-state"), "{said}");
    let said = installs(&engine, &["--uninstall", "--purge"]);
    assert!(said.contains("there is no container otelet") && said.contains("removed the volume"), "{said}");
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn compose_keeps_it_healthy_and_a_new_container_is_the_same_agent() {
    let compose = [("docker", &["compose"][..]), ("docker-compose", &[])].into_iter().find(|(program, words)| {
        Command::new(program).args(*words).arg("version").output().is_ok_and(|out| out.status.success())
    });
    let Some((program, words)) = compose else {
        return println!("skipped: there is no Compose (Debian: docker-compose)");
    };
    let host = Host::new();
    let Some(engine) = Engine::with(&host, Network::OfTheTest) else { return };
    let Some(()) = loaded(&engine, "otelet:test") else { return };
    let user = RefCell::new(String::from("0:0"));
    let up = |more: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .args([
                "--file",
                concat!(env!("CARGO_MANIFEST_DIR"), "/targets/docker/compose.yaml"),
                "--project-name=promise",
            ])
            .args(more)
            .env("DOCKER_HOST", format!("unix://{}", engine.socket().display()))
            .env("OTELET_IMAGE", "otelet:test")
            .env("OTELET_SOCKET", engine.socket())
            .env("OTELET_USER", &*user.borrow())
            // An address of loopback that is unlikely to be in use: this machine may run a Collector of its own.
            .env("OTLP_RECEIVER_HOST", format!("127.{}.{}.7", std::process::id() >> 8 & 255, std::process::id() & 255))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    };
    let name = || engine.docker(&["ps", "--quiet", "--filter", "label=com.docker.compose.project=promise"]);
    up(&["up", "--detach"]);
    let first = name();
    let before = healthy(&engine, &first);
    let well = || (inspected(&engine, "container", &first)["State"]["Health"]["Status"] == "healthy").then_some(());
    wait_for_longer(LONG, "the engine to find it healthy", well, || {
        inspected(&engine, "container", &first)["State"].to_string()
    });

    // No file can be written there, and none be fetched from a tmpfs.
    let archive =
        engine.command(&["exec", &first, "/usr/local/bin/otelet", "diagnose", "--output=-"]).output().unwrap();
    assert!(archive.status.success() && archive.stdout[257..].starts_with(b"ustar"), "{}", stderr(&archive));
    assert!(stderr(&archive).contains("  about.txt ("), "{}", stderr(&archive));

    up(&["up", "--detach", "--force-recreate"]);
    let second = name();
    assert_ne!(first, second);
    let after = healthy(&engine, &second);
    assert_eq!(after["agent"]["instance_uid"], before["agent"]["instance_uid"]);
    up(&["down", "--volumes"]);

    // As a user in the group of the socket it has everything but the logs of containers, and logs that once.
    *user.borrow_mut() = format!("65532:{}", fs::metadata(engine.socket()).unwrap().gid());
    up(&["up", "--detach"]);
    engine.docker(&["run", "-d", "--name", "web", "--network=none", IMAGE, "/bin/sleep", "1000"]);
    let third = name().lines().next().unwrap().to_owned();
    says(&engine, &third, "the containers of the engine", |status| {
        let containers = status["docker"]["containers"].as_array();
        let whole = status["collector"]["healthy"] == true && status["collector"]["without_engine"] == false;
        whole && containers.is_some_and(|containers| containers.iter().any(|it| it["name"] == "web"))
    });
    assert_eq!(fact(process(&engine, &third), "Uid"), "65532\t65532\t65532\t65532");
    let log = logs(&engine, &third);
    assert_eq!(log.matches("logs of containers like this one are not read").count(), 1, "{log}");
    assert_eq!(log.matches("-json.log: permission denied").count(), 0, "{log}");
    up(&["down", "--volumes"]);
}
