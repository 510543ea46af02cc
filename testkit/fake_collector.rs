//! A scripted program that stands in for the collector in the promises. It takes the collector's command line and obeys
//! the `# fake: WORD` comment lines of its configs, so that a test's config is otherwise an ordinary one. The journal names
//! the first config that is none of `collector.local`.
//!
//! | line | what it does |
//! |---|---|
//! | `exit CODE after TIME` | ends with that code, TIME after its start |
//! | `error TEXT` | prints `Error: TEXT` before that exit; alone it means `exit 1 after 0ms` too |
//! | `ready after TIME`, `never-ready` | health is refused until then, or for ever |
//! | `unhealthy`, `unhealthy after TIME` | health answers 503 |
//! | `hang`, `hang after TIME` | health is accepted and never answered; no `WATCHDOG=1` either |
//! | `ignore-sigterm`, `drain TIME` | goes on after SIGTERM, or takes TIME before it ends with 0 |
//! | `stop-self after TIME` | raises SIGSTOP |
//! | `fork` | starts a grandchild in its process group that sleeps 60 s, deaf to SIGTERM if `ignore-sigterm` |
//! | `flood all`, `flood N` | writes log lines as fast as it can or N a second: some long, some without an end |
//! | `partial` | writes a line without an end once it is ready |
//! | `echo-env NAME` | prints `NAME=VALUE`, or `NAME is unset` |
//! | `port-thief` | ends with 1 if the health port is taken, as the collector does; without it, it tries again |
//! | `sd-notify` | says `READY=1` and `WATCHDOG=1` on `NOTIFY_SOCKET` |
//! | `hold FILE` | holds as many MiB of memory as the file says, from one look at it to the next |
//! | `refuse TEXT` | `validate` and a start end with 1 and `Error: TEXT` |
//! | `gate NAME` | the same unless an argument switches this feature gate on |
//! | `wants NAME` | the same unless a config has the comment `# provides NAME` |
//! | `validate-takes TIME`, `validate-hang` | `validate` answers late or never |
//!
//! Like the collector it wants a pipeline, unless `service.AllowNoPipelines` is switched on, and `components` takes no
//! flag. It ends with 1 at its start if a pipeline has the receiver `docker_stats` and no program listens at its
//! `endpoint`. It ends by itself after 300 s with 98; a mistake in its arguments or script ends it with 99.
//!
//! | variable | meaning |
//! |---|---|
//! | `FAKE_EXTENSIONS` | the list of extensions that it has (`health_check file_storage`) |
//! | `FAKE_DIES_OF` | the end of an argument with which it ends at its start, though `validate` accepts it |
//! | `FAKE_VERSION` | the version that it prints (`0.0.1`) |
//! | `FAKE_UNKNOWN` | a flag that `validate` does not know |
//! | `FAKE_JOURNAL` | a file that gets a line per event |
//!
//! The lines of the journal: `UNIX-MS PID start PATH LABEL` (LABEL is the config's first other comment, or its SHA-256),
//! `validate PATH`, `sigterm`, `ready`, `forked PID`, `exit CODE`. Each request to the agent's own receiver, which only
//! the overlay has, becomes a line `PID PATH BODY-IN-HEX` in the file `FAKE_JOURNAL.otlp`, and is answered with an
//! empty 200.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, thread};

use serde_yaml::Value;

/// The longest time that it runs, whatever happens to the test that started it.
const LIFETIME: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_millis(5);

fn main() {
    let begun = Instant::now();
    let code = command(begun).unwrap_or_else(|mistake| {
        say(&format!("fake-collector: {mistake}\n"));
        99
    });
    exit(code);
}

fn command(begun: Instant) -> Result<i32, String> {
    let mut arguments = env::args().skip(1).peekable();
    let verb = arguments.next_if(|first| !first.starts_with("--config"));
    match verb.as_deref() {
        Some("--version" | "-v") => {
            println!("fake-collector version {}", env::var("FAKE_VERSION").unwrap_or_else(|_| "0.0.1".to_owned()))
        }
        Some("components") if arguments.peek().is_some() => {
            return Ok(fail(&format!("unknown flag: {}", arguments.next().unwrap_or_default())));
        }
        Some("components") => println!("extensions:\n    - name: {}", extensions().join("\n    - name: ")),
        Some("--grandchild") => {
            if arguments.next().as_deref() == Some("deaf") {
                let _ = on_terminate();
            }
            thread::sleep(Duration::from_secs(60));
        }
        Some("validate")
            if env::args().any(|argument| env::var("FAKE_UNKNOWN").is_ok_and(|name| argument.starts_with(&name))) =>
        {
            return Ok(fail(&format!("unknown flag: {}", env::var("FAKE_UNKNOWN").unwrap_or_default())));
        }
        Some("validate") | None => {
            let configs = read_configs(arguments)?;
            let text: String = configs.iter().map(|config| format!("{}\n", config.text)).collect();
            let script = Script::parse(&text)?;
            return match verb {
                Some(_) => Ok(validate(&script, &configs)),
                None => run(&script, &configs, begun),
            };
        }
        Some(other) => return Err(format!("unknown command {other:?}")),
    }
    Ok(0)
}

fn validate(script: &Script, configs: &[Config]) -> i32 {
    let _deaf = script.ignore_sigterm.then(on_terminate);
    journal(&format!("validate {}", main_config(configs).path));
    thread::sleep(script.validate_takes.min(LIFETIME));
    if script.validate_takes >= LIFETIME {
        return 98;
    }
    match refusal(script, configs) {
        Some(text) => fail(&text),
        None => 0,
    }
}

fn run(script: &Script, configs: &[Config], begun: Instant) -> Result<i32, String> {
    let terminated = on_terminate();
    let main = main_config(configs);
    journal(&format!("start {} {}", main.path, main.label()));
    let code = live(script, configs, begun, &terminated);
    if let Ok(code) = code {
        journal(&format!("exit {code}"));
    }
    code
}

/// The first config that is none of the host's own.
fn main_config(configs: &[Config]) -> &Config {
    let is_local = |config: &&Config| {
        let name = config.path.rsplit(['/', '\\']).next().unwrap_or_default();
        name.starts_with("local-") || name.starts_with("validate-local-")
    };
    configs.iter().find(|config| !is_local(config)).unwrap_or(&configs[0])
}

fn live(script: &Script, configs: &[Config], begun: Instant, terminated: &AtomicBool) -> Result<i32, String> {
    for name in &script.echo_env {
        match env::var(name) {
            Ok(value) => say(&format!("{name}={value}\n")),
            Err(_) => say(&format!("{name} is unset\n")),
        }
    }
    if let Some(text) = refusal(script, configs) {
        return Ok(fail(&text));
    }
    if env::var("FAKE_DIES_OF").is_ok_and(|name| env::args().any(|argument| argument.ends_with(&name))) {
        return Ok(fail("cannot start pipelines: failed to open windows event channel"));
    }
    if let Some(text) = missing_engine(configs) {
        return Ok(fail(&text));
    }
    if script.fork {
        let hearing = if script.ignore_sigterm { "deaf" } else { "hearing" };
        let program = env::current_exe().map_err(|e| format!("own path: {e}"))?;
        let child = Command::new(program).args(["--grandchild", hearing]).spawn().map_err(|e| format!("fork: {e}"))?;
        journal(&format!("forked {}", child.id()));
    }
    if let Some(rate) = script.flood {
        thread::spawn(move || flood(rate));
    }

    let mut held: Vec<u8> = Vec::new();
    let mut endpoint = endpoint(configs);
    let health = Arc::new(AtomicU8::new(HEALTHY));
    let (mut ready, mut ends, mut stop_self, mut beat) = (false, None, script.stop_self, Duration::ZERO);
    loop {
        let age = begun.elapsed();
        if terminated.swap(false, SeqCst) {
            journal("sigterm");
            if !script.ignore_sigterm {
                health.store(UNHEALTHY, SeqCst);
                ends.get_or_insert(age + script.drain);
            }
        }
        if ends.is_some_and(|at| age >= at) {
            return Ok(0);
        }
        if let Some((code, _)) = script.exit.filter(|(_, after)| age >= *after) {
            return Ok(script.error.as_deref().map_or(code, |text| {
                fail(text);
                code
            }));
        }
        if age >= LIFETIME {
            return Ok(98);
        }
        if stop_self.take_if(|after| age >= *after).is_some() {
            // Through a shell, since not every system that this builds on has the signal.
            let _ = Command::new("sh").args(["-c", "kill -STOP \"$PPID\""]).status();
        }
        let hangs = script.hang.is_some_and(|after| age >= after);
        if hangs {
            health.store(HANGING, SeqCst);
        } else if script.unhealthy.is_some_and(|after| age >= after) {
            health.store(UNHEALTHY, SeqCst);
        }
        if !ready && ends.is_none() && age >= script.ready_after {
            match endpoint.as_deref().map(TcpListener::bind) {
                Some(Ok(listener)) => {
                    let health = Arc::clone(&health);
                    thread::spawn(move || serve(&listener, &health));
                    endpoint = None;
                }
                Some(Err(cause)) if script.port_thief => {
                    let at = endpoint.unwrap_or_default();
                    let cause = if cause.kind() == std::io::ErrorKind::AddrInUse {
                        "address already in use".to_owned()
                    } else {
                        cause.to_string()
                    };
                    let bind = format!("failed to bind to address {at}: listen tcp {at}: bind: {cause}");
                    return Ok(fail(&format!("failed to start extensions: {bind}")));
                }
                Some(Err(_)) | None => {}
            }
            if endpoint.is_none() {
                ready = true;
                if let Some(listener) = receiver(configs) {
                    let listener = listener.map_err(|cause| format!("otlp/otelet: {cause}"))?;
                    thread::spawn(move || receive(&listener));
                }
                say("fake\tinfo\tservice.go:264\tEverything is ready. Begin running and processing data.\n");
                journal("ready");
                if script.sd_notify {
                    notify("READY=1")?;
                }
                if script.partial {
                    say("a line that has no end");
                }
            }
        }
        if script.sd_notify && ready && !hangs && age >= beat {
            notify("WATCHDOG=1")?;
            let usec = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
            beat = age + Duration::from_micros(usec) / 2;
        }
        if let Some(text) = script.hold.as_ref().and_then(|path| fs::read_to_string(path).ok()) {
            let size = text.trim().parse::<usize>().map_err(|e| format!("hold {text:?}: {e}"))? << 20;
            if held.len() != size {
                // Not zeros: the kernel gives zeroed memory only when it is touched.
                held = vec![1; size];
            }
        }
        thread::sleep(TICK);
    }
}

const HEALTHY: u8 = 0;
const UNHEALTHY: u8 = 1;
const HANGING: u8 = 2;

/// Answers each connection once, or keeps it open without an answer.
fn serve(listener: &TcpListener, health: &AtomicU8) {
    let mut kept: Vec<TcpStream> = Vec::new();
    for mut stream in listener.incoming().flatten() {
        let (line, status) = match health.load(SeqCst) {
            HEALTHY => ("200 OK", "Server available"),
            UNHEALTHY => ("503 Service Unavailable", "Server not available"),
            _ => {
                kept.truncate(64);
                kept.insert(0, stream);
                continue;
            }
        };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        read_head(&mut stream);
        let body = format!(r#"{{"status":"{status}"}}"#);
        let head = format!("HTTP/1.1 {line}\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
        let _ = stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n{body}").as_bytes());
    }
}

fn flood(rate: Option<u32>) {
    for number in 0_u64.. {
        let text = match number % 50 {
            10 => format!("flood {number} {}\n", "long ".repeat(20_000)),
            20 => format!("flood {number} without an end "),
            _ => format!("flood {number} {}\n", "word ".repeat(20)),
        };
        if std::io::stderr().write_all(text.as_bytes()).is_err() {
            return;
        }
        if let Some(rate) = rate {
            thread::sleep(Duration::from_secs(1) / rate);
        }
    }
}

/// The collector's error if it reads an engine that is not there. The last config that names the receivers of the
/// metrics pipeline decides.
fn missing_engine(configs: &[Config]) -> Option<String> {
    let values: Vec<&Value> = configs.iter().rev().filter_map(|config| config.value.as_ref().ok()).collect();
    let receivers = |value: &&Value| value["service"]["pipelines"]["metrics"]["receivers"].as_sequence().cloned();
    let read = values.iter().find_map(receivers)?.iter().any(|id| id.as_str() == Some("docker_stats"));
    let endpoint = values.iter().find_map(|value| value["receivers"]["docker_stats"]["endpoint"].as_str())?;
    let cause = connect(endpoint.strip_prefix("unix://")?).err()?;
    read.then(|| format!("cannot start pipelines: failed to start \"docker_stats\" receiver: dial unix: {cause}"))
}

/// The agent's own receiver, if the overlay has one.
fn receiver(configs: &[Config]) -> Option<std::io::Result<TcpListener>> {
    let values = configs.iter().filter_map(|config| config.value.as_ref().ok());
    let mut endpoints = values.map(|value| &value["receivers"]["otlp/otelet"]["protocols"]["http"]["endpoint"]);
    let endpoint = endpoints.find_map(Value::as_str)?;
    Some(TcpListener::bind(endpoint))
}

/// Reads the head of a request, or as much of it as comes, in lower case.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8192 && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).to_lowercase()
}

/// Accepts every request, and writes each into the journal.
fn receive(listener: &TcpListener) {
    for mut stream in listener.incoming().flatten() {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let head = read_head(&mut stream);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if stream.read_exact(&mut body).is_err() {
            continue;
        }
        if let Some(path) = env::var_os("FAKE_JOURNAL") {
            let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
            let line = format!("{} {} {hex}\n", std::process::id(), head.split(' ').nth(1).unwrap_or_default());
            let mut path = path;
            path.push(".otlp");
            let file = fs::OpenOptions::new().create(true).append(true).open(path);
            let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

/// The reason why a collector would refuse these configs, in its words.
fn refusal(script: &Script, configs: &[Config]) -> Option<String> {
    if let Some(text) = &script.refuse {
        return Some(text.clone());
    }
    if let Some(name) = script.gate.as_ref().filter(|name| !gate(name)) {
        return Some(format!("this needs the feature gate {name}"));
    }
    let have = extensions();
    for config in configs {
        let value = match &config.value {
            Ok(value) => value,
            Err(cause) => {
                return Some(format!(
                    "failed to get config: cannot resolve the configuration: retrieved value (type=string) cannot be used \
                     as a Conf: assuming string type since contents are not valid YAML: yaml: {cause}"
                ));
            }
        };
        for (id, _) in value["extensions"].as_mapping().into_iter().flatten() {
            let id = id.as_str().unwrap_or_default();
            let kind = id.split('/').next().unwrap_or_default();
            if !have.iter().any(|known| known == kind) {
                // A component with an old name beside its new one is in no list of `components`.
                let valid = [
                    ("receivers", "otlp file_log filelog"),
                    ("processors", "batch"),
                    ("exporters", "otlp_http otlphttp debug"),
                    ("connectors", ""),
                ];
                let asked = valid.iter().filter(|(section, _)| !value[*section]["otelet_probe"].is_null());
                let more: String = asked
                    .map(|(section, names)| {
                        format!(
                            "\n'{section}' unknown type: \"otelet_probe\" for id: \"otelet_probe\" (valid values: [{names}])"
                        )
                    })
                    .collect();
                return Some(format!(
                    "failed to get config: cannot unmarshal the configuration: decoding failed due to the following \
                     error(s):\n\n'extensions' unknown type: \"{kind}\" for id: \"{id}\" (valid values: [{}]){more}",
                    have.join(" ")
                ));
            }
        }
    }
    for config in configs {
        for line in config.text.lines().filter_map(|line| line.trim().strip_prefix("# fake: wants ")) {
            if !configs.iter().any(|other| other.text.contains(&format!("# provides {line}"))) {
                return Some(format!("references exporter {line:?} which is not configured"));
            }
        }
    }
    let pipelines =
        configs.iter().filter_map(|config| config.value.as_ref().ok()).map(|value| &value["service"]["pipelines"]);
    let wants_pipelines = !gate("service.AllowNoPipelines");
    if wants_pipelines
        && !pipelines
            .into_iter()
            .any(|value| value.is_string() || value.as_mapping().is_some_and(|map| !map.is_empty()))
    {
        return Some("service::pipelines: service must have at least one pipeline".to_owned());
    }
    None
}

/// Whether an argument switches this feature gate on.
fn gate(name: &str) -> bool {
    let mut lists = env::args().filter_map(|argument| Some(argument.strip_prefix("--feature-gates=")?.to_owned()));
    lists.any(|list| list.split(',').any(|gate| gate.strip_prefix('+').unwrap_or(gate) == name))
}

/// The endpoint of the health check: of the overlay's extension if there is one, otherwise of the body's.
fn endpoint(configs: &[Config]) -> Option<String> {
    let values: Vec<&Value> = configs.iter().rev().filter_map(|config| config.value.as_ref().ok()).collect();
    let listed = values.iter().find_map(|value| value["service"]["extensions"].as_sequence())?;
    let listed: BTreeSet<&str> = listed.iter().filter_map(Value::as_str).collect();
    let checks = listed.iter().filter(|id| id.split('/').next() == Some("health_check"));
    let id = checks.max_by_key(|id| **id == "health_check/otelet")?;
    let endpoint = values.iter().find_map(|value| value["extensions"][*id]["endpoint"].as_str());
    Some(endpoint.unwrap_or("localhost:13133").to_owned())
}

fn extensions() -> Vec<String> {
    let list = env::var("FAKE_EXTENSIONS").unwrap_or_else(|_| "health_check file_storage".to_owned());
    list.split_whitespace().map(str::to_owned).collect()
}

struct Config {
    path: String,
    text: String,
    value: Result<Value, serde_yaml::Error>,
}

impl Config {
    fn label(&self) -> String {
        let comments = self.text.lines().filter_map(|line| line.trim().strip_prefix('#')).map(str::trim);
        let label =
            comments.filter(|comment| !comment.starts_with("fake:") && !comment.is_empty()).map(str::to_owned).next();
        label.unwrap_or_else(|| {
            let digest = ring::digest::digest(&ring::digest::SHA256, self.text.as_bytes());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}

/// Reads the files of `--config A` and `--config=A`; other arguments are the collector's and have no effect here.
fn read_configs(mut arguments: impl Iterator<Item = String>) -> Result<Vec<Config>, String> {
    let mut configs = Vec::new();
    while let Some(argument) = arguments.next() {
        let path = match argument.strip_prefix("--config") {
            Some("") => arguments.next().ok_or("--config wants a path")?,
            Some(rest) if rest.starts_with('=') => rest[1..].to_owned(),
            Some(_) | None => continue,
        };
        let path = path.strip_prefix("file:").unwrap_or(&path).to_owned();
        let text = fs::read(&path).map_err(|cause| format!("{path}: {cause}"))?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let value = serde_yaml::from_str(&text);
        configs.push(Config { path, text, value });
    }
    if configs.is_empty() { Err("at least one --config is needed".to_owned()) } else { Ok(configs) }
}

#[derive(Default)]
struct Script {
    exit: Option<(i32, Duration)>,
    error: Option<String>,
    ready_after: Duration,
    unhealthy: Option<Duration>,
    hang: Option<Duration>,
    ignore_sigterm: bool,
    drain: Duration,
    stop_self: Option<Duration>,
    fork: bool,
    flood: Option<Option<u32>>,
    partial: bool,
    echo_env: Vec<String>,
    port_thief: bool,
    sd_notify: bool,
    hold: Option<String>,
    refuse: Option<String>,
    gate: Option<String>,
    validate_takes: Duration,
}

impl Script {
    fn parse(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("# fake:")) {
            script.line(line.trim()).ok_or_else(|| format!("cannot read the script line {line:?}"))?;
        }
        if script.error.is_some() && script.exit.is_none() {
            script.exit = Some((1, Duration::ZERO));
        }
        Ok(script)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let after = || {
            if rest.is_empty() { Some(Duration::ZERO) } else { time(rest.strip_prefix("after ")?) }
        };
        match word {
            "exit" => {
                let (code, at) = rest.split_once(" after ")?;
                self.exit = Some((code.parse().ok()?, time(at)?));
            }
            "error" => self.error = Some(rest.to_owned()),
            "ready" => self.ready_after = after()?,
            "never-ready" => self.ready_after = Duration::MAX,
            "unhealthy" => self.unhealthy = Some(after()?),
            "hang" => self.hang = Some(after()?),
            "ignore-sigterm" => self.ignore_sigterm = true,
            "drain" => self.drain = time(rest)?,
            "stop-self" => self.stop_self = Some(after()?),
            "fork" => self.fork = true,
            "flood" => {
                self.flood = Some(if rest == "all" { None } else { Some(rest.parse().ok().filter(|n| *n > 0)?) })
            }
            "partial" => self.partial = true,
            "echo-env" => self.echo_env.push(rest.to_owned()),
            "port-thief" => self.port_thief = true,
            "sd-notify" => self.sd_notify = true,
            "hold" => self.hold = Some(rest.to_owned()),
            "refuse" => self.refuse = Some(rest.to_owned()),
            "wants" => {}
            "gate" => self.gate = Some(rest.to_owned()),
            "validate-takes" => self.validate_takes = time(rest)?,
            "validate-hang" => self.validate_takes = Duration::MAX,
            _ => return None,
        }
        Some(())
    }
}

/// Reads a time such as `250ms` or `1.5s`.
fn time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

/// A flag that each SIGTERM and SIGINT sets.
fn on_terminate() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    otelet::os::flag_stop(&flag).expect("signals may be handled");
    flag
}

fn fail(text: &str) -> i32 {
    say(&format!("Error: {text}\n"));
    1
}

/// Writes to stderr; its reader may be gone, which is no reason to panic.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Appends one line by one write, so that lines of several processes do not mix.
fn journal(event: &str) {
    let Some(path) = env::var_os("FAKE_JOURNAL") else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let line = format!("{now} {} {event}\n", std::process::id());
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    if let Err(cause) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        say(&format!("fake-collector: FAKE_JOURNAL: {cause}\n"));
    }
}

#[cfg(unix)]
fn connect(path: &str) -> std::io::Result<()> {
    std::os::unix::net::UnixStream::connect(path).map(drop)
}

#[cfg(not(unix))]
fn connect(_: &str) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

// Where systems differ: a NOTIFY_SOCKET exists on Linux alone, and std's sockets of that kind do not
// compile elsewhere.
#[cfg(target_os = "linux")]
fn notify(state: &str) -> Result<(), String> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let name = env::var("NOTIFY_SOCKET").map_err(|_| "sd-notify: NOTIFY_SOCKET is not set")?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let send = |address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address);
    match address.and_then(send) {
        Ok(_) => Ok(()),
        // The agent may have ended: some tests check that the collector outlives it.
        Err(cause) => {
            say(&format!("fake-collector: {name}: {cause}\n"));
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn notify(_: &str) -> Result<(), String> {
    Err("sd-notify: only on Linux".to_owned())
}
