//! Finds the collector, has it validate configs, starts and probes it, passes its output on, and reports its end.
//!
//! All of this runs on the main thread: a child ends with the thread that started it.

mod find;
mod local;
mod loopback;
mod probe;
mod running;

pub use local::{is_same, look};
pub use probe::Prober;
pub use running::Running;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use smol::future::{self, FutureExt as _};

use crate::log::{Relay, Tail};
use crate::os::{self, Adoption, Command, Launch, NotifySocket, Output};
use crate::settings::{CollectorLog, CollectorSettings};
use crate::store::{self, Binary, Layers, LocalFile, Store, StoreError};
use otelet_config::{self as config, Capabilities, Destination, Inspection, Loopback, Overlay, Refusal, Witness};
use otelet_core::decide::{Additions, Child, ConfigHash, EngineUse, SpawnFailure, Verdict};
use otelet_core::telemetry::HostIdentity;
use otelet_core::units::format_time;

/// The environment variable by which an agent recognises a collector that an earlier agent left.
pub const MARKER: &str = "OTELET_COLLECTOR_OF";

/// The environment variable by which everything is recognised that one run of the collector has started.
const RUN: &str = "OTELET_COLLECTOR_RUN";

/// The agent's instance uid, for configs to use.
const INSTANCE_UID: &str = "OTELET_INSTANCE_UID";

/// The variables that the built-in configs of `targets/` use. Other configs may use them too.
const DIRECTORY: &str = "OTELET_COLLECTOR_DIR";
const EXPORTER: &str = "OTELET_EXPORTER";
/// Its value if there is no backend.
const NO_EXPORTER: &str = "debug";

/// The file in the runtime directory that is passed beside the built-in config.
const MORE: &str = "more.yaml";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Counts the runs of this agent.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// The cgroups that `collector.memory_limit` limits: of the collector that runs, and of one that is asked something. With
/// one group for both, a validation could end the collector that runs.
const GROUP: &str = "otelet-collector";
const QUESTIONS_GROUP: &str = "otelet-questions";

/// How much of the end of an answer is kept, in bytes: an error comes last.
const LAST_WORDS_KEPT: usize = 8 * 1024;

/// The same for the list of components: the largest distributions print some 60 KB.
const COMPONENTS_KEPT: usize = 256 * 1024;

/// The section that the agent adds to the list of components.
pub const VALID_VALUES: &str = "valid_values";

/// A mark that tells the program on disk from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Of the file that a start would run.
    pub file: String,
    /// The same with everything else that its answers may depend on.
    pub all: String,
}

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
    /// The files of `collector.local`, as the collector gets them.
    pub layers: Rc<RefCell<Layers>>,
    /// The address of the collector's own metrics that was logged last.
    pub reader: Rc<Cell<Option<SocketAddr>>>,
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

    /// The program on disk: what tells it from another one without running it. None if there is none.
    pub fn stamp(&self) -> Option<Stamp> {
        let program = self.program().ok()?;
        let (content, status) = os::stamp(&program).ok()?;
        // A feature gate may change its answers.
        let mut asked = DefaultHasher::new();
        self.settings.args.hash(&mut asked);
        let file = format!("{} {content}", program.display());
        let all = format!("{file} {status} {:016x}", asked.finish());
        Some(Stamp { file, all })
    }

    /// Asks the collector for its version and for its health extensions.
    ///
    /// # Errors
    ///
    /// In words, if it cannot be asked.
    pub async fn binary(&self) -> Result<Binary, String> {
        let stamp = self.stamp().map(|stamp| stamp.all).unwrap_or_default();
        let (_, output) = self.ask(&["--version".as_ref()], LAST_WORDS_KEPT).await?;
        let (name, version) = name_and_version(&String::from_utf8_lossy(&output));
        Ok(Binary { stamp, behind: Vec::new(), name, version, capabilities: self.capabilities().await? })
    }

    /// Asks the collector for its components. It prints YAML, some kilobytes. A last section, [`VALID_VALUES`], has the
    /// names that it takes: `components` leaves out every component that has an old name beside its new one.
    ///
    /// # Errors
    ///
    /// In words, if it cannot be asked.
    pub async fn components(&self) -> Result<String, String> {
        let (status, output) = self.ask(&["components".as_ref()], COMPONENTS_KEPT).await?;
        if !status.success() {
            return Err(config::last_words(&output));
        }
        let mut printed = String::from_utf8_lossy(&output).into_owned();
        match self.valid_values().await {
            Ok(valid) => printed += &valid,
            Err(why) => log::debug!("the collector's components are as it prints them: {why}"),
        }
        Ok(printed)
    }

    /// The names that the collector takes, as YAML.
    async fn valid_values(&self) -> Result<String, String> {
        let path = self.runtime_dir.join("components.yaml");
        self.write_for_collector(&path, config::COMPONENTS_PROBE.as_bytes())?;
        let asked = self.ask(&["validate".as_ref(), "--config".as_ref(), path.as_os_str()], COMPONENTS_KEPT).await;
        let _ = fs::remove_file(&path);
        let (_, output) = asked?;
        let output = String::from_utf8_lossy(&output);
        let mut text = format!("{VALID_VALUES}:\n");
        for section in ["receivers", "processors", "exporters", "connectors", "extensions"] {
            let mut names: Vec<_> =
                config::valid_values(&output, section).map(|name| config::quoted(name, false)).collect();
            names.sort();
            text += &format!("    {section}: [{}]\n", names.join(", "));
        }
        Ok(text)
    }

    async fn capabilities(&self) -> Result<Capabilities, String> {
        let path = self.runtime_dir.join("capabilities.yaml");
        self.write_for_collector(&path, config::PROBE_CONFIG.as_bytes())?;
        let (_, output) = self.ask(&["validate".as_ref(), "--config".as_ref(), &uri(&path)], LAST_WORDS_KEPT).await?;
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
        let (first, second) = (uri(&built_in), uri(&more));
        let arguments = ["validate".as_ref(), "--config".as_ref(), &*first, "--config".as_ref(), &second];
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

    /// Has the collector validate a kept body with the overlay and the arguments that it would run with.
    pub async fn validate(&self, hash: ConfigHash, capabilities: Capabilities) -> Verdict {
        match self.validate_or(hash, capabilities).await {
            Ok(verdict) => verdict,
            Err(why) => Verdict::Unable(why),
        }
    }

    async fn validate_or(&self, hash: ConfigHash, capabilities: Capabilities) -> Result<Verdict, String> {
        let (before, paths) = (self.layers.borrow().clone(), &self.settings.local);
        let seen = local::look(paths);
        let (mut files, mut blamed) = local::read_all(paths, &before);
        let mut verdict = self.validate_with(hash, capabilities, &files).await?;
        if let Verdict::Refused(why) = &verdict {
            // An offered config that the collector takes without one of them keeps its place.
            for (choice, paths) in local::other_choices(&files, &before) {
                if self.validate_with(hash, capabilities, &choice).await? == Verdict::Passed {
                    blamed.extend(paths.into_iter().map(|path| (path, why.clone())));
                    (files, verdict) = (choice, Verdict::Passed);
                    break;
                }
            }
        }
        if verdict != Verdict::Passed {
            return Ok(verdict);
        }
        let mut complaints = before.blamed;
        for (path, why) in blamed {
            let (path, is_used) = (path.display(), files.iter().any(|file| file.path == path));
            let how = if is_used { "as it was before" } else { "left out" };
            let complaint = format!("collector.local: {path}: {why}; until it is mended, it is {how}");
            if complaints.insert(complaint.clone()) {
                log::warn!("{complaint}");
            }
        }
        *self.layers.borrow_mut() = Layers { config: hash.hex(), seen, files, blamed: complaints };
        Ok(verdict)
    }

    /// Has the collector validate a kept body with these files of the host before it.
    async fn validate_with(
        &self,
        hash: ConfigHash,
        capabilities: Capabilities,
        files: &[LocalFile],
    ) -> Result<Verdict, String> {
        let inspected = match self.inspect(hash, files) {
            Ok(Ok(inspected)) => inspected,
            Ok(Err(refusal)) => return Ok(Verdict::Refused(refusal)),
            Err(error) if error.is_loss() => return Ok(Verdict::Lost(error.chain())),
            Err(error) => return Err(error.chain()),
        };
        let body = uri(&self.store.config_path(hash));
        let (overlay, _) = self.overlay(&inspected, capabilities, false);
        let mut temporary = self.write_layers("validate-local", files)?;
        let mut configs: Vec<OsString> = temporary.iter().map(|path| uri(path)).collect();
        configs.push(body);
        if !overlay.text.is_empty() {
            let path = self.runtime_dir.join("validate-overlay.yaml");
            self.write_for_collector(&path, overlay.text.as_bytes())?;
            temporary.push(path.clone());
            configs.push(uri(&path));
        }
        if self.has_more(hash, capabilities) {
            configs.push(uri(&self.more()?));
        }
        let flags = configs.iter().flat_map(|uri| ["--config".as_ref(), &**uri]);
        let arguments: Vec<&OsStr> = ["validate".as_ref()].into_iter().chain(flags).collect();
        let asked = self.ask(&arguments, LAST_WORDS_KEPT).await;
        temporary.iter().for_each(|path| drop(fs::remove_file(path)));
        let (status, output) = asked?;
        if status.success() {
            return Ok(Verdict::Passed);
        }
        let mut words = config::last_words(&output);
        if !inspected.has_pipelines && words.contains("pipeline") {
            words = format!("{}; the collector: {words}", Refusal::NoPipelines);
        }
        match status.code() {
            Some(_) if !words.is_empty() => Ok(Verdict::Refused(advised(words))),
            Some(code) => Ok(Verdict::Refused(format!("validate ended with code {code} and said nothing"))),
            // The kernel may have run out of memory, or a person ended it: the config is not to blame.
            None => Err(format!("validate was ended by {}", describe(status))),
        }
    }

    /// The files of the host that the next start gets.
    pub fn files(&self) -> Vec<LocalFile> {
        let mut files = self.layers.borrow().files.clone();
        files.retain(|file| self.settings.local.contains(&file.path) && !file.body.is_empty());
        files
    }

    /// Writes files of the host for the collector. Returns their places.
    fn write_layers(&self, name: &str, files: &[LocalFile]) -> Result<Vec<PathBuf>, String> {
        let files = files.iter().filter(|file| !file.body.is_empty());
        let places = files.enumerate().map(|(number, file)| {
            let path = self.runtime_dir.join(format!("{name}-{number}.yaml"));
            self.write_for_collector(&path, file.body.as_bytes())?;
            Ok(path)
        });
        places.collect()
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
        let mut files = self.files();
        let can_leave_out = self.has_more(hash, capabilities) || !files.is_empty();
        if without_additions {
            files.clear();
        }
        let inspected = self.inspect(hash, &files).map_err(|error| error.chain())??;
        let (engine, inspected) = match (inspected.engine.is_empty(), without_engine) {
            (true, _) => (EngineUse::Unused, inspected),
            (false, false) => (EngineUse::Read, inspected),
            (false, true) => (EngineUse::LeftOut, inspected.without_engine()),
        };
        let (overlay, reader) = self.overlay(&inspected, capabilities, true);
        let body = self.store.config_path(hash);
        self.let_collector_read(&body)?;
        let program = self.program()?;
        let (mut command, output, adoption) = self.command(&program, GROUP)?;
        for path in self.write_layers("local", &files)? {
            command.arg("--config").arg(uri(&path));
        }
        command.arg("--config").arg(uri(&body));
        if !overlay.text.is_empty() {
            let path = self.runtime_dir.join("overlay.yaml");
            self.write_for_collector(&path, overlay.text.as_bytes())?;
            command.arg("--config").arg(uri(&path));
        }
        let additions = match (can_leave_out, without_additions) {
            (false, _) => Additions::Unused,
            (true, true) => Additions::LeftOut,
            (true, false) => Additions::Given,
        };
        if self.has_more(hash, capabilities) && !without_additions {
            command.arg("--config").arg(uri(&self.more()?));
        }
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
                let address = SocketAddr::new(address, port);
                let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
                let ours = inspected.health_check.is_none().then_some(port);
                (Prober::HealthCheck { address, request }, ours)
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
        let run = format!("{}.{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        command.env(RUN, &run);
        ports.extend(reader.map(|address| address.port()));
        if let Some(address) = reader
            && self.reader.replace(reader) != reader
        {
            log::info!(
                "localhost:8888 cannot be used here; the collector's own metrics are at http://{address}/metrics"
            );
        }
        let process = start(&mut command, &program)?;
        // The writing ends of the pipe are in the command: the end of output is seen only when they are closed.
        drop(command);
        let pid = process.id();
        adoption.adopt(pid);
        self.children.borrow_mut().insert(pid);
        let relay = Relay::new(self.settings.log == CollectorLog::Pass, self.settings.log_rate, now);
        Ok(Running {
            child: Child { pid, program: program.display().to_string(), witness: probe.witness(), engine, additions },
            probe: Rc::new(probe),
            tail: Rc::default(),
            relay: Rc::new(RefCell::new(relay)),
            intake,
            files,
            mark: format!("{RUN}={run}"),
            process,
            output,
            ports,
        })
    }

    /// The overlay for a body, and the address that it gives to the collector's own metrics. Only a start has such an
    /// address: while a config is validated, the collector that runs has the port.
    fn overlay(
        &self,
        inspected: &Inspection,
        mut capabilities: Capabilities,
        starts: bool,
    ) -> (Overlay, Option<SocketAddr>) {
        // A host without loopback, or without a free port, still gets its collector, watched less well.
        let found = loopback::find().inspect_err(|error| log::warn!("no port on loopback for a health_check: {error}"));
        capabilities.health_check &= found.is_ok();
        capabilities.sd_notify &= os::HAS_SD_NOTIFY;
        capabilities.otlp &= found.is_ok() && self.takes_exports;
        let mut loopback = found.unwrap_or(Loopback::from([0, 0]));
        if inspected.default_metrics_reader && starts {
            loopback.metrics = loopback::metrics(loopback.ip);
        }
        let overlay = config::overlay(inspected, capabilities, loopback, &self.identity);
        (overlay, loopback.metrics)
    }

    /// Checks the hash of a kept body, and inspects it for the overlay, on top of these files of the host.
    fn inspect(&self, hash: ConfigHash, files: &[LocalFile]) -> Result<Result<Inspection, String>, StoreError> {
        let body = self.store.verify(hash)?;
        if !files.is_empty() {
            if let Err(refusal) = config::inspect(&body) {
                return Ok(Err(refusal.to_string()));
            }
            let bodies = files.iter().map(|file| file.body.as_bytes()).chain([&body[..]]);
            let merged = config::merge::layered(bodies);
            return Ok(match merged {
                Ok(merged) => config::inspect(merged.as_bytes()).map_err(|refusal| refusal.to_string()),
                // The collector can merge them, and what the agent adds might replace a list.
                Err(why) => {
                    log::debug!("with collector.local nothing is added to config {hash}: {why}");
                    Ok(Inspection { has_pipelines: true, has_telemetry_resource: true, ..Inspection::default() })
                }
            });
        }
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

    /// Runs the collector for an answer, with the arguments that it runs with: a feature gate may decide about it. A
    /// command that does not know one of them is asked without that one.
    async fn ask(&self, question: &[&OsStr], keep: usize) -> Result<(ExitStatus, Vec<u8>), String> {
        let mut more = self.settings.args.clone();
        loop {
            let (status, output) = self.ask_with(question, &more, keep).await?;
            let left = (!status.success()).then(|| without_unknown(&String::from_utf8_lossy(&output), &more)).flatten();
            match left {
                Some(left) => {
                    log::debug!(
                        "{} is asked with {} of {} collector.args",
                        question[0].display(),
                        left.len(),
                        more.len()
                    );
                    more = left;
                }
                None => return Ok((status, output)),
            }
        }
    }

    async fn ask_with(
        &self,
        question: &[&OsStr],
        more: &[String],
        keep: usize,
    ) -> Result<(ExitStatus, Vec<u8>), String> {
        let program = self.program()?;
        let (mut command, output, _) = self.command(&program, QUESTIONS_GROUP)?;
        command.args(question).args(more).kill_on_drop(true);
        for argument in question {
            let path = Path::new(argument);
            if path.is_absolute() {
                self.let_collector_read(path)?;
            }
        }
        let mut process = start(&mut command, &program)?;
        drop(command);
        let pid = process.id();
        self.children.borrow_mut().insert(pid);
        let mut group = Group { children: &self.children, pid, ended: false };
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
            os::until(Instant::now() + self.settings.validate_timeout).await;
            None
        };
        let status = ended.or(late).await;
        match status {
            Some(Ok(status)) => {
                group.ended = true;
                Ok((status, tail.bytes()))
            }
            Some(Err(error)) => Err(format!("{}: {error}", program.display())),
            None => {
                let limit = format_time(self.settings.validate_timeout);
                Err(format!("{} did not answer within collector.validate_timeout {limit}", program.display()))
            }
        }
    }

    /// The collector's program with the environment and the limits that it runs in, and the pipe on which it prints.
    /// `group` is the name of the cgroup that limits its memory.
    fn command(&self, program: &Path, group: &str) -> Result<(Command, Output, Adoption), String> {
        let (output, ours) = os::output().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let theirs = ours.try_clone().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let mut command = std::process::Command::new(program);
        // The agent's own variables: the socket of its service manager, and its settings, which may be secret.
        for name in private_variables() {
            command.env_remove(name);
        }
        command.env(MARKER, &self.marker).env(INSTANCE_UID, &self.instance_uid);
        // Never empty: the collector would refuse a built-in config. A container image has no machine-id, for example.
        let (name, id) = (or(&self.host.name, "unknown"), or(&self.host.id, &self.instance_uid));
        command.env("OTELET_HOST_NAME", name).env("OTELET_HOST_ID", id);
        command.env("OTELET_HOST_ROOT", &self.host_root);
        if let Some(socket) = &self.engine {
            command.env("OTELET_DOCKER_SOCKET", socket);
            command.env("OTELET_DOCKER_ENDPOINT", endpoint(socket));
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
            launch.group = os::memory_group(limit, group).inspect_err(|why| self.tell_advised(why)).ok();
        }
        for (name, value) in &self.settings.env {
            command.env(name, value.expose());
        }
        let adoption = os::prepare(&mut command, launch);
        let mut command = Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::from(ours)).stderr(Stdio::from(theirs));
        Ok((command, output, adoption))
    }

    /// Says once that the kernel does not enforce the memory limit.
    fn tell_advised(&self, why: &str) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Ordering::Relaxed) {
            log::info!("collector.memory_limit is advised to the collector by GOMEMLIMIT and not enforced: {why}");
        }
    }

    /// A directory that the collector keeps over restarts. If it cannot be made, the collector reports that when it
    /// uses it.
    fn directory(&self) -> PathBuf {
        let directory = self.store.collector_dir();
        let user = self.user().unwrap_or_default();
        let made = os::directory_for(&directory, user).and_then(|()| os::let_pass(self.store.dir(), user));
        if let Err(error) = made {
            log::debug!("{}: cannot be made for the collector: {error}", directory.display());
        }
        directory
    }

    /// The exporter of the built-in configs: nothing is sent before an endpoint is set.
    /// Why nothing leaves this host by this config, if it was inspected last; none if something may.
    pub fn goes_nowhere(&self, hash: ConfigHash) -> Option<&'static str> {
        let inspected = self.inspected.borrow();
        let (_, inspected) = inspected.as_ref().filter(|(of, _)| *of == hash)?;
        // Arguments and files of the host may add exporters.
        if !self.settings.args.is_empty() || !self.settings.local.is_empty() {
            return None;
        }
        match inspected.destination {
            Destination::Nowhere => {
                Some("the exporters of the config are debug, file or nop alone; add one that sends")
            }
            Destination::Chosen if self.exporter() == NO_EXPORTER => Some(
                "no backend is set; set collector.env.OTEL_EXPORTER_OTLP_ENDPOINT to the URL of one, or config.url",
            ),
            Destination::Chosen | Destination::Elsewhere => None,
        }
    }

    fn exporter(&self) -> &'static str {
        // The setting counts before the variable. An empty value, as a template leaves it, counts as not set.
        let set =
            self.settings.env.iter().find(|(name, _)| name == ENDPOINT).map(|(_, value)| !value.expose().is_empty());
        if set.unwrap_or_else(|| std::env::var_os(ENDPOINT).is_some_and(|value| !value.is_empty())) {
            "otlphttp"
        } else {
            NO_EXPORTER
        }
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
        let mut passages = self.store.passages();
        passages.push(self.runtime_dir.clone());
        let pass = passages.iter().try_for_each(|directory| os::let_pass(directory, user));
        pass.and_then(|()| os::let_read(path, user))
            .map_err(|error| format!("{}: cannot be given to collector.run_as: {error}", path.display()))
    }
}

/// The words of a collector, with the next step if it is known.
pub fn advised(words: String) -> String {
    // A collector is started in the agent's own directory.
    let directory = std::env::current_dir().map(|here| here.display().to_string()).unwrap_or_default();
    let port_is_taken = os::says_port_is_taken(&words);
    let around = config::Surroundings { directory: &directory, listeners: os::LISTENERS, port_is_taken };
    config::advised(words, &around)
}

/// The file as the collector takes it in `--config`. It would read a path with a colon as a URI with a scheme.
fn uri(path: &Path) -> OsString {
    // The colon of a drive is no scheme for it.
    let has_colon = path.to_string_lossy().chars().skip(2).any(|c| c == ':');
    let mut uri = OsString::from(if has_colon { "file:" } else { "" });
    uri.push(path);
    uri
}

/// A Docker engine as the collector's receivers name it.
fn endpoint(socket: &Path) -> OsString {
    let text = socket.to_string_lossy();
    if text.starts_with("tcp://") {
        return socket.into();
    }
    // `\\.\pipe\docker_engine` is `npipe:////./pipe/docker_engine`.
    if text.starts_with(r"\\") {
        return format!("npipe://{}", text.replace('\\', "/")).into();
    }
    let mut endpoint = OsString::from("unix://");
    endpoint.push(socket);
    endpoint
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

/// The process group of a question. When nobody waits for the answer any more, all of it ends, also what a script has
/// started; and the process is taken off the list of those that a task waits for.
struct Group<'a> {
    children: &'a RefCell<BTreeSet<u32>>,
    pid: u32,
    /// Whether the process was waited for: then its number may be another one's.
    ended: bool,
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if !self.ended {
            os::kill_group(self.pid);
        }
        self.children.borrow_mut().remove(&self.pid);
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

/// The arguments without the flag that a command of the collector does not know, and without its value. None if the
/// output is about something else. Sources: pflag's words since 0.42, and those of Go's `flag` before.
fn without_unknown(output: &str, arguments: &[String]) -> Option<Vec<String>> {
    let words = ["unknown flag: ", "flag provided but not defined: ", "unknown shorthand flag: "];
    let (_, rest) = words.iter().find_map(|words| output.split_once(words))?;
    let line = rest.lines().next().unwrap_or_default();
    // "'x' in -xyz" of a shorthand.
    let flag = line.rsplit(' ').next().unwrap_or_default().trim_start_matches('-');
    let is_flag = |argument: &String| argument.starts_with('-');
    let names = |argument: &String| argument.trim_start_matches('-').split('=').next() == Some(flag);
    let at = arguments.iter().position(|argument| is_flag(argument) && names(argument))?;
    let value = arguments[at + 1..].iter().take_while(|argument| !is_flag(argument)).count();
    Some([&arguments[..at], &arguments[at + 1 + value..]].concat())
}

/// The two words in `otelcol-contrib version 0.149.0`, or nothing. The first is the `service.name` of the collector's own
/// telemetry.
fn name_and_version(output: &str) -> (String, String) {
    let found = output.lines().find_map(|line| line.split_once(" version "));
    let Some((before, after)) = found else { return Default::default() };
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit() || c == 'v');
    match after.split(' ').next_back().filter(is_version) {
        Some(version) => (before.split_whitespace().next_back().unwrap_or_default().into(), version.trim().into()),
        None => Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_leaves_out_only_what_the_collector_does_not_know() {
        let arguments = ["--feature-gates=+a", "--discovery", "x", "-v", "--feature-gates", "b"].map(str::to_owned);
        let left = |output| without_unknown(output, &arguments).map(|left| left.join(" "));
        let without_gates = "--discovery x -v --feature-gates b";
        assert_eq!(left("Error: unknown flag: --feature-gates\n").as_deref(), Some(without_gates));
        let without_discovery = "--feature-gates=+a -v --feature-gates b";
        assert_eq!(left("Error: unknown flag: --discovery\nusage: …\n").as_deref(), Some(without_discovery));
        assert_eq!(left("flag provided but not defined: -discovery\n").as_deref(), Some(without_discovery));
        let without_v = "--feature-gates=+a --discovery x --feature-gates b";
        assert_eq!(left("Error: unknown shorthand flag: 'v' in -v\n").as_deref(), Some(without_v));
        assert_eq!(left("Error: unknown flag: --other"), None, "not one of these arguments");
        assert_eq!(left("Error: service must have at least one pipeline"), None);
    }

    #[test]
    fn a_path_with_a_colon_is_no_scheme() {
        for (path, expected) in [
            ("/var/lib/otelet/a.yaml", "/var/lib/otelet/a.yaml"),
            ("/var/lib/otelet:2/a.yaml", "file:/var/lib/otelet:2/a.yaml"),
            (r"C:\ProgramData\otelet\a.yaml", r"C:\ProgramData\otelet\a.yaml"),
        ] {
            assert_eq!(uri(Path::new(path)), expected);
        }
    }

    #[test]
    fn an_engine_is_named_as_receivers_name_it() {
        for (socket, expected) in [
            ("/var/run/docker.sock", "unix:///var/run/docker.sock"),
            ("tcp://proxy:2375", "tcp://proxy:2375"),
            (r"\\.\pipe\docker_engine", "npipe:////./pipe/docker_engine"),
        ] {
            assert_eq!(endpoint(Path::new(socket)), expected);
        }
    }

    #[test]
    fn a_collector_says_its_name_and_version() {
        let said = |output: &str| {
            let (name, version) = name_and_version(output);
            format!("{name} {version}")
        };
        assert_eq!(said("otelcol-contrib version 0.149.0\n"), "otelcol-contrib 0.149.0");
        assert_eq!(said("2026 info\notelcol version v1.2.3-dev\n"), "otelcol v1.2.3-dev");
        assert_eq!(said("flag provided but not defined\n"), " ");
        assert_eq!(said("no such version is known\n"), " ");
    }
}
