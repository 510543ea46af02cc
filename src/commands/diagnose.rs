//! `otelet diagnose`: all information for support in one archive, without secrets. It works in any state: the archive
//! lists each part that could not be read, with the reason.
//!
//! Everything is gathered first, with every value that may be a secret: from the settings, from the environment, and
//! from each config. Then all of it goes through one [`Redactor`], so that a secret of a config is also removed from a
//! log.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use serde_json::Value;
use smol::LocalExecutor;

use otelet_wire::status::Status;

use crate::cli::Invocation;
use crate::collector::Launcher;
use crate::commands::status::{Size, screen};
use crate::commands::tar::Tar;
use crate::exit;
use crate::http;
use crate::observe::host;
use crate::os;
use crate::settings::{self, Flags, Settings, World};
use crate::status::{self, Diagnosis, Verb, secret_variables};
use crate::store::Store;
use otelet_config::redact::Redactor;
use otelet_core::telemetry::HostIdentity;
use otelet_core::text::unmarked;
use otelet_core::units;

/// The largest file that is read, in bytes. Larger configs are not shown anyway.
const MAX_SIZE: u64 = 4 << 20;

/// The most files of one directory.
const MAX_FILES: usize = 50;

/// The file that lists the missing parts, and why they are missing.
const MISSING: &str = "missing.txt";

/// How secrets are removed from a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// Lines: known values, and texts that look like a secret.
    Lines,
    /// YAML: also the values of keys with secret names.
    Yaml,
    /// JSON: as YAML, and each text as lines.
    Json,
}

/// A file of the archive, before secrets are removed.
#[derive(Debug)]
struct Piece {
    name: String,
    form: Form,
    text: String,
}

#[derive(Default)]
struct Contents {
    pieces: Vec<Piece>,
    secrets: Vec<String>,
    host: HostIdentity,
    /// The missing parts, and why they are missing.
    missing: Vec<String>,
}

/// Writes the archive and prints its content. Returns the exit status.
pub fn diagnose(invocation: &Invocation) -> u8 {
    let at = SystemTime::now();
    let contents = gather(&invocation.flags, &World::real());
    let name = archive_name(&contents.host.name, at);
    let files = redacted(contents);
    let mut tar = Tar::new(&name, at);
    for (file, text) in &files {
        tar.add(file, text.as_bytes());
    }
    let bytes = tar.finish();
    let named = invocation.output.clone().or_else(|| {
        let variable = std::env::var_os("OTELET_OUTPUT").filter(|value| !value.is_empty());
        variable.map(PathBuf::from)
    });
    let path = named.clone().unwrap_or_else(|| format!("{name}.tar").into());
    // A container may have no place for a file, and `docker exec` carries what is written here.
    let to_stdout = path.as_os_str() == "-";
    let shown = if to_stdout { Path::new("stdout") } else { &path }.display();
    let written = match to_stdout {
        true if io::stdout().is_terminal() => Err(io::Error::other("stdout is a terminal")),
        true => io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()),
        false => write(&path, &bytes, named.is_some()),
    };
    if let Err(error) = written {
        eprintln!("otelet: {shown}: {}", why_not(&error));
        return exit::NO;
    }
    let mut text = format!("{shown}, {}, has\n", units::rounded_size(bytes.len() as u64));
    for (file, content) in &files {
        text += &format!("  {file} ({})\n", units::rounded_size(content.len() as u64));
    }
    if let Some((_, missing)) = files.iter().find(|(file, _)| file == MISSING) {
        text += "and lacks\n";
        text.extend(missing.lines().map(|why| format!("  {why}\n")));
    }
    text += "Known secrets, and texts that look like one, were removed; check the archive before you hand it on.\n";
    // A reader that has gone away is no reason to panic.
    let _ = match to_stdout {
        true => io::stderr().write_all(text.as_bytes()),
        false => io::stdout().write_all(text.as_bytes()),
    };
    exit::OK
}

// ---- Gathering -----------------------------------------------------------------------------------------------------

fn gather(flags: &Flags, world: &World) -> Contents {
    let settings = settings::load(flags, world);
    // Settings with a fault do not say what is secret.
    http::hide_paths(settings.as_ref().map_or(true, |settings| settings.config.hide_url_paths));
    let root = settings.as_ref().map_or(Path::new("/"), |settings| &settings.host.root);
    let mut contents =
        Contents { secrets: secret_variables(|_| false), host: host::identity(root), ..Contents::default() };
    let file = settings::path(flags, world);
    let text = read(&file);
    let (state_dir, runtime_dir) = match &settings {
        Ok(settings) => (settings.state_dir.clone(), settings.runtime_dir.clone()),
        Err(_) => directories(flags, world, text.as_deref().unwrap_or_default()),
    };
    if let Some(why) = settings.as_ref().ok().and_then(status::stranger) {
        contents.miss("status.json", &why);
    }
    let status = add_agent(&mut contents, &runtime_dir);
    add_host(&mut contents, status.as_ref());
    add_settings(&mut contents, flags, world, &settings, text);
    add_environment(&mut contents);
    add_files(&mut contents, &state_dir, &runtime_dir);
    match &settings {
        Ok(settings) => add_components(&mut contents, settings, &state_dir),
        Err(_) => contents.miss("components.yaml", "the settings do not say which collector to ask"),
    }
    contents
}

impl Contents {
    fn add(&mut self, name: &str, form: Form, text: impl Into<String>) {
        self.pieces.push(Piece { name: name.into(), form, text: text.into() });
    }

    fn miss(&mut self, name: &str, why: &str) {
        self.missing.push(format!("{name}: {why}"));
    }

    fn add_result(&mut self, name: &str, form: Form, text: Result<String, String>) {
        match text {
            Ok(text) => self.add(name, form, text),
            Err(why) => self.miss(name, &why),
        }
    }
}

/// The status and the last lines of the log. If the agent does not run, the status is the last one that it wrote.
fn add_agent(contents: &mut Contents, runtime_dir: &Path) -> Option<Status> {
    match status::fresh(runtime_dir, |_| true) {
        Ok(_) => match status::request(runtime_dir, Verb::Diagnose) {
            Ok(_) => add_logs(contents, runtime_dir),
            Err(why) => contents.miss("agent.log, collector.log", &why),
        },
        Err(why) => {
            contents.miss("agent.log, collector.log", &format!("{why}; see the log of the service manager"));
        }
    }
    contents.add_result("status.json", Form::Json, read(&status::path(runtime_dir)));
    let status = status::read(runtime_dir).ok()?;
    contents.add("status.txt", Form::Lines, screen(&status, SystemTime::now(), Size::default(), false));
    Some(status)
}

fn add_logs(contents: &mut Contents, runtime_dir: &Path) {
    let path = Diagnosis::path(runtime_dir);
    let text = read(&path);
    let _ = fs::remove_file(&path);
    let diagnosis = text.and_then(|text| {
        serde_json::from_str::<Diagnosis>(&text).map_err(|error| format!("not as this version writes it: {error}"))
    });
    match diagnosis {
        Ok(diagnosis) => {
            contents.add("agent.log", Form::Lines, diagnosis.agent_log);
            contents.add("collector.log", Form::Lines, diagnosis.collector_log);
        }
        Err(why) => contents.miss("agent.log, collector.log", &why),
    }
}

fn add_host(contents: &mut Contents, status: Option<&Status>) {
    let identity = contents.host.clone();
    let mut text = format!(
        "otelet {}\ntaken at {}\nhost.name {}\nhost.id {}\nos.type {}\nos.version {}\nhost.arch {}\nkernel {}\n",
        env!("CARGO_PKG_VERSION"),
        units::rfc3339(SystemTime::now()),
        identity.name,
        identity.id,
        identity.os_type,
        identity.os_version,
        identity.arch,
        os::kernel_release(),
    );
    if let Some(status) = status {
        text += &format!(
            "agent {} of version {}, pid {}, {}\ncollector {} of version {}\n",
            status.agent.instance_uid,
            status.agent.version,
            status.agent.pid,
            if status::agent_is_alive(status) { status.agent.state.word() } else { "not running" },
            status.collector.path,
            status.collector.version,
        );
    }
    contents.add("about.txt", Form::Lines, text);
}

/// The settings in effect, and the settings file.
fn add_settings(
    contents: &mut Contents,
    flags: &Flags,
    world: &World,
    settings: &Result<Settings, settings::SettingsError>,
    text: Result<String, String>,
) {
    let explained = match settings {
        Ok(settings) => settings::explain(flags, world, settings).map_err(|error| otelet_core::text::chain(&error)),
        Err(error) => Err(otelet_core::text::chain(error)),
    };
    let lines = match explained {
        Ok((explained, secrets)) => {
            contents.secrets.extend(secrets);
            explained.iter().map(|one| format!("{one}\n")).collect()
        }
        Err(why) => format!("The settings cannot be used: {why}\n"),
    };
    contents.add("settings.txt", Form::Lines, lines);
    if let Ok(text) = &text {
        contents.secrets.extend(settings::secrets_in(text, world));
    }
    contents.add_result("settings.yaml", Form::Yaml, text);
}

/// The directories to read if the settings cannot be used: from the flag, else the variable, the file, the default.
pub(super) fn directories(flags: &Flags, world: &World, text: &str) -> (PathBuf, PathBuf) {
    let file: BTreeMap<String, serde_yaml::Value> = serde_yaml::from_str(text).unwrap_or_default();
    let find = |key: &str, variable: &str, default: PathBuf| {
        let flag = flags.get(key).map(PathBuf::from);
        let variable = (world.var)(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let in_file = file.get(key).and_then(|value| value.as_str()).map(PathBuf::from);
        flag.or(variable).or(in_file).unwrap_or(default)
    };
    (
        find("state_dir", "OTELET_STATE_DIR", os::default_state_dir()),
        find("runtime_dir", "OTELET_RUNTIME_DIR", os::default_runtime_dir()),
    )
}

/// The names of relevant variables. Their values may be secret and are left out.
fn add_environment(contents: &mut Contents) {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let known = |name: &String| {
        ["OTELET_", "KM_", "OTEL_"].iter().any(|head| name.starts_with(head))
            || ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].contains(&name.to_ascii_uppercase().as_str())
    };
    let mut names: Vec<_> = names.filter(known).collect();
    names.sort();
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    contents.add(
        "environment.txt",
        Form::Lines,
        format!("# Variables that are set where `otelet diagnose` ran.\n{text}"),
    );
}

/// The lists of files, the state, and all configs on disk.
fn add_files(contents: &mut Contents, state_dir: &Path, runtime_dir: &Path) {
    let configs = state_dir.join("configs");
    let mut text = String::new();
    for directory in [state_dir, &configs, runtime_dir] {
        text += &listing(directory);
    }
    contents.add("files.txt", Form::Lines, text);
    contents.add_result("state.json", Form::Json, read(&state_dir.join("state.json")));
    for directory in [&configs, runtime_dir] {
        let head = if directory == configs { "configs" } else { "runtime" };
        for path in yaml_files(directory) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            contents.add_result(&format!("{head}/{name}"), Form::Yaml, read(&path));
        }
    }
}

fn listing(directory: &Path) -> String {
    let mut text = format!("{}\n", directory.display());
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten(),
        Err(error) => return text + &format!("  cannot be read: {error}\n"),
    };
    let mut lines = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        lines.push(match entry.metadata() {
            Ok(metadata) => {
                let changed = metadata.modified().map_or_else(|_| "unknown".into(), units::rfc3339);
                let size = units::counted(metadata.len(), "byte");
                format!("  {name}  {size}  {changed}  {}\n", os::describe_mode(&metadata))
            }
            Err(error) => format!("  {name}  {error}\n"),
        });
    }
    lines.sort();
    text.extend(lines);
    text
}

/// The YAML files of a directory. Of very many, only the newest are taken.
fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().extension().is_some_and(|it| it == "yaml"))
        .map(|entry| (entry.metadata().and_then(|it| it.modified()).ok(), entry.path()))
        .collect();
    files.sort();
    files.into_iter().rev().take(MAX_FILES).map(|(_, path)| path).collect()
}

/// The components and the version of the collector, as its binary prints them.
fn add_components(contents: &mut Contents, settings: &Settings, state_dir: &Path) {
    let launcher = Launcher {
        settings: settings.collector.clone(),
        identity: settings.attributes.clone(),
        instance_uid: "diagnose".into(),
        host: contents.host.clone(),
        host_root: settings.host.root.clone(),
        engine: settings.docker.socket.clone(),
        marker: "diagnose".into(),
        store: Store::new(state_dir),
        runtime_dir: settings.runtime_dir.clone(),
        inspected: Rc::default(),
        layers: Rc::default(),
        reader: Default::default(),
        children: Rc::new(RefCell::default()),
        takes_exports: false,
    };
    let said = os::block_on(async {
        let executor = LocalExecutor::new();
        let driver = executor.spawn(os::driver());
        let said = executor
            .run(async {
                smol::future::yield_now().await;
                launcher.components().await
            })
            .await;
        drop(driver);
        said
    });
    contents.add_result("components.yaml", Form::Lines, said.unwrap_or_else(|error| Err(error.to_string())));
}

/// A file as text. Large files are refused.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = os::open_regular(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{}: there is none", path.display()),
        io::ErrorKind::PermissionDenied => {
            format!("{}: {error}; run this as the agent's user or as root", path.display())
        }
        _ => format!("{}: {error}", path.display()),
    })?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("{}: more than {}", path.display(), units::format_size(MAX_SIZE)));
    }
    // Between two NUL bytes, no secret would be found.
    let bytes = unmarked(&bytes).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

// ---- Redaction and output ------------------------------------------------------------------------------------------

/// All files without secrets. A secret of one config is removed from all files.
fn redacted(contents: Contents) -> Vec<(String, String)> {
    let Contents { pieces, mut secrets, missing, .. } = contents;
    let first = Redactor::new(secrets.iter().map(String::as_str)).hiding_url_paths(http::hides_paths());
    for piece in pieces.iter().filter(|piece| piece.form == Form::Yaml) {
        secrets.extend(first.secrets_in(&piece.text));
    }
    let redactor = Redactor::new(secrets.iter().map(String::as_str)).hiding_url_paths(http::hides_paths());
    let mut files: Vec<_> = pieces
        .into_iter()
        .map(|Piece { name, form, text }| {
            let text = match form {
                Form::Lines => redactor.log(&text),
                Form::Yaml => redactor.config(&text),
                Form::Json => redactor.config(&texts_redacted(&text, &redactor)),
            };
            (name, text)
        })
        .collect();
    if !missing.is_empty() {
        let text: String = missing.iter().map(|why| format!("{why}\n")).collect();
        files.push((MISSING.into(), redactor.log(&text)));
    }
    files.sort();
    files
}

/// JSON with each text redacted as a log. A text that is no JSON is redacted as a log as a whole.
fn texts_redacted(text: &str, redactor: &Redactor) -> String {
    fn walk(value: &mut Value, redactor: &Redactor) {
        match value {
            Value::String(text) => *text = redactor.log(text),
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, redactor)),
            Value::Object(entries) => entries.values_mut().for_each(|value| walk(value, redactor)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    match serde_json::from_str::<Value>(text) {
        Ok(mut value) => {
            walk(&mut value, redactor);
            serde_json::to_string_pretty(&value).expect("it was JSON") + "\n"
        }
        Err(_) => redactor.log(text),
    }
}

/// The name of the archive: `otelet-edge-7-20261125T160700Z`. Characters that some systems do not allow are left out.
fn archive_name(host: &str, at: SystemTime) -> String {
    let fit = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '.';
    let host: String = host.chars().filter(fit).take(40).collect();
    let time: String = units::rfc3339(at).chars().filter(char::is_ascii_alphanumeric).collect();
    match host.trim_matches(['.', '-']) {
        "" => format!("otelet-{time}"),
        host => format!("otelet-{host}-{time}"),
    }
}

/// Writes the archive whole or not at all, for its owner only. With `replace`, an existing file is replaced.
fn write(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", uuid::Uuid::now_v7()));
    let temporary = PathBuf::from(temporary);
    let written = os::new_private_file(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        match replace {
            true => fs::rename(&temporary, path),
            false => os::rename_to_new(&temporary, path),
        }
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn why_not(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => "is there already; name it with --output to replace it".into(),
        io::ErrorKind::NotFound => {
            format!("cannot write: {error}; name a file in a directory that exists with --output")
        }
        _ => format!("cannot write: {error}; name another place with --output, or have it on stdout: --output=- >FILE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_one_file_is_removed_from_all_files() {
        let mut contents = Contents { secrets: vec!["hunter2-known".into()], ..Contents::default() };
        contents.add("configs/a.yaml", Form::Yaml, "a: {password: hunter3-config, site: north}\n");
        contents.add("collector.log", Form::Lines, "cannot use hunter3-config\nnor hunter2-known\n");
        contents.add(
            "status.json",
            Form::Json,
            r#"{"config": {"message": "hunter3-config is wrong"}, "token": "x", "n": 1}"#,
        );
        contents.miss("state.json", "hunter2-known is gone");

        let files: BTreeMap<_, _> = redacted(contents).into_iter().collect();

        assert_eq!(files["configs/a.yaml"], "a: {password: <redacted>, site: north}\n");
        assert_eq!(files["collector.log"], "cannot use <redacted>\nnor <redacted>\n");
        assert!(files["status.json"].contains("\"message\": \"<redacted> is wrong\""), "{}", files["status.json"]);
        assert!(files["status.json"].contains("\"token\": \"<redacted>\""), "{}", files["status.json"]);
        assert_eq!(files["missing.txt"], "state.json: <redacted> is gone\n");
    }

    #[test]
    fn only_a_named_file_is_replaced_and_only_its_owner_can_read_it() {
        let path = std::env::temp_dir().join(format!("otelet-archive-{}", std::process::id()));
        let _ = fs::remove_file(&path);

        write(&path, b"first", false).unwrap();
        let error = write(&path, b"second", false).unwrap_err();
        assert_eq!(why_not(&error), "is there already; name it with --output to replace it");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write(&path, b"second", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(os::describe_mode(&fs::metadata(&path).unwrap()), "0600 uid ".to_owned() + &own_uid());
        fs::remove_file(&path).unwrap();
    }

    fn own_uid() -> String {
        os::describe_mode(&fs::metadata("/proc/self").unwrap()).rsplit(' ').next().unwrap().to_owned()
    }

    #[test]
    fn the_name_of_an_archive_has_only_safe_characters() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_456_620);
        assert_eq!(archive_name("edge-7", at), "otelet-edge-7-20261123T175700Z");
        assert_eq!(archive_name("../a b/ü", at), "otelet-ab-20261123T175700Z");
        assert_eq!(archive_name("", at), "otelet-20261123T175700Z");
    }
}
