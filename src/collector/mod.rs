//! Finds the collector, has it validate configs, starts and probes it, passes its output on, and reports its end.
//!
//! All of this runs on the main thread: a child ends with the thread that started it.

mod find;
mod probe;
mod running;

pub use probe::Prober;
pub use running::Running;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smol::future::{self, FutureExt as _};

use crate::log::{Relay, Tail};
use crate::os::{self, Adoption, Command, Launch, NotifySocket, Output};
use crate::settings::{CollectorLog, CollectorSettings};
use crate::store::{self, Binary, Store};
use otelet_config::{self as config, Capabilities, Inspection, Overlay, Witness};
use otelet_core::decide::{Additions, Child, ConfigHash, EngineUse, SpawnFailure, Verdict};
use otelet_core::telemetry::HostIdentity;

/// The environment variable by which an agent recognises a collector that an earlier agent left.
pub const MARKER: &str = "OTELET_COLLECTOR_OF";

/// The agent's instance uid, for configs to use.
const INSTANCE_UID: &str = "OTELET_INSTANCE_UID";

/// The variables that the built-in configs of `targets/` use. Other configs may use them too.
const DIRECTORY: &str = "OTELET_COLLECTOR_DIR";
/// The name of that directory in the state directory.
pub const DIRECTORY_NAME: &str = "collector";
const EXPORTER: &str = "OTELET_EXPORTER";

/// The file in the runtime directory that is passed beside the built-in config.
const MORE: &str = "more.yaml";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Time limit for the collector's own `validate`.
const VALIDATE_LIMIT: Duration = Duration::from_secs(60);

/// How much of the end of an answer is kept, in bytes: an error comes last.
const LAST_WORDS_KEPT: usize = 8 * 1024;

/// The same for the list of components: the largest distributions print some 60 KB.
const COMPONENTS_KEPT: usize = 256 * 1024;

/// Everything that is needed to start a collector, or to ask it something.
#[derive(Debug, Clone)]
pub struct Launcher {
    pub settings: CollectorSettings,
    /// Resource attributes that the collector reports.
    pub identity: Vec<(String, String)>,
    /// The agent's instance uid, for configs.
    pub instance_uid: String,
    /// The host's identity, for configs.
    pub host: HostIdentity,
    /// The mount point of the host's root, for configs.
    pub host_root: PathBuf,
    /// The socket of the watched Docker engine, for configs.
    pub engine: Option<PathBuf>,
    /// The value of [`MARKER`].
    pub marker: String,
    /// Holds the bodies of configs.
    pub store: Store,
    /// Holds overlays and sockets.
    pub runtime_dir: PathBuf,
    /// The body that was inspected last: a restart need not parse it again.
    pub inspected: Rc<RefCell<Option<(ConfigHash, Inspection)>>>,
    /// Processes that a task waits for. PID 1 must not reap them.
    pub children: Rc<RefCell<BTreeSet<u32>>>,
    /// Whether the collector takes the agent's exports.
    pub takes_exports: bool,
}

impl Launcher {
    /// The program, by `collector.path` or found on PATH.
    ///
    /// # Errors
    ///
    /// In words, if there is none.
    pub fn program(&self) -> Result<PathBuf, String> {
        find::program(&self.settings.path)
    }

    /// Path, size and time of change of the binary: they tell it from another one without running it.
    pub fn stamp(&self) -> Option<String> {
        let program = self.program().ok()?;
        let metadata = fs::metadata(&program).ok()?;
        let changed = metadata.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(format!("{} {} {}.{:09}", program.display(), metadata.len(), changed.as_secs(), changed.subsec_nanos()))
    }

    /// Asks the collector for its version and for its health extensions.
    ///
    /// # Errors
    ///
    /// In words, if it cannot be asked.
    pub async fn binary(&self) -> Result<Binary, String> {
        let stamp = self.stamp().unwrap_or_default();
        let (_, output) = self.ask(&["--version".as_ref()], LAST_WORDS_KEPT).await?;
        let version = version(&String::from_utf8_lossy(&output));
        Ok(Binary { stamp, version, capabilities: self.capabilities().await? })
    }

    /// Asks the collector for its components. It prints YAML, some kilobytes.
    ///
    /// # Errors
    ///
    /// In words, if it cannot be asked.
    pub async fn components(&self) -> Result<String, String> {
        let (status, output) = self.ask(&["components".as_ref()], COMPONENTS_KEPT).await?;
        match status.success() {
            true => Ok(String::from_utf8_lossy(&output).into_owned()),
            false => Err(config::last_words(&output)),
        }
    }

    async fn capabilities(&self) -> Result<Capabilities, String> {
        let path = self.runtime_dir.join("capabilities.yaml");
        self.write_for_collector(&path, config::PROBE_CONFIG.as_bytes())?;
        let (_, output) =
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
        Ok(Capabilities { more, ..config::capabilities(&String::from_utf8_lossy(&output)) })
    }

    /// Whether there is a file to pass beside the built-in config and the collector takes it. The error is its reason.
    async fn takes_more(&self) -> Result<bool, String> {
        if os::BUILT_IN_MORE.is_empty() {
            return Ok(false);
        }
        let [built_in, more] = ["built-in.yaml", MORE].map(|name| self.runtime_dir.join(name));
        self.write_for_collector(&built_in, os::BUILT_IN.as_bytes())?;
        self.write_for_collector(&more, os::BUILT_IN_MORE.as_bytes())?;
        let arguments =
            ["validate".as_ref(), "--config".as_ref(), built_in.as_os_str(), "--config".as_ref(), more.as_os_str()];
        let (status, output) = self.ask(&arguments, LAST_WORDS_KEPT).await?;
        let _ = fs::remove_file(&built_in);
        let _ = fs::remove_file(&more);
        if status.success() { Ok(true) } else { Err(config::last_words(&output)) }
    }

    /// Whether [`MORE`] can be passed beside this body: the body is the built-in config of a host, and the collector takes
    /// the file.
    fn has_more(&self, hash: ConfigHash, capabilities: Capabilities) -> bool {
        capabilities.more && hash == otelet_config::hash(os::BUILT_IN.as_bytes())
    }

    /// Writes the file that is passed beside the built-in config.
    fn more(&self) -> Result<PathBuf, String> {
        let path = self.runtime_dir.join(MORE);
        self.write_for_collector(&path, os::BUILT_IN_MORE.as_bytes())?;
        Ok(path)
    }

    /// Has the collector validate a kept body with the overlay that it would run with, and without `collector.args`.
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
        let more = self.has_more(hash, capabilities).then(|| self.more()).transpose()?;
        if let Some(path) = &more {
            arguments.extend(["--config".as_ref(), path.as_os_str()]);
        }
        let (status, output) = self.ask(&arguments, LAST_WORDS_KEPT).await?;
        let _ = fs::remove_file(&overlay_path);
        if status.success() {
            return Ok(Verdict::Passed);
        }
        let words = config::last_words(&output);
        match status.code() {
            Some(_) if !words.is_empty() => Ok(Verdict::Refused(words)),
            Some(code) => Ok(Verdict::Refused(format!("validate ended with code {code} and said nothing"))),
            // The kernel may have run out of memory, or a person ended it: the config is not to blame.
            None => Err(format!("validate was ended by {}", describe(status))),
        }
    }

    /// Starts the collector on a kept body, `without_engine` without the receivers that read a Docker engine.
    ///
    /// # Errors
    ///
    /// [`SpawnFailure`] if anything is missing for it; a later attempt may work.
    pub fn spawn(
        &self,
        hash: ConfigHash,
        without_engine: bool,
        without_additions: bool,
        capabilities: Capabilities,
        now: Instant,
    ) -> Result<Running, SpawnFailure> {
        self.spawn_or(hash, without_engine, without_additions, capabilities, now)
            .map_err(|reason| SpawnFailure { reason })
    }

    fn spawn_or(
        &self,
        hash: ConfigHash,
        without_engine: bool,
        without_additions: bool,
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
        let additions = match (self.has_more(hash, capabilities), without_additions) {
            (false, _) => Additions::Unused,
            (true, true) => Additions::LeftOut,
            (true, false) => {
                command.arg("--config").arg(self.more()?);
                Additions::Given
            }
        };
        command.args(&self.settings.args);
        let intake = overlay.intake;
        // Only the receivers of our overlay have ports that were picked here.
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
                command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", probe::WATCHDOG.as_micros().to_string());
                (Prober::SdNotify { socket, state: RefCell::default() }, None)
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
            child: Child { pid, witness: probe.witness(), engine, additions },
            probe: Rc::new(probe),
            tail: Rc::default(),
            relay: Rc::new(RefCell::new(relay)),
            intake,
            process,
            output,
            ports,
        })
    }

    fn overlay(&self, inspected: &Inspection, mut capabilities: Capabilities) -> Overlay {
        // A host without loopback, or without a free port, still gets its collector, watched less well.
        let ports = free_ports().inspect_err(|error| log::warn!("no port on 127.0.0.1 for a health_check: {error}"));
        capabilities.health_check &= ports.is_ok();
        capabilities.sd_notify &= os::HAS_SD_NOTIFY;
        capabilities.otlp &= ports.is_ok() && self.takes_exports;
        config::overlay(inspected, capabilities, ports.unwrap_or_default(), &self.identity)
    }

    /// Checks the hash of a kept body, and inspects it for the overlay.
    fn inspect(&self, hash: ConfigHash) -> Result<Result<Inspection, String>, String> {
        let body = self.store.verify(hash).map_err(|error| error.chain())?;
        if let Some((known, inspected)) = &*self.inspected.borrow()
            && *known == hash
        {
            return Ok(Ok(inspected.clone()));
        }
        let inspected = config::inspect(&body).map_err(|refusal| refusal.to_string());
        if let Ok(inspected) = &inspected {
            *self.inspected.borrow_mut() = Some((hash, inspected.clone()));
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
        // The agent's own variables: the socket of its service manager, and its settings, which may be secret.
        for name in private_variables() {
            command.env_remove(name);
        }
        command.env(MARKER, &self.marker).env(INSTANCE_UID, &self.instance_uid);
        // Never empty: the collector would refuse a built-in config. A container image has no machine-id, for example.
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
            // The Go runtime collects garbage harder near this soft limit. The last tenth is for memory that Go does not
            // count.
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

    /// A directory that the collector keeps over restarts. If it cannot be made, the collector reports that when it uses it.
    fn directory(&self) -> PathBuf {
        let directory = self.store.dir().join(DIRECTORY_NAME);
        let user = self.user().unwrap_or_default();
        let made = os::directory_for(&directory, user).and_then(|()| os::let_pass(self.store.dir(), user));
        if let Err(error) = made {
            log::debug!("{}: cannot be made for the collector: {error}", directory.display());
        }
        directory
    }

    /// The exporter of the built-in configs: nothing is sent before an endpoint is set.
    fn exporter(&self) -> &'static str {
        let set = self.settings.env.iter().any(|(name, _)| name == ENDPOINT);
        if set || std::env::var_os(ENDPOINT).is_some() { "otlphttp" } else { "debug" }
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

fn or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

/// The environment variables that are meant for the agent alone. No child gets them.
pub fn private_variables() -> impl Iterator<Item = std::ffi::OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let text = name.to_string_lossy();
        text.starts_with("OTELET_") || matches!(&*text, "NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID")
    })
}

/// Takes a process off the list of those that a task waits for.
struct Forget<'a>(&'a RefCell<BTreeSet<u32>>, u32);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().remove(&self.1);
    }
}

fn start(command: &mut Command, program: &Path) -> Result<os::Child, String> {
    if let Some(why) = os::foreign(program) {
        return Err(why);
    }
    command.spawn().map_err(|error| os::describe_spawn_error(program, &error))
}

/// How a process ended, in words: `code 1` or `signal 9`.
pub fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("code {code}"),
        // "signal: 9 (SIGKILL)" on Unix.
        None => status.to_string().replace("signal: ", "signal "),
    }
}

/// The version in `otelcol-contrib version 0.149.0`, or nothing.
fn version(output: &str) -> String {
    let line = output.lines().find(|line| line.contains(" version ")).unwrap_or_default();
    line.rsplit(' ')
        .next()
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit() || c == 'v'))
        .unwrap_or_default()
        .into()
}

/// Two TCP ports on loopback that were free a moment ago.
fn free_ports() -> std::io::Result<[u16; 2]> {
    // Both at a time, or they might be the same.
    // An address and no text: the C library's search for names stays out of the program.
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
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
}
