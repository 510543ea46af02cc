//! A real otelet with a real Collector: enrolled by a token file, configured over OpAMP, shown healthy.
//!
//! The programs are named by `OTELET_TEST_AGENT` and `OTELET_TEST_COLLECTOR`; without them this says so and does nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use otelet_hub_decide::{Member, State, Uid};

use crate::kit::{CONFIG, TestHub, audit, eventually, other};

struct Real {
    child: Child,
    dir: PathBuf,
}

impl Drop for Real {
    fn drop(&mut self) {
        // Asked to stop, it ends its collector too.
        _ = Command::new("kill").arg(self.child.id().to_string()).status();
        _ = self.child.wait();
    }
}

fn programs() -> Option<(PathBuf, PathBuf)> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_file());
    let both = named("OTELET_TEST_AGENT").zip(named("OTELET_TEST_COLLECTOR"));
    if both.is_none() {
        eprintln!("SKIPPED: set OTELET_TEST_AGENT and OTELET_TEST_COLLECTOR to test with a real agent");
    }
    both
}

fn start(hub: &TestHub, agent: &Path, collector: &Path, name: &str, config: &str, token: &str) -> Real {
    let dir = hub.dir.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("token"), format!("{token}\n")).unwrap();
    let (dir_text, base) = (dir.display(), format!("http://{}", hub.address));
    let settings = format!(
        "config:\n{config}\n  bearer_token_file: {dir_text}/token\n  poll_every: 1s\ncollector:\n  path: {}\n  probation: 1s\n\
         report:\n  url: {base}/v1/reports\n  headers: {{Authorization: \"Bearer ${{file:{dir_text}/token}}\"}}\n\
         export:\n  to: {base}\n  headers: {{Authorization: \"Bearer ${{file:{dir_text}/token}}\"}}\n  metrics: none\n\
         attributes: {{site: line-3}}\nstate_dir: {dir_text}/state\nruntime_dir: {dir_text}/run\n",
        collector.display()
    );
    std::fs::write(dir.join("otelet.yaml"), settings).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let child = Command::new(agent)
        .arg(format!("--settings={dir_text}/otelet.yaml"))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Real { child, dir }
}

fn the_one(hub: &TestHub) -> Option<(Uid, Member)> {
    hub.hub.fleet(|fleet| fleet.members().iter().next().map(|(uid, member)| (*uid, member.clone())))
}

fn state(member: &Member) -> State {
    member.agent.state(member.desired.as_ref().map(|it| it.hash), otelet_hub::clock::now())
}

#[test]
fn enrolled_by_a_token_file_it_gets_its_config_by_opamp_and_is_healthy() {
    let Some((agent, collector)) = programs() else { return };
    let hub = TestHub::new();
    hub.save("edge", 0, CONFIG);
    hub.assign(&[("site=line-3", "edge", 1)]);
    let config = format!("  protocol: opamp\n  url: http://{}/v1/opamp", hub.address);
    let real = start(&hub, &agent, &collector, "press-1", &config, &hub.enrolment(1));

    let log = || std::fs::read_to_string(real.dir.join("log")).unwrap_or_default();
    let uid = eventually("the agent is healthy with edge@1", || {
        let (uid, member) = the_one(&hub)?;
        (state(&member) == State::Healthy && member.agent.running.is_some()).then_some(uid)
    });
    let member = hub.member(uid);
    assert_eq!(member.agent.running, member.desired.as_ref().map(|it| it.hash), "{}", log());
    assert_eq!(member.agent.labels()["site"], "line-3");
    let used = eventually("it uses its own credential", || {
        let rows = hub.run(hub.hub.store.rows("SELECT used FROM credential", vec![])).unwrap();
        (otelet_hub::store::int(&rows[0], "used") == 1).then_some(rows.len())
    });
    assert_eq!(used, 1);

    // A config that validates nowhere: the agent refuses it, the hub shows it in the collector's words.
    let bad = other(1).replace("debug:", "fluentd:").replace("[debug]", "[fluentd]");
    hub.save("edge", 1, &bad);
    hub.assign(&[("site=line-3", "edge", 2)]);
    let member = eventually("edge@2 is refused", || {
        let member = hub.member(uid);
        (state(&member) == State::ConfigFailed).then_some(member)
    });
    let trouble = member.agent.trouble(member.desired.as_ref().map(|it| it.hash), otelet_hub::clock::now()).unwrap();
    assert!(trouble.contains("unknown type: \"fluentd\""), "{trouble}");
    assert_eq!(hub.hub.fleet(|fleet| fleet.stops().len()), 1);

    // Back to the config before.
    hub.assign(&[("site=line-3", "edge", 1)]);
    eventually("it is healthy again", || (state(&hub.member(uid)) == State::Healthy).then_some(()));

    // Events of its own, by OTLP, and its reports.
    eventually("its own events are on its timeline", || {
        let sql = "SELECT COUNT(*) AS n FROM event WHERE source = 'agent'";
        let rows = hub.run(hub.hub.store.rows(sql, vec![])).unwrap();
        (otelet_hub::store::int(&rows[0], "n") > 0).then_some(())
    });
    eventually("its report is kept", || {
        let rows = hub.run(hub.hub.store.rows("SELECT body FROM status", vec![])).unwrap();
        rows.first().map(|_| ())
    });

    // A restart.
    hub.run(hub.hub.ask_restart(uid, "anna", audit())).unwrap();
    eventually("the agent says that it was asked to", || {
        hub.events(uid).contains(&"otelet.collector.restart_asked".to_owned()).then_some(())
    });
    eventually("it is healthy after the restart", || (state(&hub.member(uid)) == State::Healthy).then_some(()));
    println!("{}", hub.events(uid).join(" "));
}

#[test]
fn by_plain_get_with_reports_it_is_healthy_too() {
    let Some((agent, collector)) = programs() else { return };
    let hub = TestHub::new();
    hub.save("edge", 0, CONFIG);
    hub.assign(&[("", "edge", 1)]);
    // The uid of the agent is its own: an installer asks `otelet` for it. Here the first report names it.
    let config = format!("  url: http://{}/v1/config.yaml", hub.address);
    let uid = Uid([0x42; 16]);
    let token = {
        let enrolment = hub.enrolment(1);
        let bearer = format!("Bearer {enrolment}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        let answer = hub.ask("POST", "/v1/enrol", &headers, format!("{{\"instance_uid\": \"{uid}\"}}").as_bytes());
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["token"].as_str().unwrap().to_owned()
    };
    std::fs::create_dir_all(hub.dir.join("oven/state")).unwrap();
    let real = start(&hub, &agent, &collector, "oven", &config, &token);
    let log = || std::fs::read_to_string(real.dir.join("log")).unwrap_or_default();
    eventually("it has fetched its config", || {
        let member = hub.member(uid);
        member.agent.offer.is_some().then_some(())
    });
    eventually("its collector runs", || log().contains("applied").then_some(()));
    assert_eq!(state(&hub.member(uid)), State::Healthy, "{}", log());
}
