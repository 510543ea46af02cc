//! An idle agent needs two threads, ten descriptors and a handful of wake-ups a minute, and it does not grow; with
//! everything on that it can watch and report, it needs one descriptor more.
//!
//! Wake-ups are the kernel's own count of voluntary context switches, of all threads that live throughout.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::engine::{Engine, EngineAnswer, listed};
use super::host::{Agent, Host, config, is_a_release, wait_for, wait_for_longer};
use super::server::{Answer, Server};

/// The numbers of an idle agent are promised in the README.
const THREADS: usize = 2;
const THREADS_WHILE_ASKING: usize = 3;
const DESCRIPTORS: usize = 10;
/// The stream of a Docker engine's events is the only additional descriptor that stays open.
const DESCRIPTORS_WITH_EVERYTHING: usize = DESCRIPTORS + 1;
const WAKE_UPS_A_MINUTE: u64 = 15;
const GROWTH_KIB: u64 = 256;
/// Promised of a release with everything on: 3.5 MiB, of which 0.7 are its own.
const RESIDENT_KIB: u64 = 3584;
const PRIVATE_DIRTY_KIB: u64 = 716;
/// A minute with too many wake-ups is measured again, this often at the most. With everything on, the number depends on
/// how the times of checks, polls and looks coincide, each of which has a random part. Where processors are short, a
/// thread that meets another one waits for it, and each such wait is counted as well.
const MINUTES: usize = 3;

#[test]
fn it_has_two_threads_and_ten_descriptors_when_idle() {
    let host = Host::new();
    host.set("config.poll_every", "1h");
    let agent = host.agent_running(&config("good"));

    assert_eq!(settled(&agent), THREADS);
    few_descriptors(&agent);
}

#[test]
fn a_watched_file_costs_one_more_descriptor_and_stays_within_them() {
    let host = Host::new();
    let path = host.path("config.yaml");
    fs::write(&path, config("good")).unwrap();
    host.set("config.url", &path.display().to_string());
    let agent = host.agent().start();
    agent.applied(&config("good"));

    assert_eq!(settled(&agent), THREADS);
    let open = few_descriptors(&agent);
    assert!(open.iter().any(|target| target.contains("inotify")), "{open:#?}");
}

#[test]
fn an_exchange_that_hangs_is_one_thread_more_and_no_second_one() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    host.server.answer(super::server::Answer::Stall);
    let asked = host.server.requests().len();
    host.server.wait_for_requests(asked + 1);

    // Each of these would poll at once.
    for _ in 0..20 {
        agent.signal(super::host::Signal::HUP);
        agent.logs("settings read again");
    }

    // A write of the state may just be ending.
    let few = || (threads(&agent) <= THREADS_WHILE_ASKING).then_some(());
    wait_for("three threads", few, || format!("{} threads", threads(&agent)));
    assert_eq!(host.server.requests().len(), asked + 1, "it is still the same exchange");
}

#[test]
fn it_sleeps_while_nothing_happens() {
    let host = Host::new();
    host.set("config.poll_every", "30s");
    let agent = host.agent_running(&config("good"));
    settled(&agent);

    let (wake_ups, time) = count_wake_ups(&agent, Duration::from_secs(10));

    // A sixth of a minute holds one tick at the most, and perhaps a poll.
    let limit = WAKE_UPS_A_MINUTE * 2 / 3;
    println!("{wake_ups} wake-ups in {time:?}");
    assert!(wake_ups <= limit, "{wake_ups} wake-ups in {time:?}, promised are {limit}");
}

#[test]
fn nothing_is_written_while_nothing_changes() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    settled(&agent);
    let before = files(&host);

    host.more_polls(20);

    assert_eq!(files(&host), before);
}

#[test]
fn it_does_not_grow_over_a_thousand_polls() {
    let host = Host::new();
    host.set("config.poll_every", "10ms");
    let agent = host.agent_running(&config("good"));
    host.more_polls(200);
    settled(&agent);
    let (memory, open) = (anonymous_kib(&agent), descriptors(&agent).len());

    for _ in 0..10 {
        host.more_polls(100);
    }

    settled(&agent);
    let now = anonymous_kib(&agent);
    println!("anonymous memory {memory} KiB, {now} KiB after 1,000 more polls");
    assert!(now <= memory + GROWTH_KIB, "{memory} KiB before, {now} KiB after");
    assert!(descriptors(&agent).len() <= open + 1, "a poll that is out has a socket: {:#?}", descriptors(&agent));
}

#[test]
#[ignore = "takes a minute and wants a release build: cargo xtask check --real"]
fn a_minute_has_fifteen_wake_ups_at_the_most() {
    let host = Host::new();
    host.set("config.poll_every", "30s");
    let agent = host.agent_running(&config("good"));
    settled(&agent);

    a_quiet_minute(&agent);
}

#[test]
fn exports_leave_no_thread_and_no_descriptor_behind() {
    let (host, sink) = (Host::new(), super::server::Server::new());
    host.set("config.poll_every", "1h");
    host.set("export.to", sink.at("").trim_end_matches('/'));
    host.set("export.every", "100ms");
    host.set("host.sample_every", "100ms");
    sink.answer(super::server::Answer::status(200));
    let agent = host.agent_running(&config("good"));
    sink.wait_for_requests(20);
    settled(&agent);
    let memory = anonymous_kib(&agent);

    sink.wait_for_requests(120);

    assert_eq!(settled(&agent), THREADS);
    few_descriptors(&agent);
    let now = anonymous_kib(&agent);
    println!("anonymous memory {memory} KiB, {now} KiB after 100 more exports");
    assert!(now <= memory + GROWTH_KIB, "{memory} KiB before, {now} KiB after");
}

#[test]
#[ignore = "takes a minute and wants a release build: cargo xtask check --real"]
fn a_minute_with_exports_has_fifteen_wake_ups_at_the_most() {
    let (host, sink) = (Host::new(), super::server::Server::new());
    host.set("config.poll_every", "30s");
    host.set("export.to", sink.at("").trim_end_matches('/'));
    sink.answer(super::server::Answer::status(200));
    let agent = host.agent_running(&config("good"));
    // The events of the start are exported a second later.
    sink.wait_for_requests(2);
    settled(&agent);

    a_quiet_minute(&agent);
}

/// A host on which everything is on that watches and reports, with the servers for it.
struct Everything {
    /// Before the host, whose directory has its socket.
    engine: Engine,
    host: Host,
    /// The server that receives exports, reports and alerts.
    sink: Server,
    /// The server that the checks ask.
    web: Server,
}

impl Everything {
    fn new() -> Self {
        let (host, sink, web) = (Host::new(), Server::new(), Server::new());
        sink.answer(Answer::status(200));
        web.offer("all is well");
        let engine = Engine::new(&host);
        let containers = ["front", "back"];
        let list = containers.map(|name| listed(name, "Up 5 minutes")).join(",");
        engine.answers("/containers/json", EngineAnswer::Body(format!("[{list}]")));
        for name in containers {
            let at = format!("/containers/{name}0123456789abcdef");
            engine.answers(
                &format!("{at}/json"),
                EngineAnswer::Body(r#"{"State":{"StartedAt":"2026-11-25T15:58:18Z"}}"#.into()),
            );
            let stats = r#"{"read":"2026-11-25T15:58:28.5Z","cpu_stats":{"cpu_usage":{"total_usage":1500000000}},
                "memory_stats":{"usage":1000,"limit":2000},"networks":{"eth0":{"rx_bytes":11,"tx_bytes":22}}}"#;
            engine.answers(&format!("{at}/stats"), EngineAnswer::Body(stats.into()));
        }
        host.set("docker.socket", &host.path("docker.sock").display().to_string());
        host.set("export.to", sink.at("").trim_end_matches('/'));
        host.set("report.url", &sink.at("/report"));
        host.set("webhook.url", &sink.at("/api/v2/alerts"));
        // This alert fires all the time.
        host.set("alerts", "[{name: used, metric: system.memory.usage, above: 1}]");
        Self { engine, host, sink, web }
    }

    /// Two checks of each kind that waits, done this often.
    fn checks(&self, every: &str) {
        let address = self.web.at("").trim_start_matches("http://").trim_end_matches('/').to_owned();
        let http = format!("\n  - http: '{}'\n    every: {every}", self.web.url());
        self.host.set("checks", &format!("{http}\n  - tcp: '{address}'\n    every: {every}\n"));
    }

    /// The number of requests for this path.
    fn requests_for(&self, path: &str) -> usize {
        self.sink.requests().iter().filter(|asked| asked.path == path).count()
    }

    /// Waits until everything has been done this often.
    fn did(&self, exports: usize, looks: usize) {
        let so_far =
            || (self.requests_for("/v1/metrics"), self.engine.times_asked("/containers/front0123456789abcdef/stats"));
        let done = || (so_far().0 >= exports && so_far().1 >= looks).then_some(());
        let others_were_sent = || {
            self.requests_for("/report") > 0
                && self.requests_for("/api/v2/alerts") > 0
                && !self.web.requests().is_empty()
        };
        let done = || done().filter(|()| others_were_sent());
        wait_for_longer(Duration::from_secs(120), "everything", done, || format!("exports and looks {:?}", so_far()));
    }
}

#[test]
fn with_everything_on_it_has_two_threads_and_eleven_descriptors_and_does_not_grow() {
    let all = Everything::new();
    for setting in ["export.every", "host.sample_every"] {
        all.host.set(setting, "100ms");
    }
    for setting in ["report.every", "webhook.every", "docker.usage_every"] {
        all.host.set(setting, "1s");
    }
    all.checks("1s");
    let path = all.host.path("config.yaml");
    fs::write(&path, config("good")).unwrap();
    all.host.set("config.url", &path.display().to_string());
    let agent = all.host.agent().start();
    agent.applied(&config("good"));
    // By then the buffers, the status and the threads have reached their full size.
    all.did(200, 5);
    settled(&agent);
    let memory = anonymous_kib(&agent);

    // An export carries one sample or more.
    all.did(500, 15);

    assert_eq!(settled(&agent), THREADS);
    let open = few(&agent, DESCRIPTORS_WITH_EVERYTHING);
    assert!(open.iter().any(|target| target.contains("inotify")), "{open:#?}");
    let now = anonymous_kib(&agent);
    println!("anonymous memory {memory} KiB, {now} KiB after 300 more exports; open: {open:#?}");
    assert!(now <= memory + GROWTH_KIB, "{memory} KiB before, {now} KiB after");
}

#[test]
#[ignore = "takes a minute and wants a release build: cargo xtask check --real"]
fn a_minute_with_everything_on_has_fifteen_wake_ups_at_the_most_and_little_memory() {
    let all = Everything::new();
    all.host.set("config.poll_every", "30s");
    all.checks("30s");
    let agent = all.host.agent_running(&config("good"));
    all.did(1, 2);
    settled(&agent);

    a_quiet_minute(&agent);

    settled(&agent);
    let (resident, dirty) = (resident_kib(&agent), private_dirty_kib(&agent));
    if !is_a_release() {
        println!("skipped: the memory promised is that of a release, which OTELET_BINARY names: this is another build");
        return;
    }
    assert!(resident <= RESIDENT_KIB, "{resident} KiB resident, promised are {RESIDENT_KIB}");
    assert!(dirty <= PRIVATE_DIRTY_KIB, "{dirty} KiB private and dirty, promised are {PRIVATE_DIRTY_KIB}");
}

/// Waits for a minute that has no more wake-ups than promised.
fn a_quiet_minute(agent: &Agent) {
    let mut counted = Vec::new();
    while counted.len() < MINUTES {
        let (wake_ups, time) = count_wake_ups(agent, Duration::from_secs(60));
        let (resident, dirty) = (resident_kib(agent), private_dirty_kib(agent));
        println!("{wake_ups} wake-ups in {time:?}, {resident} KiB resident, {dirty} KiB private and dirty");
        if wake_ups <= WAKE_UPS_A_MINUTE {
            return;
        }
        counted.push(wake_ups);
    }
    panic!("{counted:?} wake-ups in each minute, promised are {WAKE_UPS_A_MINUTE}");
}

/// Waits until the last events have been handled: no exchange is under way, no check runs. Returns the number of
/// threads.
fn settled(agent: &Agent) -> usize {
    wait_for("two threads", || (threads(agent) <= THREADS).then_some(()), || format!("{} threads", threads(agent)));
    threads(agent)
}

/// Waits until no more descriptors are open than promised: a probe or a write has one for a moment.
fn few_descriptors(agent: &Agent) -> Vec<String> {
    few(agent, DESCRIPTORS)
}

fn few(agent: &Agent, most: usize) -> Vec<String> {
    let few = || Some(descriptors(agent)).filter(|open| open.len() <= most);
    wait_for(&format!("{most} descriptors"), few, || format!("{:#?}", descriptors(agent)))
}

/// Counts for this long. The time itself has to pass here.
pub(super) fn count_wake_ups(agent: &Agent, time: Duration) -> (u64, Duration) {
    let (began, before) = (Instant::now(), wake_ups(agent));
    wait_for_time(began + time);
    // A thread for one exchange is seen only if it runs just now, with the waits of that exchange.
    let since = |(thread, count): (String, u64)| Some(count - before.get(&thread)?);
    (wake_ups(agent).into_iter().filter_map(since).sum(), began.elapsed())
}

/// Waits for the clock, in pieces: the patience for a condition may be shorter than this.
fn wait_for_time(at: Instant) {
    while Instant::now() < at {
        let piece = at.min(Instant::now() + Duration::from_secs(10));
        wait_for("the time", || (Instant::now() >= piece).then_some(()), String::new);
    }
}

pub(super) fn threads(agent: &Agent) -> usize {
    fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().count()
}

/// The agent's open descriptors, without the ones that it inherited from the tester.
pub(super) fn descriptors(agent: &Agent) -> Vec<String> {
    let own = fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().flatten();
    let inherited: Vec<_> =
        fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    own.filter_map(|fd| {
        let target = fs::read_link(fd.path()).ok()?;
        let standard = fd.file_name().to_str().is_some_and(|name| name.len() == 1 && name < "3");
        (standard || !inherited.contains(&target)).then(|| format!("{} {}", fd.file_name().display(), target.display()))
    })
    .collect()
}

/// The wake-ups of each thread.
fn wake_ups(agent: &Agent) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().flatten();
    let count = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        Some((task.file_name().into_string().ok()?, field(&status, "voluntary_ctxt_switches:")?))
    };
    tasks.filter_map(count).collect()
}

pub(super) fn anonymous_kib(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    field(&status, "RssAnon:").expect("Linux 4.5 and later")
}

fn resident_kib(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    field(&status, "VmRSS:").expect("always there")
}

fn private_dirty_kib(agent: &Agent) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", agent.pid())).unwrap();
    field(&rollup, "Private_Dirty:").expect("Linux 4.14 and later")
}

fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// Every file of the agent with the time of its last change.
fn files(host: &Host) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let directories = [host.state_dir(), host.state_dir().join("configs"), host.runtime_dir()];
    let mut files: Vec<_> = directories
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap().flatten())
        .map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap()))
        .collect();
    files.sort();
    files
}
