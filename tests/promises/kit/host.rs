//! One host for one promise: directories of its own, a config server, and the agents and collectors that run on it.
//! Dropping the host removes all of it, and nothing else is touched.
#![allow(dead_code, reason = "each promise uses the part that it needs")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use otelet_wire::status::{RemoteConfigStatus, Status};

pub use super::system::{Signal, command_line, environment, signal, state};

use super::server::Server;
use super::system;

/// The longest wait for anything. Only a test that fails takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

const LOOK: Duration = Duration::from_millis(4);

/// The agent: cargo's build, or the one that `OTELET_BINARY` names, as when a release is tested.
pub fn otelet() -> &'static str {
    static OTELET: OnceLock<String> = OnceLock::new();
    OTELET.get_or_init(|| std::env::var("OTELET_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_otelet").to_owned()))
}

/// Whether the agent is a release.
pub fn is_a_release() -> bool {
    std::env::var_os("OTELET_BINARY").is_some()
}

/// The scripted collector; its own header lists the script's words. The path is absolute; on Windows it names the drive
/// on which the program was built.
pub static COLLECTOR: LazyLock<String> = LazyLock::new(|| {
    let path = std::path::absolute(env!("CARGO_BIN_EXE_fake-collector")).unwrap();
    path.display().to_string()
});

pub struct Host {
    dir: PathBuf,
    /// The server of its configs.
    pub server: Server,
    settings: RefCell<BTreeMap<String, String>>,
}

impl Host {
    /// A host with a server that has no config yet, and with settings that are quick: polls and a probation of
    /// 100 ms.
    pub fn new() -> Self {
        Self::named("otelet-promise")
    }

    /// The same with directories whose names begin like this.
    pub fn named(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let host = Self { dir, server: Server::new(), settings: RefCell::default() };
        for (key, value) in [
            ("config.url", host.server.url()),
            ("config.poll_every", "100ms".into()),
            ("collector.path", COLLECTOR.clone()),
            ("collector.probation", "100ms".into()),
            ("collector.stop_timeout", "10s".into()),
            ("state_dir", host.state_dir().display().to_string()),
            ("runtime_dir", host.runtime_dir().display().to_string()),
        ] {
            host.set(key, &value);
        }
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub fn runtime_dir(&self) -> PathBuf {
        self.path("run")
    }

    /// Writes a setting, given as YAML, to the settings file: for the next start of an agent or its next SIGHUP.
    pub fn set(&self, key: &str, yaml: &str) {
        self.settings.borrow_mut().insert(key.into(), yaml.into());
        self.write_settings();
    }

    /// The same, and waits until a running agent has read it.
    pub fn change(&self, agent: &Agent, key: &str, yaml: &str) {
        const READ: &str = "settings read again";
        let before = agent.logged(READ);
        self.set(key, yaml);
        agent.signal(Signal::HUP);
        agent.logs_times(READ, before + 1);
    }

    /// Removes a setting from the settings file.
    pub fn unset(&self, key: &str) {
        self.settings.borrow_mut().remove(key);
        self.write_settings();
    }

    fn write_settings(&self) {
        let mut text = String::new();
        let mut section = "";
        let settings = self.settings.borrow();
        // Keys without a section come first; otherwise they would belong to the section before them.
        let (inside, outside): (Vec<_>, Vec<_>) = settings.iter().partition(|(key, _)| key.contains('.'));
        for (key, value) in outside {
            text += &format!("{key}: {value}\n");
        }
        for (key, value) in inside {
            let (head, key) = key.split_once('.').unwrap();
            if head != section {
                section = head;
                text += &format!("{head}:\n");
            }
            text += &format!("  {key}: {value}\n");
        }
        fs::write(self.settings_file(), text).unwrap();
    }

    pub fn settings_file(&self) -> PathBuf {
        self.path("otelet.yaml")
    }

    /// An agent that is about to be started with this host's settings.
    pub fn agent(&self) -> Builder<'_> {
        Builder { host: self, wrapper: Vec::new(), args: Vec::new(), env: Vec::new(), stderr_is_read: true }
    }

    /// An agent whose collector runs on this body, which has survived its probation.
    pub fn agent_running(&self, body: &str) -> Agent {
        self.server.offer(body);
        let agent = self.agent().start();
        agent.applied(body);
        agent
    }

    /// Runs `otelet` with these arguments and this host's settings until it ends.
    pub fn otelet(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).arg(format!("--settings={}", self.settings_file().display())).output().unwrap()
    }

    /// The agent's program, with only PATH of the tester's own environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(otelet());
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("FAKE_JOURNAL", self.journal_file()).current_dir(&self.dir).stdin(Stdio::null());
    }

    fn journal_file(&self) -> PathBuf {
        self.path("journal")
    }

    /// The journal of this host's collectors, oldest entry first.
    pub fn journal(&self) -> Vec<Entry> {
        let text = fs::read_to_string(self.journal_file()).unwrap_or_default();
        // The last line may not be complete yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(Entry::parse).collect()
    }

    /// The starts of collectors, oldest first.
    pub fn starts(&self) -> Vec<Entry> {
        self.journal().into_iter().filter(|entry| entry.event == "start").collect()
    }

    /// How often a collector was asked to validate this body.
    pub fn validations(&self, body: &str) -> usize {
        let name = format!("{}.yaml", hash(body));
        let journal = self.journal();
        journal.iter().filter(|entry| entry.event == "validate" && entry.detail.ends_with(&name)).count()
    }

    /// How often a collector was started on this body.
    pub fn starts_on(&self, body: &str) -> usize {
        let name = format!("{}.yaml ", hash(body));
        self.starts().iter().filter(|entry| entry.detail.contains(&name)).count()
    }

    /// Waits until collectors were started so often, and returns the last of these starts.
    pub fn started(&self, count: usize) -> Entry {
        self.wait(&format!("start {count} of a collector"), || self.starts().get(count - 1).cloned())
    }

    /// Waits until the collector that runs is one with this label, and returns its process.
    pub fn runs(&self, label: &str) -> u32 {
        self.wait(&format!("the collector on {label:?}"), || {
            let last = self.starts().pop()?;
            (last.label() == label && alive(last.pid)).then_some(last.pid)
        })
    }

    /// The collector that was started last.
    pub fn collector(&self) -> u32 {
        self.starts().last().expect("a collector was started").pid
    }

    /// Waits until the journal has this event of this process.
    pub fn journaled(&self, pid: u32, event: &str) -> Entry {
        self.wait(&format!("{event:?} of {pid}"), || {
            self.journal().into_iter().find(|entry| entry.pid == pid && entry.event == event)
        })
    }

    /// Waits until `look` returns a value; shows the journal if it never does.
    pub fn wait<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        wait_for(what, look, || format!("journal:\n{}", fs::read_to_string(self.journal_file()).unwrap_or_default()))
    }

    /// Waits for this many more requests at the server: time has passed for the agent, and a fault had its chance to
    /// show.
    pub fn more_polls(&self, count: usize) {
        let now = self.server.requests().len();
        self.server.wait_for_requests(now + count);
    }

    /// Processes that carry this host's journal in their environment: its agents, collectors and their children.
    pub fn processes(&self) -> Vec<u32> {
        let marker = format!("FAKE_JOURNAL={}", self.journal_file().display());
        system::marked(&marker, &self.journal())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("journal:\n{}", fs::read_to_string(self.journal_file()).unwrap_or_default());
        }
        // The first look may miss a collector that was just being started.
        for _ in 0..1000 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            left.into_iter().for_each(|pid| signal(pid, Signal::KILL));
            thread::sleep(LOOK);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub struct Builder<'a> {
    host: &'a Host,
    wrapper: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    stderr_is_read: bool,
}

impl Builder<'_> {
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.args.push(argument.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Leaves the agent's output unread until [`Agent::read_stderr`].
    pub fn stderr_unread(mut self) -> Self {
        self.stderr_is_read = false;
        self
    }

    /// Has this program with its arguments start the agent.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| word.to_string()).collect();
        self
    }

    pub fn start(self) -> Agent {
        let host = self.host;
        let mut words = self.wrapper;
        words.push(otelet().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        host.surround(&mut command);
        command.envs(self.env).arg("run").arg(format!("--settings={}", host.settings_file().display()));
        command.args(self.args).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let status_file = otelet::status::path(&host.runtime_dir());
        let mut agent = Agent { child, log: Arc::default(), reader: None, status_file, exit: None };
        if self.stderr_is_read {
            agent.read_stderr();
        }
        agent
    }
}

pub struct Agent {
    child: Child,
    log: Arc<Log>,
    reader: Option<thread::JoinHandle<()>>,
    status_file: PathBuf,
    exit: Option<ExitStatus>,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Agent {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Begins to read the agent's output.
    pub fn read_stderr(&mut self) {
        let mut stderr = self.child.stderr.take().expect("nobody reads it yet");
        let log = self.log.clone();
        self.reader = Some(thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(length @ 1..) = stderr.read(&mut buffer) {
                *log.text.lock().unwrap() += &String::from_utf8_lossy(&buffer[..length]);
                log.grown.notify_all();
            }
        }));
    }

    /// The agent's output so far.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap().clone()
    }

    /// Waits until a line of the log contains this, and returns the first such line.
    pub fn logs(&self, text: &str) -> String {
        self.logs_times(text, 1)
    }

    /// Waits until so many lines of the log contain this, and returns the last of these.
    pub fn logs_times(&self, text: &str, times: usize) -> String {
        self.logs_within(PATIENCE, text, times)
    }

    /// The same with another patience, for waits that are long by their nature.
    pub fn logs_within(&self, patience: Duration, text: &str, times: usize) -> String {
        let find = |log: &str| log.lines().filter(|line| line.contains(text)).nth(times - 1).map(str::to_owned);
        let log = self.log.text.lock().unwrap();
        let (log, _) = self.log.grown.wait_timeout_while(log, patience, |log| find(log).is_none()).unwrap();
        let found = find(&log);
        // The lock is needed again to show the log.
        drop(log);
        found.unwrap_or_else(|| panic!("waited {patience:?} in vain for line {times} of the log with {text:?}"))
    }

    /// The number of lines in the log so far that contain this.
    pub fn logged(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// The same for lines of this level.
    pub fn logged_at(&self, level: &str, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(level) && line.contains(text)).count()
    }

    /// The status that the agent wrote last, without asking it for a fresh one.
    pub fn written_status(&self) -> Option<Status> {
        serde_json::from_slice(&fs::read(&self.status_file).ok()?).ok()
    }

    /// The answer of `otelet status --json`, which the agent has just written.
    pub fn status(&self, host: &Host) -> Status {
        let output = host.otelet(&["status", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until this holds of the status that the agent wrote.
    pub fn wait_status(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let look = || self.written_status().filter(|status| status.agent.pid == self.pid() && holds(status));
        wait_for(what, look, || format!("last status: {:#?}", self.written_status()))
    }

    /// Waits until this body has survived its probation.
    pub fn applied(&self, body: &str) -> Status {
        let hash = hash(body);
        self.wait_status(&format!("config {} to be applied", &hash[..8]), |status| {
            status.config.last_good_hash.as_deref() == Some(&hash)
                && status.config.effective_hash.as_deref() == Some(&hash)
                && status.config.remote_config_status == RemoteConfigStatus::Applied
                && status.collector.healthy
        })
    }

    /// Waits until this body, which was good before, runs and is healthy, whatever was offered since.
    pub fn applied_still(&self, body: &str) -> Status {
        let hash = hash(body);
        self.wait_status(&format!("config {} to run still", &hash[..8]), |status| {
            status.config.last_good_hash.as_deref() == Some(&hash)
                && status.config.effective_hash.as_deref() == Some(&hash)
                && status.collector.healthy
        })
    }

    /// Waits until the config that the source offers has failed, and returns why.
    pub fn failed(&self, body: &str) -> String {
        let hash = hash(body);
        let status = self.wait_status(&format!("config {} to fail", &hash[..8]), |status| {
            status.config.remote_hash.as_deref() == Some(&hash)
                && status.config.remote_config_status == RemoteConfigStatus::Failed
        });
        status.config.message
    }

    pub fn signal(&self, number: Signal) {
        assert!(self.exit.is_none(), "the agent has ended");
        system::signal_agent(self.pid(), number);
    }

    /// Waits until the agent has ended. Returns its exit status, -1 if a signal ended it.
    pub fn ended(&mut self) -> i32 {
        if self.exit.is_none() {
            let child = &mut self.child;
            self.exit = Some(wait_for("the agent to end", || child.try_wait().unwrap(), String::new));
            // Its last output is read to the end, unless another process inherited the pipe.
            if let Some(reader) = self.reader.take() {
                wait_for("the end of the agent's log", || reader.is_finished().then_some(()), String::new);
            }
        }
        self.exit.and_then(|status| status.code()).unwrap_or(-1)
    }

    /// Asks the agent to stop and waits for its end. Returns its exit status.
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Ends the agent as a power cut would.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // Through the handle, a kill harms no other process if this one has just ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("log of agent {}:\n{}", self.child.id(), self.log());
        }
    }
}

/// A line of the scripted collectors' journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub at: Duration,
    pub pid: u32,
    /// `start`, `validate`, `sigterm`, `ready`, `forked`, `exit`.
    pub event: String,
    /// The rest of the line.
    pub detail: String,
}

impl Entry {
    fn parse(line: &str) -> Self {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let at = Duration::from_millis(word().parse().unwrap());
        Self { at, pid: word().parse().unwrap(), event: word().into(), detail: word().into() }
    }

    /// Of a start: the path of its first config.
    pub fn path(&self) -> &Path {
        Path::new(self.detail.split_once(' ').map_or(&*self.detail, |(path, _)| path))
    }

    /// Of a start: the label of its config.
    pub fn label(&self) -> &str {
        self.detail.split_once(' ').map_or("", |(_, label)| label)
    }
}

/// An ordinary config with this label.
pub fn config(label: &str) -> String {
    scripted(label, &[])
}

/// A config with this label that scripts the collector.
pub fn scripted(label: &str, script: &[&str]) -> String {
    let script: String = script.iter().map(|line| format!("# fake: {line}\n")).collect();
    // Configs that differ in comments alone are the same one to the agent.
    let differs = short(&format!("{label}{script}"));
    format!(
        "# {label}\n{script}\
         receivers: {{otlp: {{protocols: {{grpc: {{endpoint: 127.0.0.1:0}}}}}}}}\n\
         exporters: {{debug: {{}}, debug/{differs}: {{}}}}\n\
         service:\n  pipelines:\n    traces: {{receivers: [otlp], exporters: [debug]}}\n"
    )
}

/// The hash of a body, as in file names and in the status.
pub fn hash(body: impl AsRef<[u8]>) -> String {
    otelet_config::hash(body.as_ref()).hex()
}

/// The first digits of the hash of a body, as in the log.
pub fn short(body: &str) -> String {
    hash(body)[..8].to_owned()
}

/// Waits until `look` returns a value. Shows `context` if it never does.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>, context: impl FnOnce() -> String) -> T {
    wait_for_longer(PATIENCE, what, look, context)
}

/// The same for longer waits, such as a boot.
pub fn wait_for_longer<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    context: impl FnOnce() -> String,
) -> T {
    let limit = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() >= limit {
            panic!("waited {patience:?} in vain for {what}; {}", context());
        }
        thread::sleep(LOOK);
    }
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()), String::new);
}

/// Whether the process runs; a process that has ended and was not reaped does not.
pub fn alive(pid: u32) -> bool {
    otelet::os::process_start(pid).is_some()
}

pub fn gone(pid: u32) {
    wait_until(&format!("the end of process {pid}"), || !alive(pid));
}

/// The wall clock, as in the journal.
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
