//! With `config.public_key` set, only what its owner signed is looked at, and nothing older than the newest. Keys and
//! signatures are made by the real minisign.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::host::{Agent, Host, config, stdout};
use super::server::Server;

/// A signer with a key of its own, and a host that trusts it and takes its config from a file.
struct Plant {
    host: Host,
    key: PathBuf,
}

impl Plant {
    fn new() -> Self {
        let host = Host::new();
        let key = make_key(&host, "plant");
        host.set("config.url", &host.path("config.yaml").display().to_string());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        host.set("config.public_key", public.lines().last().unwrap());
        Self { host, key }
    }

    /// Makes a signature of this body, as of this second of 1970.
    fn sign(&self, key: &Path, body: &str, second: u64) -> Vec<u8> {
        let path = self.host.path("to-sign");
        fs::write(&path, body).unwrap();
        minisign(&[
            "-S",
            "-W",
            "-s",
            &key.display().to_string(),
            "-m",
            &path.display().to_string(),
            "-t",
            &format!("timestamp:{second}"),
        ]);
        fs::read(self.host.path("to-sign.minisig")).unwrap()
    }

    /// Puts a config and its signature where the agent looks: the signature first, so that they never disagree.
    fn put(&self, body: &str, signature: &[u8]) {
        self.place("config.yaml.minisig", signature);
        self.place("config.yaml", body.as_bytes());
    }

    fn place(&self, name: &str, bytes: &[u8]) {
        fs::write(self.host.path("new"), bytes).unwrap();
        fs::rename(self.host.path("new"), self.host.path(name)).unwrap();
    }

    fn running(&self, good: &str) -> Agent {
        self.put(good, &self.sign(&self.key, good, 2_000));
        let agent = self.host.agent().start();
        agent.applied(good);
        agent
    }

    /// Waits for the refusal with these words, and sees that the running collector was not touched.
    fn refused(&self, agent: &Agent, good: &str, words: &str) {
        agent.logs(words);
        let status = agent.applied_still(good);
        assert_eq!((status.collector.restarts, self.host.starts().len()), (0, 1), "the collector was not touched");
    }
}

fn make_key(host: &Host, name: &str) -> PathBuf {
    let (secret, public) = (host.path(&format!("{name}.key")), host.path(&format!("{name}.pub")));
    minisign(&["-G", "-W", "-s", &secret.display().to_string(), "-p", &public.display().to_string()]);
    secret
}

fn minisign(arguments: &[&str]) {
    let ran = Command::new("minisign").args(arguments).output();
    let ran = ran.unwrap_or_else(|error| panic!("minisign cannot be run: {error}; install the package of that name"));
    assert!(ran.status.success(), "minisign {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_signed_config_runs_and_a_newer_one_replaces_it() {
    let plant = Plant::new();
    let (good, newer) = (config("good"), config("newer"));
    let agent = plant.running(&good);

    plant.put(&newer, &plant.sign(&plant.key, &newer, 2_001));

    agent.applied(&newer);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn what_is_not_signed_by_the_key_is_refused_with_the_reason() {
    let plant = Plant::new();
    let (good, bad) = (config("good"), config("bad"));
    let agent = plant.running(&good);
    let right = plant.sign(&plant.key, &bad, 3_000);
    let text = String::from_utf8(right.clone()).unwrap();

    fs::remove_file(plant.host.path("config.yaml.minisig")).unwrap();
    plant.place("config.yaml", bad.as_bytes());
    plant.refused(&agent, &good, "config is not signed");

    plant.put(&format!("{bad}# tampered\n"), &right);
    plant.refused(&agent, &good, "its body was changed");

    plant.put(&bad, text.replace("timestamp:3000", "timestamp:4000").as_bytes());
    plant.refused(&agent, &good, "its trusted comment or the signature itself was changed");

    let other = make_key(&plant.host, "other");
    plant.put(&bad, &plant.sign(&other, &bad, 3_000));
    plant.refused(&agent, &good, "config is signed with key ");

    plant.put(&bad, &vec![b'x'; 1 << 20]);
    plant.refused(&agent, &good, "config.yaml.minisig: is larger than 4KiB");

    // Refused for its signature alone: with the right one it is as good as any.
    plant.put(&bad, &right);
    agent.applied(&bad);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn an_older_config_is_not_played_back_even_after_a_restart() {
    let plant = Plant::new();
    let (good, old) = (config("good"), config("old"));
    let mut agent = plant.running(&good);
    let signature = plant.sign(&plant.key, &old, 1_999);

    plant.put(&old, &signature);
    plant.refused(
        &agent,
        &good,
        "config was signed at 1970-01-01T00:33:19Z, before the newest accepted one of 1970-01-01T00:33:20Z",
    );

    agent.stop();
    let agent = plant.host.agent().start();
    agent.logs("config was signed at 1970-01-01T00:33:19Z, before");
    agent.applied_still(&good);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_person_takes_the_bar_away_that_a_signers_clock_has_put_up() {
    let plant = Plant::new();
    let (ahead, honest, more) = (config("ahead"), config("honest"), config("more"));
    let mut agent = plant.running(&ahead);
    plant.put(&honest, &plant.sign(&plant.key, &honest, 1_500));
    plant.refused(&agent, &ahead, "let `otelet rollback --clear-signed` forget that time");

    let cleared = plant.host.otelet(&["rollback", "--clear-signed"]);

    let said = "0 refused configs may be tried again when they are offered; \
                the next signed config is accepted whenever it was signed\n";
    assert_eq!((cleared.status.code(), &*stdout(&cleared)), (Some(0), said));
    agent.applied(&honest);

    // From then on it counts again, also after a restart, until a person wants it otherwise while no agent runs.
    agent.stop();
    plant.put(&more, &plant.sign(&plant.key, &more, 1_400));
    let mut agent = plant.host.agent().start();
    agent.logs("config was signed at 1970-01-01T00:23:20Z, before the newest accepted one of 1970-01-01T00:25:00Z");
    agent.applied_still(&honest);
    agent.stop();
    assert_eq!(stdout(&plant.host.otelet(&["rollback", "--clear-signed"])), said);
    let agent = plant.host.agent().start();
    agent.applied(&more);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_signature_that_comes_after_its_config_is_noticed() {
    let plant = Plant::new();
    let (good, next) = (config("good"), config("next"));
    plant.host.set("config.poll_every", "1h");
    let agent = plant.running(&good);
    let signature = plant.sign(&plant.key, &next, 2_001);

    plant.place("config.yaml", next.as_bytes());
    agent.logs("its body was changed, or the signature is of another config");
    plant.place("config.yaml.minisig", &signature);

    agent.applied(&next);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_server_has_the_signature_beside_the_config() {
    let plant = Plant::new();
    let good = config("good");
    plant.host.set("config.url", &plant.host.server.url());
    // One answer for the config, the next for its signature, and so on.
    let signature = plant.sign(&plant.key, &good, 2_000);
    let server: &Server = &plant.host.server;
    server.answer(super::server::Answer::status(404));
    server.answer_once(super::server::Answer::Config(good.clone().into_bytes()));
    server.answer_once(super::server::Answer::Config(signature));

    let agent = plant.host.agent().start();

    agent.applied(&good);
    let paths: Vec<String> = server.requests().into_iter().take(2).map(|asked| asked.path).collect();
    assert_eq!(paths[1], format!("{}.minisig", paths[0]));
}
