//! `cargo xtask collector`: finds a Collector to work with, or makes one, and says which way it took.
//!
//! The ways, in order: `OTELET_COLLECTOR`, `otelcol*` on PATH, the cache in `target/collector/`, an official release
//! of a pinned version, a build from Go modules. A way that does not serve says why on stderr, and the next is tried.

mod platform;
mod release;
mod small;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::collector::platform::Platform;
use crate::collector::small::{Distribution, Recipe};
use crate::command::run_within;
use crate::{Failure, Flags, console, places};

/// How long a Collector may take to print its version or to validate a small config, on a busy small machine.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// The config that any Collector taken here has to run: host metrics out through OTLP/JSON, and the health check.
const PROBE_CONFIG: &str = "\
receivers:
  hostmetrics:
    scrapers: {memory: {}}
exporters:
  otlphttp: {endpoint: 'http://127.0.0.1:4318', encoding: json}
extensions:
  health_check: {endpoint: '127.0.0.1:13133'}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines:
    metrics: {receivers: [hostmetrics], exporters: [otlphttp]}
";

/// The Collector to find.
struct Options {
    platform: Platform,
    /// Only this distribution of `targets/collector`.
    only: Option<Distribution>,
}

impl Options {
    /// The recipe of a build.
    fn recipe(&self) -> Result<Recipe, String> {
        Recipe::read(self.only.unwrap_or(Distribution::Small))
    }
}

/// Runs the verb: prints the path as the last line of stdout, everything else on stderr.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let mut options = Options { platform: Platform::here(), only: None };
    let mut flags = Flags::new("collector", args);
    while let Some(name) = flags.next_name() {
        match name {
            "--target" => {
                options.platform = Platform::of_rust_target(flags.value(name)?).map_err(Failure::Usage)?;
            }
            "--small" => options.only = Some(Distribution::Small),
            "--kubernetes" => options.only = Some(Distribution::Kubernetes),
            "--pin" => return Ok(release::pin()?),
            _ => return Err(flags.unknown(name)),
        }
    }
    let path = look(&options)?;
    println!("{}", path.display());
    Ok(())
}

/// A Collector for this machine, by whichever way serves.
///
/// # Errors
///
/// The way out, after each way has printed on stderr why it failed.
pub fn find() -> Result<PathBuf, String> {
    look(&Options { platform: Platform::here(), only: None })
}

/// The distribution for Kubernetes, by whichever way serves.
///
/// # Errors
///
/// As for [`find`].
pub fn for_kubernetes() -> Result<PathBuf, String> {
    look(&Options { platform: Platform::here(), only: Some(Distribution::Kubernetes) })
}

/// The small distribution for the machine that a Rust target stands for.
///
/// # Errors
///
/// As for [`find`], or that no Collector is known for the target.
pub fn small_for(target: &str) -> Result<PathBuf, String> {
    look(&Options { platform: Platform::of_rust_target(target)?, only: Some(Distribution::Small) })
}

type Way = (&'static str, fn(&Options) -> Result<PathBuf, String>);

const WAYS: [Way; 5] = [
    ("OTELET_COLLECTOR", named),
    ("otelcol* on PATH", on_path),
    ("cache", cached),
    ("official release", released),
    ("build from Go modules", built),
];

fn look(options: &Options) -> Result<PathBuf, String> {
    let paint = console::stderr();
    for (name, way) in WAYS {
        let started = Instant::now();
        match way(options) {
            Ok(path) => {
                let size = fs::metadata(&path).map_or(0, |file| file.len());
                eprintln!(
                    "collector: {}",
                    paint.green(&format!(
                        "{name}: taken, {}, in {}",
                        console::bytes(size),
                        console::seconds(started.elapsed())
                    ))
                );
                return Ok(path);
            }
            Err(reason) => eprintln!("collector: {}", paint.dim(&format!("{name}: {reason}"))),
        }
    }
    Err(format!(
        "no Collector for {} to be had by any of {} ways; name one with OTELET_COLLECTOR, install otelcol, \
         or install Go 1.25 or newer",
        options.platform.name(),
        WAYS.len()
    ))
}

fn named(options: &Options) -> Result<PathBuf, String> {
    let value = std::env::var_os("OTELET_COLLECTOR").ok_or("not set")?;
    if options.only.is_some() || !options.platform.is_here() {
        return Err("set, but not what was asked for".to_owned());
    }
    let path = std::path::absolute(&value).map_err(|cause| format!("{value:?}: {cause}"))?;
    probe(&path)
}

fn on_path(options: &Options) -> Result<PathBuf, String> {
    if options.only.is_some() || !options.platform.is_here() {
        return Err("not what was asked for".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut reasons = Vec::new();
    for dir in std::env::split_paths(&path) {
        let mut names: Vec<String> = fs::read_dir(&dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("otelcol") && name.ends_with(std::env::consts::EXE_SUFFIX))
            .collect();
        names.sort();
        for name in names {
            match probe(&dir.join(name)) {
                Ok(found) => return Ok(found),
                Err(reason) => reasons.push(reason),
            }
        }
    }
    Err(if reasons.is_empty() { "none".to_owned() } else { reasons.join("; ") })
}

fn cached(options: &Options) -> Result<PathBuf, String> {
    let recipe = options.recipe()?;
    let ours = recipe.place(&options.platform);
    let release = release::place(&recipe.version, &options.platform);
    let found = [options.only.is_none().then_some(release), Some(ours)]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("nothing for {} yet", options.platform.name()))?;
    serve(options, found)
}

fn released(options: &Options) -> Result<PathBuf, String> {
    if options.only.is_some() {
        return Err("not a distribution of ours".to_owned());
    }
    let version = options.recipe()?.version;
    let place = release::place(&version, &options.platform);
    let guard = Guard::take()?;
    release::fetch(&version, &options.platform, &guard, &place)?;
    serve(options, place)
}

fn built(options: &Options) -> Result<PathBuf, String> {
    let recipe = options.recipe()?;
    let place = recipe.place(&options.platform);
    let guard = Guard::take()?;
    // Another process may have built it while this one waited for its turn.
    if !place.is_file() {
        recipe.build(&options.platform, &guard, &place)?;
    }
    serve(options, place)
}

/// A file made here for this machine must also run here; one for another machine is taken as it is.
fn serve(options: &Options, path: PathBuf) -> Result<PathBuf, String> {
    if options.platform.is_here() { probe(&path) } else { Ok(path) }
}

/// Returns `path` if it is a Collector that runs on this machine and has what is needed here.
fn probe(path: &Path) -> Result<PathBuf, String> {
    let doubt = |reason: String| format!("{}: {reason}", path.display());
    if !path.is_file() {
        return Err(doubt("no such file".to_owned()));
    }
    let components = run_within("asking for components", Command::new(path).arg("components"), Some(PROBE_LIMIT))?;
    if !components.ok() || !components.stdout.contains("receivers:") {
        return Err(doubt("not a Collector: it lists no components".to_owned()));
    }
    let config = std::env::temp_dir().join(format!("otelet-probe-{}.yaml", std::process::id()));
    fs::write(&config, PROBE_CONFIG).map_err(|cause| format!("{}: cannot write: {cause}", config.display()))?;
    let validated = run_within(
        "validating a small config",
        Command::new(path).arg("validate").arg(format!("--config={}", config.display())),
        Some(PROBE_LIMIT),
    );
    fs::remove_file(&config).ok();
    match validated {
        Ok(ran) if ran.ok() => Ok(path.to_path_buf()),
        Ok(ran) => Err(doubt(format!("does not serve: {}", ran.last_words()))),
        Err(reason) => Err(reason),
    }
}

/// The directory that Collectors are kept in.
fn cache() -> PathBuf {
    places::target().join("collector")
}

/// The right to put something into the cache: one process at a time, and a scratch directory that is renamed into
/// place when it is whole. An interrupted one leaves a scratch directory, which the next one removes.
struct Guard {
    scratch: PathBuf,
    _lock: File,
}

impl Guard {
    fn take() -> Result<Guard, String> {
        let cache = cache();
        let cannot = |cause| format!("{}: cannot write: {cause}", cache.display());
        fs::create_dir_all(&cache).map_err(cannot)?;
        let lock = File::create(cache.join("lock")).map_err(cannot)?;
        if lock.try_lock().is_err() {
            eprintln!("collector: another process is filling the cache; waiting for it");
            lock.lock().map_err(cannot)?;
        }
        let scratch = cache.join("scratch");
        if scratch.exists() {
            fs::remove_dir_all(&scratch).map_err(cannot)?;
        }
        fs::create_dir(&scratch).map_err(cannot)?;
        Ok(Guard { scratch, _lock: lock })
    }

    /// Moves the finished `file` of the scratch directory to `place`.
    fn keep(&self, file: &str, place: &Path) -> Result<(), String> {
        let cannot = |cause| format!("{}: cannot write: {cause}", place.display());
        let folder = place.parent().expect("a place in the cache has a folder");
        fs::create_dir_all(folder).map_err(cannot)?;
        fs::rename(self.scratch.join(file), place).map_err(cannot)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.scratch).ok();
    }
}
