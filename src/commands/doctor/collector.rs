//! The Collector, and a config on this host: whether it runs there, whether its ports are free, whether its backends can be
//! reached.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{Report, Surroundings};
use crate::collector;
use crate::http::{self, STEP, host_and_port};
use crate::observe::host::Host;
use crate::os::{self, Family, Wanted};
use crate::run::trial::{self, Workspace};
use crate::settings::{Settings, World, expand_references};
use crate::store::Store;
use otelet_config::redact::Redactor;
use otelet_config::{Address, addresses};
use otelet_core::decide::Verdict as Answer;
use otelet_core::examine::{self, Memory};

/// The time for a connection to a backend.
const BACKEND: Duration = Duration::from_secs(5);

/// Looks at the Collector and at this config.
pub(super) fn look(settings: &Settings, body: Option<Arc<[u8]>>, around: &Surroundings, report: &mut Report) {
    // A config that was good before tells as much of this host.
    let body = body.or_else(|| trial::kept_config(settings).ok());
    let text = body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    report.hide(Redactor::default().secrets_in(&text));
    let program = look_at_program(settings, body.as_deref(), around, report);
    match &body {
        Some(body) => {
            let found = addresses(body);
            let world = world(settings);
            look_at_ports(&found.listens, &world, around, report);
            look_at_backends(&found.sends, &world, report);
        }
        None => report.skip("ports", &format_args!("no config came, and it names ports and backends")),
    }
    look_at_memory(settings, around, report);
    look_at_selinux(program.as_deref(), settings, report);
}

/// Has the Collector say what it is and validate the config. Returns its program.
fn look_at_program(
    settings: &Settings,
    body: Option<&[u8]>,
    around: &Surroundings,
    report: &mut Report,
) -> Option<std::path::PathBuf> {
    let workspace = Workspace::new();
    let launcher = trial::launcher(settings, Store::new(&workspace.0), &workspace);
    let program = match launcher.program() {
        Ok(program) => program,
        Err(why) => {
            report.bad("Collector", &why);
            report.skip("config", &format_args!("there is no Collector to validate it"));
            return None;
        }
    };
    let shown = program.display();
    if let Some((rights, why)) = &around.rights
        && let Err(error) = os::may(&program, Wanted::Run, Some(rights))
        && error.kind() == ErrorKind::PermissionDenied
        && settings.collector.run_as.is_none()
    {
        let cure = "chmod a+rx, for the directories above it too";
        report.bad("Collector", &format_args!("{shown}: uid {}, {why}, may not run it: {error}; {cure}", rights.uid));
    }
    let hash = body.map(otelet_config::hash);
    let kept = match (hash, body) {
        (Some(hash), Some(body)) => launcher.store.keep(hash, body).map(drop),
        _ => launcher.store.create(),
    };
    if let Err(error) = kept {
        let why =
            format!("{shown}: it is asked in a directory for temporary files, and there is none: {}", error.chain());
        report.skip("Collector", &(why + "; set TMPDIR to one"));
        return Some(program);
    }
    let is_late = |why: &str| why.contains("collector.validate_timeout");
    const LATE: &str = "the Collector has not answered within a minute; `otelet validate` waits longer";
    let (binary, verdict) = match trial::ask_collector(&launcher, hash, None) {
        Ok(asked) => asked,
        Err(why) if is_late(&why) => {
            report.skip("Collector", &LATE);
            return Some(program);
        }
        Err(why) => {
            report.bad("Collector", &report.redactor.log(&why));
            report.skip("config", &format_args!("the Collector cannot be asked"));
            return Some(program);
        }
    };
    let version = format!("{} {}", binary.name, binary.version);
    let version = if version.trim().is_empty() { "it does not say its version" } else { version.trim() };
    report.good("Collector", &format_args!("{shown} runs: {version}"));
    let blamed = launcher.layers.borrow().blamed.clone();
    blamed.into_iter().for_each(|complaint| report.bad("config", &complaint));
    let words = |why: &str| report.redactor.log(why);
    match (hash, verdict) {
        (None, _) => report.skip("config", &format_args!("none came that can be validated")),
        (Some(hash), Answer::Passed) => report.good("config", &format_args!("the Collector takes config {hash}")),
        (Some(hash), Answer::Refused(why)) => {
            let why = words(&why);
            report.bad(
                "config",
                &format_args!("the Collector refuses config {hash}: {why}; correct it where it comes from"),
            );
        }
        (Some(_), Answer::Unable(why) | Answer::Lost(why)) if is_late(&why) => {
            report.skip("config", &LATE);
        }
        (Some(_), Answer::Unable(why) | Answer::Lost(why)) => {
            let cure = match why.contains("signal 9") {
                true => {
                    "; nothing but the kernel ends it so, when its memory is used up: raise collector.memory_limit, or \
                         that of the service"
                }
                false => "",
            };
            let why = words(&why);
            report.bad("config", &format_args!("the Collector cannot validate it: {why}{cure}"));
        }
    }
    Some(program)
}

// ---- Ports and backends --------------------------------------------------------------------------------------------

/// The environment of the Collector, for the references in its config.
fn world(settings: &Settings) -> World {
    let env = settings.collector.env.clone();
    let var = move |name: &str| {
        let own = env.iter().find(|(known, _)| known == name);
        own.map(|(_, value)| value.expose().into()).or_else(|| std::env::var_os(name))
    };
    World { var: Box::new(var), ..World::real() }
}

/// Host and port of a URL or of `host:port`.
fn destination(text: &str) -> Option<(String, u16)> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.trim_start_matches('/').split(['/', '?', '#']).next()?.rsplit('@').next()?;
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let whole = match default {
        Some(port) if authority.rsplit(']').next()?.find(':').is_none() => format!("{authority}:{port}"),
        _ => authority.to_owned(),
    };
    host_and_port(&whole).map(|(host, port)| (host.to_owned(), port))
}

fn look_at_ports(listens: &[Address], world: &World, around: &Surroundings, report: &mut Report) {
    let (mut free, mut own) = (Vec::new(), Vec::new());
    for address in listens {
        let key = &address.key;
        let text = match expand_references(&address.text, world) {
            Ok(text) => text,
            Err(why) => {
                report.skip("ports", &format_args!("{key}: {why}"));
                continue;
            }
        };
        let ip = |host: &str| match host {
            "" => Some(Ipv4Addr::UNSPECIFIED.into()),
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            host => host.parse::<IpAddr>().ok(),
        };
        let Some(at) = destination(&text).and_then(|(host, port)| Some(SocketAddr::new(ip(&host)?, port))) else {
            report.skip("ports", &format_args!("{key}: not an address and a port"));
            continue;
        };
        // The system picks one.
        if at.port() == 0 {
            continue;
        }
        let collector = around.agent.as_ref().and_then(|status| status.collector.pid);
        let change = format!("stop it, or change {key}");
        match os::listener(at, address.is_udp).map(|listener| listener.program) {
            Some(Some((pid, _))) if collector.is_some_and(|own| os::descends(pid, own)) => own.push(at.to_string()),
            Some(Some((pid, name))) => {
                report.bad("ports", &format_args!("{at} is taken by {name} with pid {pid}; {change}"));
            }
            Some(None) => {
                let who = "a program that this user may not look at";
                report.bad(
                    "ports",
                    &format_args!("{at} is taken by {who} (`{}` shows it to root); {change}", os::LISTENERS),
                );
            }
            // Its Collector may be about to take it.
            None if around.agent.is_some() => free.push(at.to_string()),
            None => {
                let bound = match address.is_udp {
                    true => UdpSocket::bind((at.ip(), at.port())).map(drop),
                    false => TcpListener::bind((at.ip(), at.port())).map(drop),
                };
                match bound {
                    Ok(()) => free.push(at.to_string()),
                    Err(error) => {
                        // In the words of the Collector, whose next step is known. Those of the C library differ from one to
                        // another.
                        let why = match error.kind() {
                            ErrorKind::AddrInUse => "address already in use",
                            ErrorKind::AddrNotAvailable => "cannot assign requested address",
                            ErrorKind::PermissionDenied => "permission denied",
                            _ => &error.to_string(),
                        };
                        let kind = if address.is_udp { "udp" } else { "tcp" };
                        let words = format!("listen {kind} {at}: bind: {why}");
                        report.bad("ports", &collector::advised(words));
                    }
                }
            }
        }
    }
    if !free.is_empty() {
        report.good("ports", &format_args!("{} {} free", free.join(", "), if free.len() == 1 { "is" } else { "are" }));
    }
    if !own.is_empty() {
        report.good("ports", &format_args!("the agent's Collector has {}", own.join(", ")));
    }
    if listens.is_empty() {
        report.good("ports", &format_args!("the config names none"));
    }
}

fn look_at_backends(sends: &[Address], world: &World, report: &mut Report) {
    let until = Instant::now() + BACKEND * 4;
    let mut seen: Vec<(String, u16)> = Vec::new();
    for address in sends {
        let key = &address.key;
        let text = match expand_references(&address.text, world) {
            Ok(text) => text,
            Err(why) => {
                report.skip("backend", &format_args!("{key}: {why}"));
                continue;
            }
        };
        let Some((host, port)) = destination(&text) else {
            report.skip("backend", &format_args!("{key}: not an address and a port"));
            continue;
        };
        if seen.contains(&(host.clone(), port)) {
            continue;
        }
        seen.push((host.clone(), port));
        let shown = format!("{host}:{port}");
        if let Some(variable) = proxy_of_collector(&text, &host, port) {
            report.skip("backend", &format_args!("{shown}: the Collector reaches it by the proxy in {variable}"));
            continue;
        }
        let limit = until.min(Instant::now() + BACKEND);
        if limit <= Instant::now() {
            report.skip("backend", &format_args!("{shown}: the time for backends was up"));
            continue;
        }
        let found = match os::look_up(&host, port, Family::Any, limit) {
            Ok(found) => found,
            Err(why) => {
                report.bad("backend", &format_args!("{host} does not resolve: {why}; correct {key}"));
                continue;
            }
        };
        let why = match os::connect_first(&found, STEP, limit) {
            Ok(_) => {
                report.good("backend", &format_args!("{shown} accepts connections ({key})"));
                continue;
            }
            Err(Some((_, error))) => error.to_string(),
            Err(None) => format!("no answer within {}", otelet_core::units::seconds(BACKEND)),
        };
        report
            .bad("backend", &format_args!("{shown}: {why}; start it, open the firewalls on the way, or correct {key}"));
    }
    if sends.is_empty() {
        report.skip("backend", &format_args!("the config has no exporter with an address"));
    }
}

/// The variable with the proxy that a Go program takes for this URL: it inherits the agent's environment.
fn proxy_of_collector(url: &str, host: &str, port: u16) -> Option<&'static str> {
    let names = match url.split_once("://")?.0 {
        "http" => ["HTTP_PROXY", "http_proxy"],
        "https" => ["HTTPS_PROXY", "https_proxy"],
        _ => return None,
    };
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let name = names.into_iter().find(set)?;
    let spared = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    (!http::bypasses_proxy(&spared, host, port)).then_some(name)
}

// ---- Memory and SELinux --------------------------------------------------------------------------------------------

fn look_at_memory(settings: &Settings, around: &Surroundings, report: &mut Report) {
    let sample = Host::new(&settings.host.root).sample(None, Instant::now(), SystemTime::now(), false).sample;
    let left = |all: Option<u64>, used: Option<u64>| Some((all?.saturating_sub(used?), all?));
    let memory = Memory {
        host: left(sample.memory_total, sample.memory_used),
        cgroup: left(sample.memory_limit, sample.memory_of_limit),
        limit: settings.collector.memory_limit,
        needed: os::peak_of_children(),
    };
    let runs = around.agent.as_ref().is_some_and(|status| status.collector.pid.is_some());
    report.add("memory", examine::memory(memory, runs));
}

fn look_at_selinux(program: Option<&Path>, settings: &Settings, report: &mut Report) {
    match os::selinux() {
        None => report.good("SELinux", &format_args!("not on this host")),
        Some(false) => report.good("SELinux", &format_args!("permissive: it forbids nothing")),
        Some(true) => {
            let labelled = |path: &Path| os::label(path).unwrap_or_else(|| "without a label".to_owned());
            let mut words = format!("enforcing; state_dir is {}", labelled(&settings.state_dir));
            if let Some(program) = program {
                let (label, shown) = (labelled(program), program.display());
                if examine::forbidden_program(&label) {
                    let cure = "put it into /usr/local/bin and run restorecon -v on it (ausearch -m avc shows what was refused)";
                    return report.bad(
                        "SELinux",
                        &format_args!("{shown} is {label}, and a service may not run such a file; {cure}"),
                    );
                }
                words += &format!(", {shown} is {label}");
            }
            report.good("SELinux", &words);
        }
    }
}
