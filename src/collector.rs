//! Handles the collector: finds it, has it validate, starts it, passes its lines on, probes it, reports its end.
//!
//! All of it runs on the main thread: a child ends with the thread that started it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::future::{self, FutureExt as _};

use crate::config::{self, Capabilities, Inspected, Intake, Overlay, Witness};
use crate::decide::{self, Child, ConfigHash, EngineUse, Exit, Probe, SpawnFailure, Verdict};
use crate::host;
use crate::log::{Relay, Tail};
use crate::os::{self, Adoption, Command, Launch, NotifySocket, Output};
use crate::settings::{CollectorLog, CollectorSettings, DEFAULT_COLLECTOR};
use crate::store::{self, Binary, Store};

/// The variable by which an agent knows a collector that an earlier one left.
pub const MARKER: &str = "OTELET_COLLECTOR_OF";

/// The agent's instance uid, for configs to use.
const INSTANCE_UID: &str = "OTELET_INSTANCE_UID";

/// The variables that the built-in configs of `targets/` are made with, and which others may use too.
const DIRECTORY: &str = "OTELET_COLLECTOR_DIR";
/// What it is called in the state directory.
pub const DIRECTORY_NAME: &str = "collector";
const EXPORTER: &str = "OTELET_EXPORTER";

/// In the runtime directory, what is passed beside the built-in config.
const MORE: &str = "more.yaml";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Names that are looked for on PATH when `collector.path` says nothing else, in this order.
const NAMES: [&str; 2] = [DEFAULT_COLLECTOR, "otelcol"];

/// How long the collector may take to validate a config.
const VALIDATE_LIMIT: Duration = Duration::from_secs(60);

/// The most of an answer that is kept, from its end, in bytes: an error comes last.
const LAST_WORDS_KEPT: usize = 8 * 1024;

/// The same for the list of components: the largest distributions print some 60 KB.
const COMPONENTS_KEPT: usize = 256 * 1024;

/// How long it may take to answer a probe.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// The watchdog interval given to a collector with an `sd_notify` extension.
const WATCHDOG: Duration = Duration::from_secs(30);

/// What is needed to start a collector. Made anew when the settings change.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The settings.
    pub settings: CollectorSettings,
    /// Attributes of the resource that the collector reports as.
    pub identity: Vec<(String, String)>,
    /// Who the agent is.
    pub instance_uid: String,
    /// Who the host is, for configs that say so.
    pub host: host::Identity,
    /// Where the host's root is, likewise.
    pub host_root: PathBuf,
    /// The socket of the Docker engine that is watched, likewise.
    pub engine: Option<PathBuf>,
    /// What its collectors are known by to a later agent.
    pub marker: String,
    /// Where bodies are.
    pub store: Store,
    /// Where overlays and sockets are.
    pub runtime_dir: PathBuf,
    /// What is known of the body that was looked at last: a restart need not parse it again.
    pub looked_at: Rc<RefCell<Option<(ConfigHash, Inspected)>>>,
    /// Processes that somebody waits for, so that PID 1 does not take them away.
    pub children: Rc<RefCell<BTreeSet<u32>>>,
    /// Whether it is to take what the agent exports.
    pub takes_exports: bool,
}

/// A collector that runs.
#[derive(Debug)]
pub struct Running {
    /// What the decisions know of it.
    pub child: Child,
    /// How it is probed.
    pub probe: Rc<Prober>,
    /// The last of what it printed.
    pub tail: Rc<RefCell<Tail>>,
    /// What it prints.
    pub relay: Rc<RefCell<Relay>>,
    /// Where it takes what the agent exports.
    pub intake: Intake,
    process: os::Child,
    output: Output,
    /// Those that were picked for it.
    ports: Vec<u16>,
}

impl Launcher {
    /// The program, by `collector.path` or found on PATH.
    ///
    /// # Errors
    ///
    /// In words, if there is none.
    pub fn program(&self) -> Result<PathBuf, String> {
        let path = &self.settings.path;
        if path.is_absolute() {
            return Ok(path.clone());
        }
        let places = places();
        let places = || places.iter().map(PathBuf::as_path);
        if path.as_os_str() != DEFAULT_COLLECTOR {
            let wanted = os::program_name(path.as_os_str());
            let missing = || format!("collector.path: there is no {} {}", path.display(), os::COLLECTOR_PLACES);
            return program_in(places(), |name| name == wanted).ok_or_else(missing);
        }
        NAMES
            .iter()
            .find_map(|wanted| program_in(places(), |name| name == *wanted))
            .or_else(|| program_in(places(), |name| name.to_str().is_some_and(|name| name.starts_with("otelcol-"))))
            .ok_or_else(|| {
                format!(
                    "there is no otelcol-contrib, otelcol or otelcol-* {}; install a collector or set collector.path",
                    os::COLLECTOR_PLACES
                )
            })
    }

    /// What tells one collector binary from another without running it: path, size and time of change.
    pub fn stamp(&self) -> Option<String> {
        let program = self.program().ok()?;
        let metadata = fs::metadata(&program).ok()?;
        let changed = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(format!("{} {} {}.{:09}", program.display(), metadata.len(), changed.as_secs(), changed.subsec_nanos()))
    }

    /// Asks the collector which version it is, and which extensions it has that can vouch for its health.
    ///
    /// # Errors
    ///
    /// In words, if it cannot be asked.
    pub async fn binary(&self) -> Result<Binary, String> {
        let stamp = self.stamp().unwrap_or_default();
        let (_, said) = self.ask(&["--version".as_ref()], LAST_WORDS_KEPT).await?;
        let version = version(&String::from_utf8_lossy(&said));
        Ok(Binary { stamp, version, capabilities: self.capabilities().await? })
    }

    /// What its `components` prints: YAML, some kilobytes.
    ///
    /// # Errors
    ///
    /// In words, if it cannot be asked.
    pub async fn components(&self) -> Result<String, String> {
        let (status, said) = self.ask(&["components".as_ref()], COMPONENTS_KEPT).await?;
        match status.success() {
            true => Ok(String::from_utf8_lossy(&said).into_owned()),
            false => Err(config::last_words(&said)),
        }
    }

    async fn capabilities(&self) -> Result<Capabilities, String> {
        let path = self.runtime_dir.join("capabilities.yaml");
        self.write_for_collector(&path, config::PROBE_CONFIG.as_bytes())?;
        let (_, said) =
            self.ask(&["validate".as_ref(), "--config".as_ref(), path.as_os_str()], LAST_WORDS_KEPT).await?;
        let _ = fs::remove_file(&path);
        let more = match self.takes_more().await {
            Ok(true) => {
                log::debug!("beside the built-in config {MORE} is valid");
                true
            }
            Ok(false) => false,
            Err(why) => {
                log::debug!("beside the built-in config {MORE} is left out: {why}");
                false
            }
        };
        Ok(Capabilities { more, ..config::capabilities(&String::from_utf8_lossy(&said)) })
    }

    /// Whether there is something to be passed beside the built-in config and it takes that; if not, why.
    async fn takes_more(&self) -> Result<bool, String> {
        if os::BUILT_IN_MORE.is_empty() {
            return Ok(false);
        }
        let [built_in, more] = ["built-in.yaml", MORE].map(|name| self.runtime_dir.join(name));
        self.write_for_collector(&built_in, os::BUILT_IN.as_bytes())?;
        self.write_for_collector(&more, os::BUILT_IN_MORE.as_bytes())?;
        let arguments =
            ["validate".as_ref(), "--config".as_ref(), built_in.as_os_str(), "--config".as_ref(), more.as_os_str()];
        let (status, said) = self.ask(&arguments, LAST_WORDS_KEPT).await?;
        let _ = fs::remove_file(&built_in);
        let _ = fs::remove_file(&more);
        if status.success() { Ok(true) } else { Err(config::last_words(&said)) }
    }

    /// Whether it is the config that is built in for a host.
    pub fn is_built_in(&self, hash: ConfigHash) -> bool {
        hash == store::hash(os::BUILT_IN.as_bytes())
    }

    /// The file that is passed beside this body, if any is.
    fn more(&self, hash: ConfigHash, capabilities: Capabilities) -> Result<Option<PathBuf>, String> {
        if !capabilities.more || !self.is_built_in(hash) {
            return Ok(None);
        }
        let path = self.runtime_dir.join(MORE);
        self.write_for_collector(&path, os::BUILT_IN_MORE.as_bytes())?;
        Ok(Some(path))
    }

    /// Has the collector validate a kept body with the overlay that it would run with, and nothing else.
    pub async fn validate(&self, hash: ConfigHash, capabilities: Capabilities) -> Verdict {
        match self.validate_or(hash, capabilities).await {
            Ok(verdict) => verdict,
            Err(why) => Verdict::Unable(why),
        }
    }

    async fn validate_or(&self, hash: ConfigHash, capabilities: Capabilities) -> Result<Verdict, String> {
        let inspected = match self.inspect(hash)? {
            Ok(inspected) => inspected,
            Err(refusal) => return Ok(Verdict::Refused(refusal)),
        };
        let body = self.store.config_path(hash);
        let overlay = self.overlay(&inspected, capabilities);
        let overlay_path = self.runtime_dir.join("validate-overlay.yaml");
        let mut arguments = vec!["validate".as_ref(), "--config".as_ref(), body.as_os_str()];
        if !overlay.text.is_empty() {
            self.write_for_collector(&overlay_path, overlay.text.as_bytes())?;
            arguments.extend(["--config".as_ref(), overlay_path.as_os_str()]);
        }
        let more = self.more(hash, capabilities)?;
        if let Some(path) = &more {
            arguments.extend(["--config".as_ref(), path.as_os_str()]);
        }
        let (status, said) = self.ask(&arguments, LAST_WORDS_KEPT).await?;
        let _ = fs::remove_file(&overlay_path);
        if status.success() {
            return Ok(Verdict::Passed);
        }
        let words = config::last_words(&said);
        match status.code() {
            Some(_) if !words.is_empty() => Ok(Verdict::Refused(words)),
            Some(code) => Ok(Verdict::Refused(format!("validate ended with code {code} and said nothing"))),
            // Memory ran out, perhaps, or a person did it.
            None => Err(format!("validate was ended by {}", describe(status))),
        }
    }

    /// Starts the collector on a kept body, and leaves out what reads a Docker engine if it is to start without one.
    ///
    /// # Errors
    ///
    /// [`SpawnFailure`] if anything is missing for it; a later attempt may work.
    pub fn spawn(
        &self,
        hash: ConfigHash,
        without_engine: bool,
        capabilities: Capabilities,
        now: Instant,
    ) -> Result<Running, SpawnFailure> {
        self.spawn_or(hash, without_engine, capabilities, now).map_err(|reason| SpawnFailure { reason })
    }

    fn spawn_or(
        &self,
        hash: ConfigHash,
        without_engine: bool,
        capabilities: Capabilities,
        now: Instant,
    ) -> Result<Running, String> {
        let inspected = self.inspect(hash)??;
        let (engine, inspected) = match (inspected.engine.is_empty(), without_engine) {
            (true, _) => (EngineUse::Unused, inspected),
            (false, false) => (EngineUse::Read, inspected),
            (false, true) => (EngineUse::LeftOut, inspected.without_engine()),
        };
        let overlay = self.overlay(&inspected, capabilities);
        let body = self.store.config_path(hash);
        self.let_collector_read(&body)?;
        let program = self.program()?;
        let (mut command, output, adoption) = self.command(&program)?;
        command.arg("--config").arg(&body);
        if !overlay.text.is_empty() {
            let path = self.runtime_dir.join("overlay.yaml");
            self.write_for_collector(&path, overlay.text.as_bytes())?;
            command.arg("--config").arg(path);
        }
        if let Some(path) = self.more(hash, capabilities)? {
            command.arg("--config").arg(path);
        }
        command.args(&self.settings.args);
        let intake = overlay.intake;
        // One of ours is in the overlay; a port of the body's own is its own business.
        let receivers = [(intake.metrics, &inspected.metrics), (intake.logs, &inspected.logs)];
        let picked = receivers.into_iter().filter(|(_, way)| way.receiver.is_none());
        let mut ports: Vec<u16> = picked.filter_map(|(address, _)| Some(address?.port())).collect();
        let (probe, port) = match overlay.witness {
            Witness::HealthCheck { host, port, path } => {
                let address: IpAddr =
                    host.parse().map_err(|_| format!("health_check endpoint {host}: not an address"))?;
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
                let ours = inspected.health_check.is_none().then_some(port);
                (Prober::HealthCheck { address: SocketAddr::new(address, port), request }, ours)
            }
            Witness::SdNotify => {
                let path = self.runtime_dir.join("collector-notify.sock");
                let user = self.user()?;
                let socket = NotifySocket::new(&path, user).map_err(|error| format!("{}: {error}", path.display()))?;
                os::let_pass(&self.runtime_dir, user)
                    .map_err(|error| format!("{}: {error}", self.runtime_dir.display()))?;
                command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
                (Prober::SdNotify { socket, heard: RefCell::new(Heard::default()) }, None)
            }
            Witness::Alive => (Prober::Alive, None),
        };
        ports.extend(port);
        let process = start(&mut command, &program)?;
        // The writing ends of the pipe are in the command: the end of output is seen only when they are closed.
        drop(command);
        let pid = process.id();
        adoption.adopt(pid);
        self.children.borrow_mut().insert(pid);
        let relay = Relay::new(self.settings.log == CollectorLog::Pass, self.settings.log_rate, now);
        Ok(Running {
            child: Child { pid, witness: probe.witness(), engine },
            probe: Rc::new(probe),
            tail: Rc::default(),
            relay: Rc::new(RefCell::new(relay)),
            intake,
            process,
            output,
            ports,
        })
    }

    fn overlay(&self, inspected: &Inspected, mut capabilities: Capabilities) -> Overlay {
        // A host without loopback, or without a free port, still gets its collector, watched less well.
        let ports = free_ports().inspect_err(|error| log::warn!("no port on 127.0.0.1 for a health_check: {error}"));
        capabilities.health_check &= ports.is_ok();
        capabilities.sd_notify &= os::HAS_SD_NOTIFY;
        capabilities.otlp &= ports.is_ok() && self.takes_exports;
        config::overlay(inspected, capabilities, ports.unwrap_or_default(), &self.identity)
    }

    /// Checks a kept body again: its hash, and what the overlay must know of it.
    fn inspect(&self, hash: ConfigHash) -> Result<Result<Inspected, String>, String> {
        let body = self.store.verify(hash).map_err(|error| error.chain())?;
        if let Some((known, inspected)) = &*self.looked_at.borrow()
            && *known == hash
        {
            return Ok(Ok(inspected.clone()));
        }
        let inspected = config::inspect(&body).map_err(|refusal| refusal.to_string());
        if let Ok(inspected) = &inspected {
            *self.looked_at.borrow_mut() = Some((hash, inspected.clone()));
        }
        Ok(inspected)
    }

    /// Runs the collector for an answer.
    async fn ask(&self, arguments: &[&std::ffi::OsStr], keep: usize) -> Result<(ExitStatus, Vec<u8>), String> {
        let program = self.program()?;
        let (mut command, output, _) = self.command(&program)?;
        command.args(arguments).kill_on_drop(true);
        for argument in arguments {
            let path = Path::new(argument);
            if path.is_absolute() {
                self.let_collector_read(path)?;
            }
        }
        let mut process = start(&mut command, &program)?;
        drop(command);
        let pid = process.id();
        self.children.borrow_mut().insert(pid);
        let _forget = Forget(&self.children, pid);
        let mut tail = Tail::new(keep);
        let read = async {
            let mut buffer = vec![0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer).await {
                tail.add(&buffer[..length]);
            }
        };
        let ended = async {
            let (status, ()) = future::zip(process.status(), read).await;
            Some(status)
        };
        let late = async {
            os::until(Instant::now() + VALIDATE_LIMIT).await;
            None
        };
        let status = ended.or(late).await;
        match status {
            Some(Ok(status)) => Ok((status, tail.bytes())),
            Some(Err(error)) => Err(format!("{}: {error}", program.display())),
            None => {
                os::kill_group(pid);
                Err(format!("{} did not answer within {}s", program.display(), VALIDATE_LIMIT.as_secs()))
            }
        }
    }

    /// The collector's program with the environment and the limits that it runs in, and the pipe on which it prints.
    fn command(&self, program: &Path) -> Result<(Command, Output, Adoption), String> {
        let (output, ours) = os::output().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let theirs = ours.try_clone().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let mut command = std::process::Command::new(program);
        // What is meant for the agent alone: its own service manager's socket, its settings, which may be secret.
        for name in private_variables() {
            command.env_remove(name);
        }
        command.env(MARKER, &self.marker).env(INSTANCE_UID, &self.instance_uid);
        // Never empty: a config that is built in would be refused for it. A container image has no machine-id, say.
        let (name, id) = (or(&self.host.name, "unknown"), or(&self.host.id, or(&self.host.name, "unknown")));
        command.env("OTELET_HOST_NAME", name).env("OTELET_HOST_ID", id);
        command.env("OTELET_HOST_ROOT", &self.host_root);
        if let Some(socket) = &self.engine {
            command.env("OTELET_DOCKER_SOCKET", socket);
        }
        command.env(DIRECTORY, self.directory()).env(EXPORTER, self.exporter());
        let mut launch = Launch {
            user: self.user()?,
            nice: self.settings.nice,
            oom_score_adj: self.settings.oom_score_adj,
            group: None,
        };
        if let Some(limit) = self.settings.memory_limit {
            // Go's collector works harder near this soft limit; the last tenth is for what Go does not count.
            command.env("GOMEMLIMIT", (limit / 10 * 9).to_string());
            launch.group = os::memory_group(limit)
                .inspect_err(|why| {
                    log::debug!("collector.memory_limit is advised to the collector, not enforced: {why}")
                })
                .ok();
        }
        for (name, value) in &self.settings.env {
            command.env(name, value.expose());
        }
        let adoption = os::prepare(&mut command, launch);
        let mut command = Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::from(ours)).stderr(Stdio::from(theirs));
        Ok((command, output, adoption))
    }

    /// A directory that the collector keeps over restarts. If it cannot be made, the collector says so when it matters.
    fn directory(&self) -> PathBuf {
        let directory = self.store.dir().join(DIRECTORY_NAME);
        let user = self.user().unwrap_or_default();
        let made = os::directory_for(&directory, user).and_then(|()| os::let_pass(self.store.dir(), user));
        if let Err(error) = made {
            log::debug!("{}: cannot be made for the collector: {error}", directory.display());
        }
        directory
    }

    /// What the built-in configs export with: nothing is sent before somebody has said where to.
    fn exporter(&self) -> &'static str {
        let said = self.settings.env.iter().any(|(name, _)| name == ENDPOINT);
        if said || std::env::var_os(ENDPOINT).is_some() { "otlphttp" } else { "debug" }
    }

    fn user(&self) -> Result<Option<os::User>, String> {
        self.settings.run_as.as_deref().map(os::user).transpose()
    }

    fn write_for_collector(&self, path: &Path, bytes: &[u8]) -> Result<(), String> {
        store::write_atomically(path, bytes).map_err(|error| error.chain())?;
        self.let_collector_read(path)
    }

    fn let_collector_read(&self, path: &Path) -> Result<(), String> {
        let user = self.user()?;
        if user.is_none() {
            return Ok(());
        }
        let [state, configs] = self.store.passages();
        let pass = [&state, &configs, &self.runtime_dir].iter().try_for_each(|directory| os::let_pass(directory, user));
        pass.and_then(|()| os::let_read(path, user))
            .map_err(|error| format!("{}: cannot be given to collector.run_as: {error}", path.display()))
    }
}

impl Running {
    /// Passes on what the collector prints, until it has ended. Completes with its end.
    pub async fn attend(mut self, children: Rc<RefCell<BTreeSet<u32>>>) -> Exit {
        let pid = self.child.pid;
        let (output, tail, relay) = (&self.output, &self.tail, &self.relay);
        let mut buffer = vec![0; 8192];
        let read = async {
            while let Ok(length @ 1..) = output.read(&mut buffer).await {
                tail.borrow_mut().add(&buffer[..length]);
                relay.borrow_mut().take(&buffer[..length], Instant::now());
                // Others have their turn, however fast a collector prints.
                future::yield_now().await;
            }
            future::pending::<()>().await;
        };
        let hear = async {
            if let Prober::SdNotify { socket, heard } = &*self.probe {
                while let Ok(message) = socket.receive().await {
                    heard.borrow_mut().take(&message, Instant::now());
                }
            }
            future::pending::<()>().await;
        };
        let status = self
            .process
            .status()
            .or(async {
                future::zip(read, hear).await;
                future::pending().await
            })
            .await;
        // What it printed last is still in the pipe, which holds 64 KiB. Grandchildren may go on printing: not for us.
        let mut rest = [0; 4096];
        for _ in 0..32 {
            match self.output.read_now(&mut rest) {
                0 => break,
                length => {
                    self.tail.borrow_mut().add(&rest[..length]);
                    self.relay.borrow_mut().take(&rest[..length], Instant::now());
                }
            }
        }
        self.relay.borrow_mut().finish();
        os::sweep_group(pid);
        children.borrow_mut().remove(&pid);
        let last_words = config::last_words(&self.tail.borrow().bytes());
        let named = |port: &u16| last_words.contains(&format!(":{port}"));
        let stolen_port = self.ports.iter().any(named) && os::says_port_is_taken(&last_words);
        let how = status.map_or_else(|error| error.to_string(), describe);
        Exit { how, last_words, stolen_port }
    }
}

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// The variables that are meant for the agent alone, and that no child sees.
pub fn private_variables() -> impl Iterator<Item = std::ffi::OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let text = name.to_string_lossy();
        text.starts_with("OTELET_") || matches!(&*text, "NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID")
    })
}

/// Takes a process off the list of those that somebody waits for.
struct Forget<'a>(&'a RefCell<BTreeSet<u32>>, u32);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(&self.1);
    }
}

/// How a collector's health is seen.
#[derive(Debug)]
pub enum Prober {
    /// Ask its `health_check`.
    HealthCheck {
        /// Where.
        address: SocketAddr,
        /// What is sent.
        request: String,
    },
    /// Listen to what it says by itself.
    SdNotify {
        /// Where it says it.
        socket: NotifySocket,
        /// What it said.
        heard: RefCell<Heard>,
    },
    /// See that it is there.
    Alive,
}

/// What a collector said on its notify socket.
#[derive(Debug, Default)]
pub struct Heard {
    ready: bool,
    watchdog: Option<Instant>,
}

impl Heard {
    fn take(&mut self, message: &str, now: Instant) {
        for line in message.lines() {
            match line {
                "READY=1" => self.ready = true,
                "WATCHDOG=1" => self.watchdog = Some(now),
                _ => {}
            }
        }
    }
}

impl Prober {
    fn witness(&self) -> decide::Witness {
        match self {
            Self::HealthCheck { .. } => decide::Witness::HealthCheck,
            Self::SdNotify { .. } => decide::Witness::SdNotify,
            Self::Alive => decide::Witness::Alive,
        }
    }

    /// Looks once.
    pub async fn probe(&self, pid: u32) -> Probe {
        if os::is_stopped(pid) {
            return Probe::Silent("its process is stopped".into());
        }
        match self {
            Self::HealthCheck { address, request } => ask_health(*address, request).await,
            Self::SdNotify { heard, .. } => {
                let Heard { ready, watchdog } = *heard.borrow();
                match watchdog {
                    _ if !ready => Probe::Silent("it has not said READY=1 yet".into()),
                    Some(last) if last.elapsed() > WATCHDOG => {
                        Probe::Silent("it does not say WATCHDOG=1 any more".into())
                    }
                    Some(_) | None => Probe::Healthy,
                }
            }
            Self::Alive => Probe::Healthy,
        }
    }
}

async fn ask_health(address: SocketAddr, request: &str) -> Probe {
    let mut answer = [0; 64];
    let answered = async { os::ask(address, request.as_bytes(), &mut answer).await.map_err(|error| error.to_string()) };
    let late = async {
        os::until(Instant::now() + PROBE_LIMIT).await;
        Err(format!("no answer within {}s", PROBE_LIMIT.as_secs()))
    };
    match answered.or(late).await {
        Err(why) => Probe::Silent(format!("health_check at {address}: {why}")),
        Ok(length) => match status_code(&answer[..length]) {
            Some("200") => Probe::Healthy,
            Some(code) => Probe::Unhealthy(format!("health_check at {address} answered {code}")),
            None => Probe::Silent(format!("health_check at {address}: what answers there does not speak HTTP")),
        },
    }
}

/// The status code in the first line of an HTTP/1 answer.
fn status_code(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer.get(..12)?).ok()?;
    let (version, code) = text.split_at(9);
    (version.starts_with("HTTP/1.") && code.bytes().all(|byte| byte.is_ascii_digit())).then_some(code)
}

fn start(command: &mut Command, program: &Path) -> Result<os::Child, String> {
    if let Some(why) = os::foreign(program) {
        return Err(why);
    }
    command.spawn().map_err(|error| os::describe_spawn_error(program, &error))
}

/// `code 1` or `signal 9`.
/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("code {code}"),
        // "signal: 9 (SIGKILL)" on Unix.
        None => status.to_string().replace("signal: ", "signal "),
    }
}

/// The version in `otelcol-contrib version 0.149.0`, or nothing.
fn version(said: &str) -> String {
    let line = said.lines().find(|line| line.contains(" version ")).unwrap_or_default();
    line.rsplit(' ')
        .next()
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit() || c == 'v'))
        .unwrap_or_default()
        .into()
}

/// Two TCP ports on loopback that were free a moment ago.
fn free_ports() -> std::io::Result<[u16; 2]> {
    // Both at a time, or they might be the same.
    let (one, other) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// The directories that a program is looked for in, those on PATH first.
fn places() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(os::collector_directories()).collect()
}

/// The first program in these directories whose name is wanted.
fn program_in<'a>(
    mut directories: impl Iterator<Item = &'a Path>,
    wanted: impl Fn(&std::ffi::OsStr) -> bool,
) -> Option<PathBuf> {
    directories.find_map(|directory| {
        let mut found: Vec<PathBuf> = fs::read_dir(directory)
            .ok()?
            .flatten()
            .filter(|entry| wanted(&os::program_name(&entry.file_name())))
            .map(|entry| entry.path())
            .filter(|path| os::is_program(path))
            .collect();
        found.sort();
        found.into_iter().next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_says_its_version() {
        assert_eq!(version("otelcol-contrib version 0.149.0\n"), "0.149.0");
        assert_eq!(version("otelcol version v1.2.3-dev\n"), "v1.2.3-dev");
        assert_eq!(version("flag provided but not defined\n"), "");
    }

    #[test]
    fn a_program_is_found_by_name_where_it_is_first_and_a_config_beside_it_is_none() {
        let top = std::env::temp_dir().join(format!("otelet-programs-{}", std::process::id()));
        let directories = ["absent", "one", "with space and \u{fc}"].map(|name| top.join(name));
        let file = |directory: &Path, name: &str| {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(name), "").unwrap();
            directory.join(name)
        };
        let suffix = std::env::consts::EXE_SUFFIX;
        let first = file(&directories[1], &format!("otelcol-b{suffix}"));
        let plain = file(&directories[2], &format!("otelcol{suffix}"));
        file(&directories[2], &format!("otelcol-a{suffix}"));
        let find = |wanted: &dyn Fn(&str) -> bool| {
            program_in(directories.iter().map(PathBuf::as_path), |name| wanted(name.to_str().unwrap()))
        };

        assert_eq!(find(&|name| name == "otelcol"), Some(plain));
        assert_eq!(find(&|name| name.starts_with("otelcol-")), Some(first));
        assert_eq!(find(&|name| name == "otelcol-contrib"), None);
        fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn only_an_http_answer_has_a_status_code() {
        assert_eq!(status_code(b"HTTP/1.1 200 OK\r\n"), Some("200"));
        assert_eq!(status_code(b"HTTP/1.0 503 Service"), Some("503"));
        assert_eq!(status_code(b"SSH-2.0-OpenSSH_9.2"), None);
        assert_eq!(status_code(b"HTTP/1.1"), None);
    }

    #[test]
    fn a_collector_that_says_ready_and_watchdog_is_heard() {
        let mut heard = Heard::default();
        heard.take("READY=1\nSTATUS=running", Instant::now());
        assert!(heard.ready && heard.watchdog.is_none());
        heard.take("WATCHDOG=1", Instant::now());
        assert!(heard.watchdog.is_some());
    }
}
