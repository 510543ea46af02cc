//! The agent watches a real Docker engine. Each test starts one, on directories and in a network namespace of its own,
//! and ends it. Its containers are made of a static busybox: nothing is pulled.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use otelet::observe::docker::Engine as EngineVersion;
use otelet::observe::docker::scan::{KnownContainers, LIMIT, Scan};
use otelet_core::telemetry::Point;
use otelet_core::units::parse_rfc3339;

use super::host::{Agent, Host, Signal, config, signal, state, stderr, stdout, wait_for, wait_until};

/// The longest that an engine takes to start or to end.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

/// Promised: the time between the engine's own time of an event and the agent's record of it.
const LOGGED_WITHIN: Duration = Duration::from_secs(2);

pub(super) const IMAGE: &str = "otelet-promise:1";

/// The network of an engine's containers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Network {
    /// A namespace of the engine's own.
    Own,
    /// The network of the test, with its servers. The engine adds nothing to it, and its containers outlive it.
    OfTheTest,
}

pub(super) struct Engine {
    pub(super) dir: PathBuf,
    daemon: Option<Child>,
    network: Network,
}

impl Engine {
    /// Starts an engine, or prints why none can be started here.
    fn new(host: &Host) -> Option<Self> {
        Self::with(host, Network::Own)
    }

    pub(super) fn with(host: &Host, network: Network) -> Option<Self> {
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let lacks =
            |program: &str| !Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
        let missing = match busybox {
            _ if !rustix::process::getuid().is_root() => "root is needed to start a Docker engine",
            None => "there is no busybox to make a container of (Debian: busybox-static)",
            Some(_) if lacks("dockerd") => "there is no dockerd (Debian: docker.io)",
            Some(_) if lacks("docker") => "there is no docker (Debian: docker.io, or docker-cli)",
            Some(_) if lacks("unshare") => "there is no unshare (Debian: util-linux)",
            Some(busybox) => {
                let mut engine = Self { dir: host.path("engine"), daemon: None, network };
                engine.start();
                engine.import(busybox);
                return Some(engine);
            }
        };
        println!("skipped: {missing}");
        None
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("d.sock")
    }

    /// Starts the daemon on the data of its predecessor.
    pub(super) fn start(&mut self) {
        fs::create_dir_all(&self.dir).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log")).unwrap();
        let path = |name: &str| self.dir.join(name).display().to_string();
        let mut daemon = match self.network {
            Network::Own => Command::new("unshare"),
            Network::OfTheTest => Command::new("dockerd"),
        };
        daemon.args(match self.network {
            Network::Own => &["--net", "dockerd"][..],
            Network::OfTheTest => &["--live-restore"],
        });
        let daemon = daemon
            .args(["--bridge=none", "--iptables=false", "--ip-masq=false", "--ip-forward=false"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .arg(format!("--host=unix://{}", self.socket().display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let limit = Instant::now() + ENGINE_PATIENCE;
        while !self.command(&["version"]).output().unwrap().status.success() {
            let ended = self.daemon.as_mut().is_some_and(|daemon| daemon.try_wait().unwrap().is_some());
            if ended || Instant::now() > limit {
                panic!("no engine: {}", fs::read_to_string(self.dir.join("log")).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the daemon, and waits for it.
    pub(super) fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        signal(daemon.id(), Signal::TERM);
        let limit = Instant::now() + ENGINE_PATIENCE;
        while daemon.try_wait().unwrap().is_none() {
            if Instant::now() > limit {
                daemon.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display())).args(words);
        command
    }

    /// Runs the engine's own client, whose exit status is that of the container.
    pub(super) fn docker(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(
            output.status.success() || words[0] == "run",
            "docker {words:?}: {}\n{}",
            stderr(&output),
            fs::read_to_string(self.dir.join("log")).unwrap_or_default()
        );
        stdout(&output).trim().to_owned()
    }

    fn import(&self, busybox: &str) {
        let root = self.dir.join("image");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for name in ["sh", "sleep", "tail", "true", "cat", "test"] {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let archive = self.dir.join("image.tar").display().to_string();
        let packed = Command::new("tar").args(["-C", &root.display().to_string(), "-cf", &archive, "."]).status();
        assert!(packed.unwrap().success());
        self.docker(&["import", &archive, IMAGE]);
    }

    /// The engine's own events of containers since this time: time, action and container.
    fn events(&self, since: SystemTime) -> Vec<(SystemTime, String, String)> {
        let seconds = |time: SystemTime| format!("{:.6}", time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64());
        let (since, until) = (seconds(since), seconds(SystemTime::now()));
        let format = "{{.TimeNano}} {{.Actor.Attributes.name}} {{.Action}}";
        let said = self.docker(&[
            "events",
            "--since",
            &since,
            "--until",
            &until,
            "--filter",
            "type=container",
            "--format",
            format,
        ]);
        let actions = [
            "create",
            "start",
            "stop",
            "die",
            "restart",
            "oom",
            "health_status",
            "pause",
            "unpause",
            "destroy",
            "kill",
            "rename",
        ];
        said.lines()
            .map(|line| {
                let mut words = line.splitn(3, ' ');
                let nanoseconds: u64 = words.next().unwrap().parse().unwrap();
                let name = words.next().unwrap().to_owned();
                let action = words.next().unwrap().split(':').next().unwrap().to_owned();
                (UNIX_EPOCH + Duration::from_nanos(nanoseconds), action, name)
            })
            .filter(|(_, action, _)| actions.contains(&action.as_str()))
            .collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.daemon.is_none() {
            // Its containers have outlived it.
            self.start();
        }
        let containers = self.command(&["ps", "-aq"]).output().map(|output| stdout(&output)).unwrap_or_default();
        for container in containers.lines() {
            let _ = self.command(&["rm", "-f", container]).output();
        }
        self.stop();
    }
}

/// An agent that watches the engine.
fn watching(host: &Host, engine: &Engine) -> Agent {
    host.set("docker.socket", &engine.socket().display().to_string());
    host.set("log_level", "debug");
    let agent = host.agent_running(&config("good"));
    agent.logs("is watched");
    agent
}

/// The events that the agent has logged: time, action and container.
fn logged_events(agent: &Agent) -> Vec<(SystemTime, String, String)> {
    agent
        .log()
        .lines()
        .filter_map(|line| {
            let (head, body) = line.split_once(" DEBUG docker.container.")?;
            let (action, body) = body.split_once(": container ")?;
            let name = body.split(' ').next()?;
            Some((parse_rfc3339(head)?, action.to_owned(), name.to_owned()))
        })
        .collect()
}

fn names(events: &[(SystemTime, String, String)]) -> Vec<(&str, &str)> {
    events.iter().map(|(_, action, name)| (action.as_str(), name.as_str())).collect()
}

/// Waits until the agent has logged all events of the engine, in the same order.
fn all_logged(agent: &Agent, engine: &Engine, since: SystemTime) -> Vec<(SystemTime, String, String)> {
    let said = engine.events(since);
    let look = || (logged_events(agent).len() >= said.len()).then_some(());
    wait_for("every event", look, || {
        format!("engine: {:#?}\nagent: {:#?}", names(&said), names(&logged_events(agent)))
    });
    assert_eq!(names(&logged_events(agent)), names(&said), "each once, in the engine's order");
    said
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn events_of_real_containers_are_logged_within_two_seconds() {
    let host = Host::new();
    let Some(engine) = Engine::new(&host) else { return };
    let agent = watching(&host, &engine);
    let since = SystemTime::now() - Duration::from_secs(1);
    let run = |name: &str, more: &[&str], command: &str| {
        let words = [&["run", "--name", name, "--network", "none"], more, &[IMAGE, "/bin/sh", "-c", command]].concat();
        engine.docker(&words)
    };

    run(
        "web",
        &["-d", "--label", "com.docker.compose.service=front"],
        "trap 'exit 0' TERM; while true; do sleep 0.1; done",
    );
    engine.docker(&["restart", "web"]);
    engine.docker(&["pause", "web"]);
    engine.docker(&["unpause", "web"]);
    engine.docker(&["stop", "web"]);
    run("fails", &[], "exit 3");
    run("greedy", &["--memory", "16m"], "tail /dev/zero");
    let health =
        ["--health-cmd", "test -e /sick && exit 1 || exit 0", "--health-interval", "1s", "--health-retries", "1"];
    run("moody", &[&["-d"], &health[..]].concat(), "sleep 1000");
    agent.logs("container moody of otelet-promise:1 is healthy");
    let status = agent.wait_status("its health", |status| {
        status.docker.iter().flat_map(|docker| &docker.containers).any(|it| it.health.as_deref() == Some("healthy"))
    });
    assert_eq!(status.docker.unwrap().containers[0].name, "moody", "the others have ended");
    engine.docker(&["exec", "moody", "sh", "-c", "true > /sick"]);
    agent.logs("container moody of otelet-promise:1 is unhealthy");
    engine.docker(&["rm", "-f", "moody"]);

    let said = all_logged(&agent, &engine, since);

    let has = |action: &str, name: &str| names(&said).contains(&(action, name));
    assert!(has("start", "web") && has("restart", "web") && has("stop", "web") && has("die", "fails"), "{said:#?}");
    assert!(has("oom", "greedy"), "the engine saw no OOM: {said:#?}");
    assert!(agent.log().contains("container fails of otelet-promise:1 ended with code 3"));
    assert!(agent.log().contains("container greedy of otelet-promise:1 ended with code 137"));
    for ((happened, action, name), (at, ..)) in said.iter().zip(logged_events(&agent)) {
        // The log has whole seconds.
        assert!(at <= *happened + LOGGED_WITHIN, "{action} of {name} at {happened:?} was logged at {at:?}");
    }
    println!("{} events of {} kinds logged", said.len(), {
        let mut kinds: Vec<_> = said.iter().map(|(_, action, _)| action).collect();
        kinds.sort();
        kinds.dedup();
        kinds.len()
    });
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn a_restart_of_a_real_engine_loses_no_event_that_it_still_knows() {
    let host = Host::new();
    let Some(mut engine) = Engine::new(&host) else { return };
    let agent = watching(&host, &engine);
    engine.docker(&["run", "--name", "before", "--network", "none", IMAGE, "/bin/true"]);
    wait_until("its end", || agent.logged("docker.container.die: container before") == 1);
    let before = logged_events(&agent).len();

    // The agent is suspended, so it cannot come back before all of this has happened.
    signal(agent.pid(), Signal::STOP);
    wait_until("the agent to be stopped", || state(agent.pid()) == Some('T'));
    engine.stop();
    let restarted = SystemTime::now();
    engine.start();
    engine.docker(&["run", "--name", "between", "--network", "none", IMAGE, "/bin/sh", "-c", "exit 7"]);
    engine.docker(&["rm", "between"]);
    signal(agent.pid(), Signal::CONT);
    agent.logs("container between of otelet-promise:1 was removed");
    engine.docker(&["run", "--name", "after", "--network", "none", IMAGE, "/bin/true"]);
    wait_until("its end", || agent.logged("docker.container.die: container after") == 1);

    let said = engine.events(restarted);
    assert_eq!(names(&logged_events(&agent)[before..]), names(&said), "each once, in the engine's order");
    assert!(agent.log().contains("container between of otelet-promise:1 ended with code 7"));

    // An agent that was stopped itself catches up on the events that it has missed.
    let mut agent = agent;
    agent.stop();
    engine.docker(&["rm", "after"]);
    let agent = host.agent().start();
    agent.logs("container after of otelet-promise:1 was removed");
    assert_eq!(names(&logged_events(&agent)), [("destroy", "after")]);
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn a_real_end_says_who_asked_for_it_and_a_real_start_whose_it_is() {
    let host = Host::new();
    let Some(engine) = Engine::new(&host) else { return };
    let agent = watching(&host, &engine);
    let run = |name: &str, more: &[&str], command: &str| {
        let words = ["run", "-d", "--name", name, "--network", "none"];
        engine.docker(&[&words, more, &[IMAGE, "/bin/sh", "-c", command]].concat())
    };

    run("stubborn", &[], "trap '' TERM; while true; do sleep 0.1; done");
    engine.docker(&["stop", "-t", "1", "stubborn"]);
    agent.logs("container stubborn of otelet-promise:1 ended with code 137 after the engine sent it signal 9");
    // The engine tells the count of the newest start alone, so each one lasts a while.
    run("fails", &["--restart", "on-failure:2"], "sleep 2; exit 3");
    agent.logs("container fails of otelet-promise:1 started: restart 1 by the engine, as its restart policy says");
    agent.logs("container fails of otelet-promise:1 started: restart 2 by the engine, as its restart policy says");
    assert_eq!(agent.logged("container fails of otelet-promise:1 ended with code 3 after"), 0);
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn containers_that_end_with_a_real_engine_and_its_agent_are_told() {
    let host = Host::new();
    let Some(mut engine) = Engine::new(&host) else { return };
    let mut agent = watching(&host, &engine);
    for (name, more) in [("web", &[][..]), ("steady", &["--restart", "always"]), ("gone", &["--rm"])] {
        let words = ["run", "-d", "--name", name, "--network", "none"];
        let command = "trap 'exit 7' TERM; while true; do sleep 0.1; done";
        engine.docker(&[&words, more, &[IMAGE, "/bin/sh", "-c", command]].concat());
    }
    agent.wait_status("three containers", |status| status.docker.as_ref().is_some_and(|it| it.containers.len() == 3));

    // As an agent in a container of this engine: it ends before its neighbours do.
    agent.stop();
    engine.stop();
    engine.start();
    let agent = host.agent().start();

    agent.logs("container web of otelet-promise:1 ended with code 7 while the engine could not be heard");
    agent.logs("container steady of otelet-promise:1 ended while the engine could not be heard, and runs again");
    agent.logs("container gone of otelet-promise:1 ended and was removed while the engine could not be heard");
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn a_real_engine_is_asked_for_many_containers_at_a_time() {
    /// One after the other, 20 s are enough for about 16.
    const NUMBER: usize = 24;
    let host = Host::new();
    let Some(engine) = Engine::new(&host) else { return };
    for number in 0..NUMBER {
        engine.docker(&["run", "-d", "--name", &format!("web{number}"), "--network", "none", IMAGE, "sleep", "1000"]);
    }
    let (socket, started, known) = (engine.socket(), Default::default(), KnownContainers::new());
    let version = EngineVersion::read(br#"{"Version":"1","ApiVersion":"1.41"}"#).unwrap();
    let (_, measuring) =
        Scan { socket, engine: version, known, links: None, started, before: Vec::new() }.list().unwrap();

    let begun = Instant::now();
    let measured = measuring.run("", LIMIT, &mut |part| panic!("24 containers are one part: {part:?}"));

    println!("{NUMBER} containers measured in {:?}", begun.elapsed());
    assert_eq!(measured.marks.len(), NUMBER, "{:?}", measured.end);
}

#[test]
#[ignore = "needs a Docker engine: cargo xtask check --real"]
fn the_usage_of_a_real_container_is_the_kernels() {
    let host = Host::new();
    let Some(engine) = Engine::new(&host) else { return };
    let burn = "i=0; while test $i -lt 20000; do i=$((i+1)); done; cat > /dev/null & sleep 1000";
    let id = engine.docker(&[
        "run",
        "-d",
        "--name",
        "busy",
        "--network",
        "none",
        "--memory",
        "64m",
        IMAGE,
        "/bin/sh",
        "-c",
        burn,
    ]);
    let pid: u32 = engine.docker(&["inspect", "--format", "{{.State.Pid}}", "busy"]).parse().unwrap();
    let kernel = Kernel::of(pid);
    let version = br#"{"Version":"1","ApiVersion":"1.41","MinAPIVersion":"1.24"}"#;
    let look = |known: KnownContainers| {
        let engine_known = EngineVersion::read(version).unwrap();
        let (socket, started) = (engine.socket(), Default::default());
        let scan = Scan { socket, engine: engine_known, known, links: None, started, before: Vec::new() };
        let (mut listed, measuring) = scan.list().unwrap();
        let measured = measuring.run("", LIMIT, &mut |part| panic!("one container in two parts: {part:?}"));
        listed.known.extend(measured.marks.iter().cloned());
        assert_eq!(measured.end.unwrap().trouble, None);
        (listed, measured.points)
    };

    let (cpu_before, memory_before) = (kernel.cpu(), kernel.memory());
    let (first, points) = look(KnownContainers::new());
    let (cpu_after, memory_after) = (kernel.cpu(), kernel.memory());

    assert_eq!((first.trouble, first.left_out, first.containers.len()), (None, 0, 1));
    let value = |points: &[Point], name: &str| {
        let found = points.iter().find(|point| point.metric.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {points:#?}")).value.as_f64()
    };
    let cpu = value(&points, "container.cpu.time");
    println!("CPU time {cpu} s, the kernel says {cpu_before} to {cpu_after}");
    assert!((cpu_before..=cpu_after).contains(&cpu), "{cpu_before} <= {cpu} <= {cpu_after}");
    let memory = value(&points, "container.memory.usage");
    println!("memory {memory} B, the kernel says {memory_before} to {memory_after}");
    let slack = 256.0 * 1024.0;
    let (least, most) = (memory_before.min(memory_after) - slack, memory_before.max(memory_after) + slack);
    assert!((least..=most).contains(&memory), "{least} <= {memory} <= {most}");
    let utilization = value(&points, "container.memory.utilization");
    let working_set = value(&points, "container.memory.working_set");
    assert!((utilization - working_set / (64.0 * 1024.0 * 1024.0)).abs() < 1e-9, "of its limit");
    let uptime = value(&points, "container.uptime");
    assert!((0.0..3600.0).contains(&uptime), "{uptime}");
    let ids = points.iter().all(|point| point.attributes[0] == ("container.id".into(), id.clone().into()));
    assert!(ids, "each point says of which container it is");

    let (_, points) = look(first.known);
    let usage = value(&points, "container.cpu.usage");
    println!("{usage} CPUs used");
    assert!((0.0..=64.0).contains(&usage), "{usage}");
}

/// The kernel's counts for a container.
struct Kernel {
    /// A file with a sum of CPU time, and the name before the number if the file has several.
    cpu: PathBuf,
    memory: PathBuf,
}

impl Kernel {
    fn of(pid: u32) -> Self {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let group = |controller: &str| {
            groups.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let controllers = parts.next()?;
                controllers.split(',').any(|it| it == controller).then(|| parts.next())?.map(str::to_owned)
            })
        };
        let root = Path::new("/sys/fs/cgroup");
        let below = |parent: &str, group: &str| root.join(parent).join(group.trim_start_matches('/'));
        match (group("cpuacct"), group("memory")) {
            (Some(cpu), Some(memory)) => Self {
                cpu: below("cpuacct", &cpu).join("cpuacct.usage"),
                memory: below("memory", &memory).join("memory.usage_in_bytes"),
            },
            _ => {
                let group = below("", &group("").expect("cgroup v2"));
                Self { cpu: group.join("cpu.stat"), memory: group.join("memory.current") }
            }
        }
    }

    /// CPU time so far, in seconds.
    fn cpu(&self) -> f64 {
        let text = fs::read_to_string(&self.cpu).unwrap();
        match text.lines().find_map(|line| line.strip_prefix("usage_usec ")) {
            Some(microseconds) => microseconds.trim().parse::<f64>().unwrap() / 1e6,
            None => text.trim().parse::<f64>().unwrap() / 1e9,
        }
    }

    /// Memory in use, in bytes.
    fn memory(&self) -> f64 {
        fs::read_to_string(&self.memory).unwrap().trim().parse().unwrap()
    }
}
