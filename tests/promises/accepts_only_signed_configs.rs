//! With `config.public_key` set, the agent accepts only configs that the owner of the key signed, and none older than
//! the newest accepted one. Keys and signatures come from the real minisign.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::host::{Agent, Host, config, stdout};
use super::server::Server;

/// A host that takes its config from a file and trusts a signer with a key of its own.
struct Setup {
    host: Host,
    key: PathBuf,
}

impl Setup {
    fn new() -> Self {
        let host = Host::new();
        let key = make_key(&host, "setup");
        host.set("config.url", &host.path("config.yaml").display().to_string());
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        host.set("config.public_key", public.lines().last().unwrap());
        Self { host, key }
    }

    /// Signs this body with a time stamp of this many seconds after 1970.
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

    /// Writes a config and its signature where the agent reads them: the signature first, so that they never disagree.
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

    /// Waits for a refusal with these words, and checks that the collector that runs was not touched.
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
    let setup = Setup::new();
    let (good, newer) = (config("good"), config("newer"));
    let agent = setup.running(&good);

    setup.put(&newer, &setup.sign(&setup.key, &newer, 2_001));

    agent.applied(&newer);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_config_that_the_key_did_not_sign_is_refused_with_the_reason() {
    let setup = Setup::new();
    let (good, bad) = (config("good"), config("bad"));
    let agent = setup.running(&good);
    let right = setup.sign(&setup.key, &bad, 3_000);
    let text = String::from_utf8(right.clone()).unwrap();

    fs::remove_file(setup.host.path("config.yaml.minisig")).unwrap();
    setup.place("config.yaml", bad.as_bytes());
    setup.refused(&agent, &good, "config is not signed");

    setup.put(&format!("{bad}# tampered\n"), &right);
    setup.refused(&agent, &good, "its body was changed");

    setup.put(&bad, text.replace("timestamp:3000", "timestamp:4000").as_bytes());
    setup.refused(&agent, &good, "its trusted comment or the signature itself was changed");

    let other = make_key(&setup.host, "other");
    setup.put(&bad, &setup.sign(&other, &bad, 3_000));
    setup.refused(&agent, &good, "config is signed with key ");

    setup.put(&bad, &vec![b'x'; 1 << 20]);
    setup.refused(&agent, &good, "config.yaml.minisig: is larger than 4KiB");

    // The same config with the right signature is accepted: only the signature was wrong.
    setup.put(&bad, &right);
    agent.applied(&bad);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn an_older_config_is_not_played_back_even_after_a_restart() {
    let setup = Setup::new();
    let (good, old) = (config("good"), config("old"));
    let mut agent = setup.running(&good);
    let signature = setup.sign(&setup.key, &old, 1_999);

    setup.put(&old, &signature);
    setup.refused(
        &agent,
        &good,
        "config was signed at 1970-01-01T00:33:19Z, before the newest accepted one of 1970-01-01T00:33:20Z",
    );

    agent.stop();
    let agent = setup.host.agent().start();
    agent.logs("config was signed at 1970-01-01T00:33:19Z, before");
    agent.applied_still(&good);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_person_can_clear_the_newest_time_after_a_signers_clock_was_ahead() {
    let setup = Setup::new();
    let (ahead, honest, more) = (config("ahead"), config("honest"), config("more"));
    let mut agent = setup.running(&ahead);
    setup.put(&honest, &setup.sign(&setup.key, &honest, 1_500));
    setup.refused(&agent, &ahead, "forget that time with `otelet rollback --clear-signed`");

    let cleared = setup.host.otelet(&["rollback", "--clear-signed"]);

    let said = "0 refused configs may be tried again when they are offered; \
                the next signed config is accepted whenever it was signed\n";
    assert_eq!((cleared.status.code(), &*stdout(&cleared)), (Some(0), said));
    agent.applied(&honest);

    // From then on the time counts again, also after a restart, until a person clears it while no agent runs.
    agent.stop();
    setup.put(&more, &setup.sign(&setup.key, &more, 1_400));
    let mut agent = setup.host.agent().start();
    agent.logs("config was signed at 1970-01-01T00:23:20Z, before the newest accepted one of 1970-01-01T00:25:00Z");
    agent.applied_still(&honest);
    agent.stop();
    assert_eq!(stdout(&setup.host.otelet(&["rollback", "--clear-signed"])), said);
    let agent = setup.host.agent().start();
    agent.applied(&more);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_signature_that_comes_after_its_config_is_noticed() {
    let setup = Setup::new();
    let (good, next) = (config("good"), config("next"));
    setup.host.set("config.poll_every", "1h");
    let agent = setup.running(&good);
    let signature = setup.sign(&setup.key, &next, 2_001);

    setup.place("config.yaml", next.as_bytes());
    agent.logs("its body was changed, or the signature is of another config");
    setup.place("config.yaml.minisig", &signature);

    agent.applied(&next);
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn a_server_has_the_signature_beside_the_config() {
    let setup = Setup::new();
    let good = config("good");
    setup.host.set("config.url", &setup.host.server.url());
    // The server's answers alternate: the config, then its signature.
    let signature = setup.sign(&setup.key, &good, 2_000);
    let server: &Server = &setup.host.server;
    server.answer(super::server::Answer::status(404));
    server.answer_once(super::server::Answer::Config(good.clone().into_bytes()));
    server.answer_once(super::server::Answer::Config(signature));

    let agent = setup.host.agent().start();

    agent.applied(&good);
    let paths: Vec<String> = server.requests().into_iter().take(2).map(|asked| asked.path).collect();
    assert_eq!(paths[1], format!("{}.minisig", paths[0]));
}

#[test]
#[ignore = "needs minisign: cargo xtask check --real"]
fn validate_judges_a_signature_as_the_agent_does() {
    let setup = Setup::new();
    let (good, old) = (config("good"), config("old"));
    let mut agent = setup.running(&good);
    agent.stop();
    setup.host.set("config.fallback", &format!("[{}]", setup.host.path("config.yaml").display()));
    let file = setup.host.path("candidate.yaml");
    let other = make_key(&setup.host, "other");
    for (body, signature, why) in [
        (&old, setup.sign(&setup.key, &old, 1_999), "config was signed at 1970-01-01T00:33:19Z, before the newest"),
        (&old, setup.sign(&setup.key, &old, 2_000), "config was signed in the same second as another one"),
        (&old, setup.sign(&other, &old, 3_000), "config is signed with key "),
        (&old, Vec::new(), "config is not signed"),
        (&old, setup.sign(&setup.key, &old, 2_001), ""),
        (&good, setup.sign(&setup.key, &good, 2_000), ""),
    ] {
        fs::write(&file, body).unwrap();
        fs::write(setup.host.path("candidate.yaml.minisig"), signature).unwrap();

        let output = setup.host.otelet(&["validate", &format!("--config-url={}", file.display())]);

        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(i32::from(!why.is_empty())), "{why}: {said}");
        assert!(said.contains(", newest signature of 1970-01-01T00:33:20Z\n"), "{said}");
        assert_eq!(said.contains("takes it"), why.is_empty(), "{said}");
        assert!(said.contains(why), "{said}");
    }
}
