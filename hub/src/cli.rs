//! The command line.

use std::io::{IsTerminal as _, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::routing::get;
use lexopt::prelude::*;
use otelet_config::signature::PublicKey;

use crate::auth::{Auth, Role};
use crate::clock::now;
use crate::hub::{Hub, audit_row};
use crate::store::{Store, restore};
use crate::web::App;
use crate::{serve, tls};

const HELP: &str = "\
otelet-hub: shows otelet agents, gives them their configs and asks no cloud for anything

Usage: otelet-hub COMMAND [--flag=value ...]

  serve                       Run the hub.
    --listen=ADDRESS:PORT     [0.0.0.0:4320]
    --tls=self|none           self: a certificate of its own, made at the first start. none: behind a proxy with TLS,
                              or for tests on loopback. [self]
    --cert=FILE --key=FILE    A certificate of yours, in PEM, instead.
    --name=HOST               A name or address of this host, for its own certificate; may be repeated. [localhost]
    --public-key=KEY          A minisign key that signs configs; may be repeated.
    --keep-events=DAYS        [90]
  user add NAME               Add a person; the password is read from standard input.
    --role=ROLE               viewer, operator, editor or admin. [viewer]
  token add NAME              Make an API token and print it.
    --role=ROLE --days=DAYS   [viewer] [30]
  backup FILE                 Copy the database while the hub runs.
  restore FILE                Put a copy in its place while the hub does not run.
  openapi                     Print the description of the API.
All of these:
    --data=DIR                Where the database and certificates are. [otelet-hub-data]

  agents [QUERY]              List agents: words, state:failed, config:edge@12, label:site=line-3, not:...
  enrol NAME                  Make an enrolment token and print it.
    --uses=N --days=DAYS      [1] [7]
    --label=NAME=VALUE        May be repeated.
  config NAME                 Print the newest version.
  config NAME FILE            Save a new version.
    --base=N --note=TEXT      The version that it was made from. [0: the config is new]
  assign 'SELECTOR -> NAME@VERSION' ...
                              Replace the assignment, a row an argument.
  restart UID                 Restart the collector of an agent.
  call METHOD PATH [JSON]     Any call of the API.
These ask a running hub:
    --hub=URL                 [OTELET_HUB_URL, else https://localhost:4320]
    --token=TOKEN             [OTELET_HUB_TOKEN]
    --ca-file=FILE            [OTELET_HUB_CA_FILE]

Exit status: 0 done, 1 failed, 64 bad flag.
";

/// A failure with its words.
type Failure = Box<dyn std::error::Error>;

struct Args {
    words: Vec<String>,
    flags: Vec<(String, String)>,
}

impl Args {
    fn read() -> Result<Self, lexopt::Error> {
        const FLAGS: [&str; 19] = [
            "data",
            "listen",
            "tls",
            "cert",
            "key",
            "name",
            "public-key",
            "keep-events",
            "role",
            "days",
            "uses",
            "label",
            "base",
            "note",
            "hub",
            "token",
            "ca-file",
            "help",
            "version",
        ];
        let (mut words, mut flags) = (Vec::new(), Vec::new());
        let mut parser = lexopt::Parser::from_env();
        while let Some(arg) = parser.next()? {
            match arg {
                Value(word) => words.push(word.string()?),
                Short('h') | Long("help") => words = vec!["help".into()],
                Long(name) if FLAGS.contains(&name) => {
                    let name = name.to_owned();
                    flags.push((name, parser.value()?.string()?));
                }
                other => return Err(other.unexpected()),
            }
        }
        Ok(Self { words, flags })
    }

    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.flags.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    fn number(&self, name: &str, default: i64) -> Result<i64, Failure> {
        self.flag(name).map_or(Ok(default), |value| {
            value.parse().map_err(|_| format!("--{name}={value} is no whole number").into())
        })
    }

    fn role(&self) -> Result<Role, Failure> {
        Ok(self.flag("role").unwrap_or("viewer").parse::<Role>()?)
    }

    fn data(&self) -> PathBuf {
        self.flag("data").unwrap_or("otelet-hub-data").into()
    }
}

/// Runs a command; returns the exit status.
pub fn main() -> u8 {
    let args = match Args::read() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}; see otelet-hub help");
            return 64;
        }
    };
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] | ["help"] => {
            print!("{HELP}");
            Ok(())
        }
        ["serve"] => run(serve_command(&args)),
        ["user", "add", name] => run(add_user(&args, name)),
        ["token", "add", name] => run(add_token(&args, name)),
        ["backup", file] => run(async {
            let store = Store::open_beside(&args.data().join("hub.db")).await?;
            Ok(store.backup(file.as_ref()).await?)
        }),
        ["restore", file] => run(async { Ok(restore(file.as_ref(), &args.data().join("hub.db")).await?) }),
        ["openapi"] => {
            println!("{}", crate::web::openapi());
            Ok(())
        }
        ["agents", query @ ..] => agents(&args, &query.join(" ")),
        ["enrol", name] => enrol(&args, name),
        ["config", name] => show_config(&args, name),
        ["config", name, file] => save_config(&args, name, file),
        ["assign", rows @ ..] => assign(&args, rows),
        ["restart", uid] => call(&args, "POST", &format!("/api/v1/agents/{uid}/restart"), &[], None).map(|_| ()),
        ["call", method, path] => call(&args, method, path, &[], None).map(|body| println!("{body}")),
        ["call", method, path, json] => call(&args, method, path, &[], Some(json)).map(|body| println!("{body}")),
        other => {
            eprintln!("otelet-hub {}: there is no such command; see otelet-hub help", other.join(" "));
            return 64;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

fn run(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future)
}

async fn add_user(args: &Args, name: &str) -> Result<(), Failure> {
    let role = args.role()?;
    let store = Store::open_beside(&args.data().join("hub.db")).await?;
    if std::io::stdin().is_terminal() {
        eprint!("password, at least 12 characters: ");
    }
    let mut password = String::new();
    if std::io::stdin().is_terminal() {
        std::io::stdin().read_line(&mut password)?;
    } else {
        std::io::stdin().read_to_string(&mut password)?;
    }
    let row = audit_row("command line", "local", "person.add", name, role.word());
    Ok(Auth::new(store).add(name, password.trim_end_matches(['\r', '\n']), role, row).await?)
}

async fn add_token(args: &Args, name: &str) -> Result<(), Failure> {
    let (role, days) = (args.role()?, args.number("days", 30)?);
    let store = Store::open_beside(&args.data().join("hub.db")).await?;
    let row = audit_row("command line", "local", "token.make", name, role.word());
    let token = Auth::new(store).make_token(name, role, now() + days * 86_400_000, "command line", row).await?;
    println!("{token}");
    Ok(())
}

async fn serve_command(args: &Args) -> Result<(), Failure> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let data = args.data();
    std::fs::create_dir_all(&data).map_err(|error| format!("{}: cannot make it: {error}", data.display()))?;
    let listen = args.flag("listen").unwrap_or("0.0.0.0:4320");
    let listen: SocketAddr = listen.parse().map_err(|_| format!("--listen={listen} is no ADDRESS:PORT"))?;
    let keys = args.all("public-key").iter().map(|key| PublicKey::parse(key)).collect::<Result<Vec<_>, _>>()?;
    let mut names = args.all("name");
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
    let keep_events = args.number("keep-events", 90)?.clamp(1, 3650) * 86_400_000;

    let (acceptor, ca) = match (args.flag("tls").unwrap_or("self"), args.flag("cert"), args.flag("key")) {
        ("none", _, _) => (None, None),
        ("self", Some(cert), Some(key)) => (Some(tls::acceptor(cert.as_ref(), key.as_ref())?), None),
        ("self", None, None) => {
            let own = tls::own(&data, &names)?;
            (Some(tls::acceptor(&own.cert, &own.key)?), Some(own.ca))
        }
        ("self", _, _) => return Err("--cert and --key go together".into()),
        (other, _, _) => return Err(format!("--tls={other} is neither self nor none").into()),
    };
    let store = Store::open(&data.join("hub.db")).await?;
    let hub = Hub::start(store.clone()).await?;
    let auth = Auth::new(store.clone());
    let setup = auth.open_setup().await?;
    let secure = acceptor.is_some();
    let app = App { hub: Arc::clone(&hub), auth, keys: Arc::new(keys), secure };

    let ready = store.clone();
    let mut router = crate::router(app).route("/healthz", get(|| async { "ok\n" })).route(
        "/readyz",
        get(move || async move {
            match ready.rows("SELECT version FROM schema_version", vec![]).await {
                Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
                Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
            }
        }),
    );
    let scheme = if secure { "https" } else { "http" };
    let host = args.all("name").first().cloned().unwrap_or_else(|| "localhost".into());
    if let Some(ca) = &ca {
        let pem = std::fs::read_to_string(ca)?;
        router = router
            .route("/ca.pem", get(move || async move { ([(header::CONTENT_TYPE, "application/x-pem-file")], pem) }));
    }
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|error| format!("--listen={listen}: cannot bind: {error}"))?;
    let port = listener.local_addr()?.port();
    println!("otelet-hub {} serves {scheme}://{host}:{port}", env!("CARGO_PKG_VERSION"));
    if let Some(ca) = &ca {
        println!("its CA: {} (SHA-256 {})", ca.display(), tls::fingerprint(ca)?);
    }
    if let Some(token) = setup {
        println!("make the first admin within an hour: {scheme}://{host}:{port}/setup?token={token}");
    }
    tokio::spawn(keep_time(Arc::clone(&hub), keep_events));
    serve::serve(listener, acceptor, router, asked_to_stop()).await;
    hub.tick(true).await?;
    Ok(())
}

async fn keep_time(hub: Arc<Hub>, keep_events: i64) {
    let mut seconds: u64 = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        seconds += 1;
        if let Err(error) = hub.tick(seconds.is_multiple_of(60)).await {
            tracing::error!("{error}");
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        if seconds % 3600 == 60
            && let Err(error) = hub.clean(keep_events).await
        {
            tracing::error!("cannot remove what is old: {error}");
        }
    }
}

#[cfg(unix)]
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn asked_to_stop() {
    _ = tokio::signal::ctrl_c().await;
}

// --- commands that ask a running hub ---

fn setting(args: &Args, flag: &str, variable: &str) -> Option<String> {
    args.flag(flag).map(str::to_owned).or_else(|| std::env::var(variable).ok()).filter(|value| !value.is_empty())
}

fn call(
    args: &Args,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: Option<&str>,
) -> Result<String, Failure> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let hub = setting(args, "hub", "OTELET_HUB_URL").unwrap_or_else(|| "https://localhost:4320".into());
    let token = setting(args, "token", "OTELET_HUB_TOKEN")
        .ok_or("set --token or OTELET_HUB_TOKEN; otelet-hub token add NAME makes one")?;
    let mut tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(tokio_rustls::rustls::crypto::ring::default_provider()));
    if let Some(file) = setting(args, "ca-file", "OTELET_HUB_CA_FILE") {
        let pem = std::fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
        tls = tls.root_certs(RootCerts::new_with_certs(&[Certificate::from_pem(&pem)?]));
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", hub.trim_end_matches('/')))
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let mut answer = agent.run(request.body(body.unwrap_or_default().to_owned())?)?;
    let (status, text) = (answer.status(), answer.body_mut().read_to_string()?);
    if status.is_success() {
        return Ok(text);
    }
    let words = serde_json::from_str::<serde_json::Value>(&text).ok();
    let words = words.and_then(|json| json["error"].as_str().map(str::to_owned)).unwrap_or(text);
    Err(format!("{hub}{path} answered {status}: {words}").into())
}

fn agents(args: &Args, query: &str) -> Result<(), Failure> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let list: serde_json::Value =
        serde_json::from_str(&call(args, "GET", &format!("/api/v1/agents?q={encoded}"), &[], None)?)?;
    for agent in list.as_array().into_iter().flatten() {
        let word = |key: &str| agent[key].as_str().unwrap_or("-").to_owned();
        println!(
            "{:14} {:24} {:16} {} {}",
            word("state"),
            word("name"),
            word("config"),
            word("uid"),
            agent["trouble"].as_str().unwrap_or("")
        );
    }
    Ok(())
}

fn enrol(args: &Args, name: &str) -> Result<(), Failure> {
    let labels = args.all("label");
    let pairs = labels.iter().map(|pair| {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("--label={pair} is no NAME=VALUE"))?;
        Ok::<_, Failure>((name.to_owned(), serde_json::Value::from(value)))
    });
    let labels = pairs.collect::<Result<serde_json::Map<_, _>, _>>()?;
    let body = serde_json::json!({
        "name": name, "uses": args.number("uses", 1)?, "days": args.number("days", 7)?, "labels": labels,
    });
    let made: serde_json::Value =
        serde_json::from_str(&call(args, "POST", "/api/v1/enrolments", &[], Some(&body.to_string()))?)?;
    println!("{}", made["token"].as_str().unwrap_or_default());
    Ok(())
}

fn show_config(args: &Args, name: &str) -> Result<(), Failure> {
    let versions: serde_json::Value =
        serde_json::from_str(&call(args, "GET", &format!("/api/v1/configs/{name}"), &[], None)?)?;
    print!("{}", versions[0]["text"].as_str().unwrap_or_default());
    Ok(())
}

fn save_config(args: &Args, name: &str, file: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let body = serde_json::json!({"text": text, "note": args.flag("note").unwrap_or_default()}).to_string();
    let base = args.number("base", 0)?;
    let headers = if base > 0 { vec![("If-Match", format!("\"{base}\""))] } else { Vec::new() };
    let saved: serde_json::Value =
        serde_json::from_str(&call(args, "PUT", &format!("/api/v1/configs/{name}"), &headers, Some(&body))?)?;
    println!("{name}@{}", saved["version"]);
    for problem in saved["problems"].as_array().into_iter().flatten() {
        println!("line {}: {}", problem["line"], problem["text"].as_str().unwrap_or_default());
    }
    for one in saved["lacking"].as_array().into_iter().flatten() {
        println!("{} may lack {}", one["agent"].as_str().unwrap_or_default(), one["lacks"]);
    }
    Ok(())
}

fn assign(args: &Args, rows: &[&str]) -> Result<(), Failure> {
    let rows = crate::web::rows_of(&rows.join("\n"))?;
    call(args, "PUT", "/api/v1/assignments", &[], Some(&serde_json::to_string(&rows)?)).map(|_| ())
}
