//! The agent's measurements are true: the kernel, `df`, `free` and the Collector's own scraper report the same. A
//! sample is cheap, and a file system that hangs does not hang it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs};

use otelet::observe::host;
use otelet_core::telemetry::{Kind, Value};
use serde_json::Value as Json;

use super::host::{Agent, Host, PATIENCE, config, wait_for, wait_until};
use super::runs_a_real_collector::Setup;

/// The most that a sample of the host costs. Promised in docs/metrics.md.
const SYSTEM_CALLS: usize = 40;

/// Between two looks other programs take and free memory: up to this share of all of it, and this many bytes of a disk.
const MEMORY_TOLERANCE: f64 = 0.02;
const DISK_TOLERANCE: f64 = 64.0 * 1024.0 * 1024.0;

/// A series: its metric, and its attributes without those that identify the process.
type Name = (String, BTreeMap<String, String>);

#[derive(Debug, Clone, PartialEq)]
struct Series {
    unit: String,
    kind: Kind,
    value: f64,
    start: Option<u64>,
}

type Measured = BTreeMap<Name, Series>;

fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// One sample by the agent's own code, with this process as the agent and `process` as the collector.
fn sampled(host: &mut host::Host, process: Option<u32>) -> Measured {
    let taken = host.sample(process, Instant::now(), SystemTime::now(), true);
    let points = taken.snapshots.into_iter().flat_map(|snapshot| snapshot.points);
    let mut measured = Measured::new();
    for point in points {
        let text = |value: &Value| match value {
            Value::Text(text) | Value::List(text) => text.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Double(number) => number.to_string(),
        };
        let mut attributes: BTreeMap<String, String> =
            point.attributes.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let who = attributes.remove("otelet.process");
        if who.is_some_and(|who| who != "collector" || process.is_none()) {
            continue;
        }
        let value = Series {
            unit: point.metric.unit.into(),
            kind: point.metric.kind,
            value: point.value.as_f64(),
            start: point.start.map(nanos),
        };
        let twice = measured.insert((point.metric.name.into(), attributes), value);
        assert_eq!(twice, None, "{} twice", point.metric.name);
    }
    measured
}

/// The metrics of a delivery at the sink, and the times of its first and last point. Of processes, only this one.
fn delivered(body: &[u8], process: u32) -> (Measured, u64, u64) {
    let json: Json = serde_json::from_slice(body).unwrap();
    let (mut measured, mut first, mut last) = (Measured::new(), u64::MAX, 0);
    let list = |json: &Json, name: &str| json[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Json| match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let number = |value: &Json| text(value).parse::<f64>().unwrap();
    let attributes = |json: &Json| -> BTreeMap<String, String> {
        let pairs = list(json, "attributes");
        let value = |pair: &Json| text(pair["value"].as_object().unwrap().values().next().unwrap());
        pairs.iter().map(|pair| (text(&pair["key"]), value(pair))).collect()
    };
    for resource in list(&json, "resourceMetrics") {
        let pid = attributes(&resource["resource"]).get("process.pid").cloned();
        if pid.is_some_and(|pid| pid != process.to_string()) {
            continue;
        }
        for metric in list(&resource, "scopeMetrics").iter().flat_map(|scope| list(scope, "metrics")) {
            let (kind, data) = match (metric.get("sum"), metric.get("gauge")) {
                (Some(sum), _) if sum["isMonotonic"] == true => (Kind::Counter, sum),
                (Some(sum), _) => (Kind::UpDownCounter, sum),
                (None, gauge) => (Kind::Gauge, gauge.unwrap()),
            };
            for point in list(data, "dataPoints") {
                let at: u64 = text(&point["timeUnixNano"]).parse().unwrap();
                (first, last) = (at.min(first), at.max(last));
                let value = point.get("asInt").or(point.get("asDouble")).map_or(0.0, number);
                let start = point.get("startTimeUnixNano").map(|start| text(start).parse().unwrap());
                let value = Series { unit: text(&metric["unit"]), kind, value, start };
                measured.insert((text(&metric["name"]), attributes(&point)), value);
            }
        }
    }
    (measured, first, last)
}

/// Every scraper that measures the same, with the metrics that are off by default.
const SCRAPERS: &str = "cpu: {metrics: {system.cpu.utilization: {enabled: true}}}, \
    memory: {metrics: {system.memory.utilization: {enabled: true}}}, load: {}, disk: {}, \
    filesystem: {metrics: {system.filesystem.utilization: {enabled: true}}}, network: {}, \
    paging: {metrics: {system.paging.utilization: {enabled: true}}}, system: {}, \
    process: {mute_process_all_errors: true, metrics: {process.open_file_descriptors: {enabled: true}, \
    process.threads: {enabled: true}, process.uptime: {enabled: true}}}";

/// Metrics that only the agent has.
fn is_own(name: &str) -> bool {
    name.starts_with("otelet.")
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn the_collectors_scraper_reports_the_same() {
    let setup = Setup::new();
    let body = setup.config(SCRAPERS);
    let agent = setup.running(&body);
    let collector = agent.applied(&body).collector.pid.unwrap();
    let mut host = host::Host::new(Path::new("/"));
    sampled(&mut host, Some(collector));

    // Other programs work on this host at the same time: a value that can fall may differ between two looks, but not
    // for ever.
    let limit = Instant::now() + PATIENCE;
    loop {
        let before = sampled(&mut host, Some(collector));
        let (earliest, so_far) = (nanos(SystemTime::now()), setup.sink.requests().len());
        let lies_after = |body: &[u8]| delivered(body, collector).1 > earliest;
        let asked = setup.sink.wait_for("a scrape", |asked| asked[so_far..].iter().any(|it| lies_after(&it.body)));
        let scrape = asked[so_far..].iter().find(|it| lies_after(&it.body)).unwrap();
        let after = sampled(&mut host, Some(collector));
        let theirs = delivered(&scrape.body, collector).0;

        let differences = differences(&before, &theirs, &after);

        if differences.is_empty() {
            let names: std::collections::BTreeSet<&str> =
                after.keys().map(|(name, _)| &**name).filter(|name| !is_own(name)).collect();
            let series = after.keys().filter(|(name, _)| !is_own(name)).count();
            println!("{series} series of {} metrics agree", names.len());
            return;
        }
        assert!(Instant::now() < limit, "they differ:\n{}", differences.join("\n"));
    }
}

/// The differences between the scrape and the samples before and after it.
fn differences(before: &Measured, theirs: &Measured, after: &Measured) -> Vec<String> {
    let mut differences = Vec::new();
    let free = |metric: &str| after[&(metric.to_owned(), BTreeMap::from([("state".into(), "free".into())]))].value;
    let memory = free("system.memory.usage") / free("system.memory.utilization");
    for (name, value) in after.iter().filter(|((name, _), _)| !is_own(name)) {
        let mut differs = |what: String| differences.push(format!("{name:?}: {what}"));
        let Some(their) = theirs.get(name) else {
            differs("they have no such series".into());
            continue;
        };
        if (&their.unit, their.kind) != (&value.unit, value.kind) {
            differs(format!("they have {} {:?}, we have {} {:?}", their.unit, their.kind, value.unit, value.kind));
        }
        // The scraper rounds the start of a process to a hundredth, up or down.
        let off = |one: u64, other: u64| one.abs_diff(other) > 20_000_000;
        if value.kind == Kind::Counter && value.start.zip(their.start).is_none_or(|(our, their)| off(our, their)) {
            differs(format!("they count since {:?}, we since {:?}", their.start, value.start));
        }
        let Some(earlier) = before.get(name) else { continue };
        let (low, high) = (earlier.value.min(value.value), earlier.value.max(value.value));
        let tolerance = match &*name.0 {
            // Compared exactly below, together with its two parts.
            "system.cpu.utilization" => 1.0,
            "system.memory.usage" => memory * MEMORY_TOLERANCE,
            "system.memory.utilization" => MEMORY_TOLERANCE,
            "system.filesystem.usage" => DISK_TOLERANCE,
            "system.filesystem.utilization" => 0.001,
            "system.filesystem.inodes.usage" => 2000.0,
            "system.paging.usage" => DISK_TOLERANCE,
            "system.paging.utilization" | "system.cpu.load_average.1m" => 0.05,
            "system.cpu.load_average.5m" | "system.cpu.load_average.15m" => 0.011,
            "process.memory.usage" | "process.memory.virtual" => 2.0 * 1024.0 * 1024.0,
            // The scraper has files open while it scrapes.
            "process.open_file_descriptors" => 16.0,
            "process.threads" => 2.0,
            "system.uptime" | "process.uptime" => 1.0,
            // A sum that never falls lies between the samples before and after; the kernel counts in hundredths.
            "system.cpu.time" | "process.cpu.time" | "system.disk.io_time" => 0.011,
            _ => 0.0,
        };
        if their.value < low - tolerance || their.value > high + tolerance {
            differs(format!("they say {}, we {} before and {} after", their.value, earlier.value, value.value));
        }
    }
    for (name, _) in theirs.iter().filter(|(name, _)| !after.contains_key(*name)) {
        let metric = &*name.0;
        let ours = after.keys().any(|(known, _)| known == metric);
        // Devices that were never used are left out, and of a device with several mounts one is measured.
        let told = metric.starts_with("system.disk.") || metric.starts_with("system.filesystem.");
        // Time waiting for a disk: unknown for a process.
        let waits = metric == "process.cpu.time" && name.1["state"] == "wait";
        if ours && !told && !waits {
            differences.push(format!("{name:?}: they have it, we do not"));
        }
    }
    differences
}

#[test]
fn cpu_utilization_is_the_change_of_cpu_time() {
    let mut host = host::Host::new(Path::new("/"));
    let now = wait_for(
        "time on every CPU",
        || {
            let now = sampled(&mut host, None);
            now.keys().any(|(name, _)| name == "system.cpu.utilization").then_some(now)
        },
        String::new,
    );
    let spun = Instant::now() + Duration::from_millis(50);
    wait_until("some work", || Instant::now() >= spun);
    let later = sampled(&mut host, None);

    for (name, utilization) in later.iter().filter(|((name, _), _)| name == "system.cpu.utilization") {
        let times = |state: Option<&str>, at: &Measured| -> f64 {
            at.iter()
                .filter(|((metric, attributes), _)| {
                    metric == "system.cpu.time"
                        && attributes.get("cpu") == name.1.get("cpu")
                        && state.is_none_or(|state| attributes["state"] == state)
                })
                .map(|(_, it)| it.value)
                .sum()
        };
        let state = Some(&*name.1["state"]);
        let (part, whole) = (times(state, &later) - times(state, &now), times(None, &later) - times(None, &now));
        // The kernel's count of waiting time may fall; then the others add up to more than the whole.
        assert!(
            (part.max(0.0) / whole - utilization.value).abs() < 0.05,
            "{name:?}: {part} of {whole}, {utilization:?}"
        );
    }
}

#[test]
fn it_samples_as_often_as_the_settings_say_and_shows_the_values() {
    let host = Host::new();
    host.set("host.sample_every", "1h");
    let agent = host.agent_running(&config("good"));
    let seen = agent.status(&host).host;
    assert!(seen.memory_total_bytes > seen.memory_used_bytes && seen.uptime_seconds > Some(0), "{seen:?}");
    assert_eq!(seen.cpu_utilization, None, "that needs two samples");

    host.change(&agent, "host.sample_every", "100ms");

    let look = || agent.status(&host).host.cpu_utilization;
    let busy = wait_for("a second sample", look, || format!("{:?}", agent.status(&host).host));
    assert!((0.0..=1.0).contains(&busy), "{busy}");
}

#[test]
#[ignore = "needs df and free, and takes what others do to them as it comes: cargo xtask check --real"]
fn df_and_free_report_the_same() {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().ok()?;
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    let mut host = host::Host::new(Path::new("/"));
    let limit = Instant::now() + PATIENCE;
    loop {
        let Some(df) = output("df", &["-B1", "--output=source,fstype,used,avail,iused,iavail,target"]) else {
            println!("skipped: there is no df that knows --output");
            return;
        };
        let free = output("free", &["-b", "-w"]);
        let sample = sampled(&mut host, None);
        let mut wrong = Vec::new();
        let mut near = |what: String, is: f64, should: &str, tolerance: f64| {
            let should: f64 = should.parse().unwrap();
            if (is - should).abs() > tolerance {
                wrong.push(format!("{what}: {is}, but the other says {should}"));
            }
        };
        let mut compared = 0;
        for ((name, attributes), value) in &sample {
            let Some(mountpoint) = attributes.get("mountpoint") else { continue };
            let lines = df.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let line = lines.into_iter().find(|fields| fields.last() == Some(&&**mountpoint));
            let Some(fields) = line else { panic!("df does not know {mountpoint}:\n{df}") };
            let column = match (&**name, attributes.get("state").map(|it| &**it)) {
                ("system.filesystem.usage", Some("used")) => 2,
                ("system.filesystem.usage", Some("free")) => 3,
                ("system.filesystem.inodes.usage", Some("used")) => 4,
                ("system.filesystem.inodes.usage", Some("free")) => 5,
                _ => continue,
            };
            assert_eq!(fields[1], attributes["type"]);
            near(format!("{name} {attributes:?}"), value.value, fields[column], DISK_TOLERANCE);
            compared += 1;
        }
        assert!(compared >= 4, "the root, at least: {sample:#?}");
        match &free {
            Some(free) => {
                let fields: Vec<&str> = free.lines().nth(1).unwrap().split_whitespace().collect();
                let total: f64 = fields[1].parse().unwrap();
                let state = |state: &str| {
                    let attributes = BTreeMap::from([("state".to_owned(), state.to_owned())]);
                    sample[&("system.memory.usage".to_owned(), attributes)].value
                };
                // total used free shared buffers cache available; what `free` calls used changed with its version 4.
                for (is, column) in [(state("free"), 3), (state("buffered"), 5), (state("cached"), 6)] {
                    near(format!("column {column} of free"), is, fields[column], total * MEMORY_TOLERANCE);
                }
                near("available".into(), total - state("used"), fields[7], total * MEMORY_TOLERANCE);
            }
            None => println!("skipped: there is no free"),
        }
        if wrong.is_empty() {
            println!("{compared} numbers agree with df{}", if free.is_some() { ", 4 with free" } else { "" });
            return;
        }
        assert!(Instant::now() < limit, "{}", wrong.join("\n"));
    }
}

/// The tests below run this in a namespace of its own: it takes samples between two system calls that no other code
/// makes.
#[test]
#[ignore = "needs a real Collector or strace: is started by the tests beside it"]
fn samples_taken_elsewhere() {
    let Some(root) = env::var_os("OTELET_TEST_ROOT") else { return };
    let mut host = host::Host::new(Path::new(&root));
    let mark = || drop(fs::File::open("/mark"));
    for _ in 0..5 {
        mark();
        let taken = host.sample(Some(std::os::unix::process::parent_id()), Instant::now(), SystemTime::now(), false);
        mark();
        assert!(taken.sample.memory_total.is_some());
    }
    for ((name, attributes), told) in &sampled(&mut host, None) {
        println!("SERIES {name} {attributes:?}");
        if name.starts_with("otelet.cgroup.") {
            println!("VALUE {name} {}", told.value);
        }
    }
}

/// Runs [`samples_taken_elsewhere`] through this shell script, as its `"$@"`, and returns what it printed.
fn elsewhere(script: &str, root: &Path) -> Result<String, String> {
    let output = Command::new("unshare")
        .args(["--mount", "--net", "sh", "-c", script, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "measures_the_host::samples_taken_elsewhere", "--nocapture", "--test-threads=1"])
        .env("OTELET_TEST_ROOT", root)
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.code() {
        Some(0) => Ok(said(&output.stdout)),
        Some(77) => Err(said(&output.stderr).trim().to_owned()),
        _ => panic!("{}\n{}", said(&output.stdout), said(&output.stderr)),
    }
}

/// Makes this many interfaces, of a kind that this kernel knows.
fn with_interfaces(count: usize) -> String {
    format!(
        "ip link set lo up || {{ echo no ip >&2; exit 77; }}\n\
         for kind in dummy bridge ifb none; do ip link add probe type $kind 2>/dev/null && ip link del probe && break; done\n\
         [ $kind = none ] && {{ echo no interfaces can be made here >&2; exit 77; }}\n\
         for n in $(seq {count}); do ip link add test$n type $kind; done\n"
    )
}

/// The system calls of the last sample, by name, and how many interfaces there were.
fn traced(interfaces: usize) -> Result<(BTreeMap<String, usize>, usize), String> {
    let host = Host::new();
    let trace = host.path("trace");
    let script = format!(
        "{}command -v strace >/dev/null || {{ echo no strace >&2; exit 77; }}\nexec strace -f -qq -o {} \"$@\"",
        with_interfaces(interfaces),
        trace.display()
    );
    let said = elsewhere(&script, Path::new("/"))?;
    let seen = said.lines().filter(|line| line.starts_with("SERIES system.network.io ")).count() / 2;
    assert!(seen > interfaces, "{seen} interfaces of {interfaces} and lo:\n{said}");
    let trace = fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = trace.lines().collect();
    let marks: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| line.contains("\"/mark\"")).map(|(index, _)| index).collect();
    let [.., from, to] = marks[..] else { panic!("no marks in\n{trace}") };
    let thread = lines[from].split_whitespace().next();
    let mut calls = BTreeMap::new();
    for line in &lines[from + 1..to] {
        let mut words = line.split_whitespace();
        if words.next() == thread
            && let Some((name, _)) = words.next().and_then(|word| word.split_once('('))
        {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    Ok((calls, seen))
}

#[test]
#[ignore = "needs strace, and root for interfaces of its own: cargo xtask check --real"]
fn a_sample_costs_forty_system_calls_and_interfaces_cost_only_what_is_read_of_them() {
    let (few, many) = match (traced(3), traced(200)) {
        (Ok(few), Ok(many)) => (few, many),
        (Err(why), _) | (_, Err(why)) => return println!("skipped: {why}"),
    };
    let sum = |calls: &BTreeMap<String, usize>| calls.values().sum::<usize>();
    println!("{} interfaces: {} system calls {:?}", few.1, sum(&few.0), few.0);
    println!("{} interfaces: {} system calls {:?}", many.1, sum(&many.0), many.0);
    assert!(sum(&few.0) <= SYSTEM_CALLS, "{few:?}");

    // The kernel returns such a file a page at a time, and a line has some 130 bytes.
    let pages = many.1 * 130 / 4096 + 1;
    let reads = |calls: &BTreeMap<String, usize>| calls.get("read").copied().unwrap_or_default();
    assert!(reads(&many.0) <= reads(&few.0) + pages, "{few:?}\n{many:?}");
    let others = |mut calls: BTreeMap<String, usize>| {
        // The system's allocator makes these calls to hold the bytes that were read; they are not part of the sample.
        calls.retain(|name, _| !["read", "brk", "mmap", "munmap", "mremap", "madvise"].contains(&&**name));
        calls
    };
    assert_eq!(others(few.0), others(many.0));
}

#[test]
#[ignore = "needs root for mounts of its own: cargo xtask check --real"]
fn with_the_hosts_root_mounted_its_interfaces_and_mounts_are_measured() {
    let host = Host::new();
    let root = host.path("hostfs");
    fs::create_dir(&root).unwrap();
    // A new network namespace has none of the host's interfaces.
    let script = format!("mount --rbind / {} || {{ echo no mounts here >&2; exit 77; }}\nexec \"$@\"", root.display());
    let said = match elsewhere(&script, &root) {
        Ok(said) => said,
        Err(why) => return println!("skipped: {why}"),
    };
    let series = |name: &str, text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with(&format!("SERIES {name} ")));
        lines.map(str::to_owned).collect()
    };
    let mut own = host::Host::new(Path::new("/"));
    let here: String =
        sampled(&mut own, None).keys().map(|(name, attributes)| format!("SERIES {name} {attributes:?}\n")).collect();
    for name in ["system.network.io", "system.filesystem.usage", "system.disk.io"] {
        assert!(!series(name, &here).is_empty());
        assert_eq!(series(name, &said), series(name, &here), "{name}");
    }
    println!("{} series with the host's root, {} without", said.matches("SERIES").count(), here.lines().count());
}

#[test]
#[ignore = "needs root for a cgroup of its own: cargo xtask check --real"]
fn the_limits_of_its_cgroup_are_reported_where_they_are_lower_than_the_host() {
    const LIMIT: &str = "536870912";
    // The memory group of version one if there is one, else of version two, below the group that this test is in.
    let script = format!(
        "own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)\n\
         if [ -n \"$own\" ]; then root=/sys/fs/cgroup/memory limit=memory.limit_in_bytes\n\
         else own=$(sed -n 's/^0:://p' /proc/self/cgroup) root=/sys/fs/cgroup limit=memory.max; fi\n\
         parent=$root$own group=$parent/otelet-test-$$\n\
         mkdir $group && echo {LIMIT} > $group/$limit && echo $$ > $group/cgroup.procs || {{\n\
         rmdir $group 2>/dev/null; echo no cgroup can be made here >&2; exit 77; }}\n\
         \"$@\"; code=$?\n\
         echo $$ > $parent/cgroup.procs; rmdir $group; exit $code"
    );
    let said = match elsewhere(&script, Path::new("/")) {
        Ok(said) => said,
        Err(why) => return println!("skipped: {why}"),
    };
    let value = |name: &str| -> f64 {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("VALUE otelet.cgroup.memory.{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{said}")).parse().unwrap()
    };
    println!("{} of {} bytes", value("usage"), value("limit"));
    assert_eq!(value("limit").to_string(), LIMIT);
    assert!(value("usage") > 0.0 && value("usage") < value("limit"));
    assert_eq!(value("utilization"), value("usage") / value("limit"));
}

/// An agent in a mount namespace with a FUSE file system whose server never answers.
fn agent_beside_a_hanging_mount(host: &Host, mountpoint: &Path, keeper: &Path) -> Agent {
    let script = format!(
        "exec 3<>/dev/fuse && mount -i -t fuse none {at} -o fd=3,rootmode=40000,user_id=0,group_id=0 || exit 77\n\
         sleep 1000 & echo $! > {keeper}\nexec 3<&-\nexec \"$0\" \"$@\"",
        at = mountpoint.display(),
        keeper = keeper.display(),
    );
    host.agent().under(&["unshare", "--mount", "sh", "-c", &script]).start()
}

#[test]
#[ignore = "needs root and /dev/fuse: cargo xtask check --real"]
fn a_file_system_that_hangs_is_reported_and_delays_nothing() {
    let host = Host::new();
    let (mountpoint, keeper): (PathBuf, PathBuf) = (host.path("hangs"), host.path("keeper"));
    fs::create_dir(&mountpoint).unwrap();
    let allowed = Command::new("unshare").args(["--mount", "sh", "-c", "exec 3<>/dev/fuse"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return println!("skipped: no mount namespace or no /dev/fuse");
    }
    host.set("host.sample_every", "100ms");
    host.server.offer(config("good"));
    let agent = agent_beside_a_hanging_mount(&host, &mountpoint, &keeper);
    agent.applied(&config("good"));
    let at = mountpoint.display().to_string();

    agent.logs(&format!("file system at {at} (fuse) does not answer"));

    let status =
        agent.wait_status("the mount that hangs", |status| status.host.hanging_mounts == std::slice::from_ref(&at));
    assert!(status.collector.healthy);
    host.more_polls(20);
    assert_eq!(agent.status(&host).host.hanging_mounts, std::slice::from_ref(&at), "it answers all the time");
    assert_eq!(agent.logged("does not answer"), 1, "it is said once");
    let threads = || fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().count();
    // One thread that the kernel needs to report ended children, one that hangs, and an exchange may be under way.
    assert!(threads() <= 4, "{}", threads());

    // The server of the file system ends: the kernel gives up.
    let keeper: u32 = fs::read_to_string(&keeper).unwrap().trim().parse().unwrap();
    super::host::signal(keeper, super::host::Signal::KILL);
    agent.logs(&format!("file system at {at} answers again"));
    agent.wait_status("no mount that hangs", |status| status.host.hanging_mounts.is_empty());
}
