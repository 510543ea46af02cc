//! Tests of rules with made-up values.

use super::labels::all_labels;
use super::*;
use crate::decide::data::failure::FailureKind;
use crate::decide::data::time::origin;
use crate::decide::{AlertSeverity, AlertState, Threshold};
use crate::telemetry::Metric;
use crate::telemetry::{Attributes, Kind, Point};
use std::time::SystemTime;

static LOAD: Metric =
    Metric { name: "load", unit: "1", kind: Kind::Gauge, owner: crate::telemetry::Owner::Host, help: "" };
static ERRORS: Metric =
    Metric { name: "errors", unit: "1", kind: Kind::Counter, owner: crate::telemetry::Owner::Host, help: "" };
static OTHER: Metric =
    Metric { name: "other", unit: "1", kind: Kind::Gauge, owner: crate::telemetry::Owner::Host, help: "" };

const WALL: SystemTime = SystemTime::UNIX_EPOCH;

fn rule() -> AlertSettings {
    AlertSettings {
        name: "busy".into(),
        metric: "load".into(),
        conditions: Vec::new(),
        rate: false,
        threshold: Threshold::Above(8.0),
        resolve_at: 5.0,
        lasting: Duration::from_secs(60),
        severity: AlertSeverity::Warning,
        summary: None,
        labels: Vec::new(),
    }
}

/// Alerts, and the seconds that have passed for them.
struct Bench {
    t0: Instant,
    seconds: u64,
    alerts: Alerts,
}

impl Bench {
    fn new(rules: &[AlertSettings]) -> Self {
        let alerts = Alerts::new(rules, &[("instance".into(), "here".into())], Some(Duration::from_secs(60)));
        Self { t0: origin(), seconds: 0, alerts }
    }

    fn at(&self) -> Moment {
        let passed = Duration::from_secs(self.seconds);
        Moment { now: self.t0 + passed, wall: WALL + passed, dice: u64::MAX / 2 }
    }

    /// The lines of the log after these values, so many seconds later.
    fn after(&mut self, seconds: u64, points: Vec<Point>) -> Vec<String> {
        self.seconds += seconds;
        let at = self.at();
        let mut out = Vec::new();
        self.alerts.on_measured(&Snapshot { at: WALL, points }, at, &mut out);
        said(&out)
    }

    fn load(&mut self, seconds: u64, value: f64) -> Vec<String> {
        self.after(seconds, vec![Point::new(&LOAD, value)])
    }

    fn due(&mut self, seconds: u64) -> Vec<Action> {
        self.seconds += seconds;
        let at = self.at();
        let mut out = Vec::new();
        self.alerts.on_due(at, &mut out);
        out
    }

    /// The batch that is sent now.
    fn sends(&mut self) -> Vec<AlertMessage> {
        let batch = self.due(0).into_iter().find_map(|action| match action {
            Action::SendAlerts(batch) => Some(batch),
            _ => None,
        });
        batch.unwrap_or_default()
    }

    fn taken(&mut self) {
        let at = self.at();
        self.alerts.on_sent(Ok(()), None, at, &mut Vec::new());
    }
}

fn said(actions: &[Action]) -> Vec<String> {
    let line = |action: &Action| match action {
        Action::Tell(notice) => Some(notice.to_string()),
        _ => None,
    };
    actions.iter().filter_map(line).collect()
}

const NOTHING: [String; 0] = [];

#[test]
fn an_alert_fires_after_its_time_and_not_a_moment_before() {
    let mut bench = Bench::new(&[rule()]);
    assert_eq!(bench.load(0, 9.0), NOTHING);
    assert_eq!(bench.alerts.report().alerts[0].state, AlertState::Pending);
    assert_eq!(bench.load(59, 9.0), NOTHING);

    assert_eq!(bench.load(1, 9.5), ["alert busy (warning) fires: load is 9.5, above 8 for 1m"]);
    assert_eq!(bench.load(16, 10.0), NOTHING);

    let report = &bench.alerts.report().alerts[0];
    assert_eq!((report.state, report.value), (AlertState::Firing, Some(10.0)));
    assert_eq!(report.since, Some(WALL + Duration::from_secs(60)));
}

#[test]
fn a_good_value_in_between_restarts_the_time() {
    let mut bench = Bench::new(&[rule()]);
    bench.load(0, 9.0);
    bench.load(50, 8.0);
    bench.load(10, 9.0);
    assert_eq!(bench.load(59, 9.0), NOTHING);
    assert_eq!(bench.load(1, 9.0).len(), 1);
}

#[test]
fn an_alert_is_resolved_only_at_the_value_of_the_settings() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    assert_eq!(bench.load(0, 9.0), ["alert busy (warning) fires: load is 9, above 8"]);
    assert_eq!(bench.load(16, 5.01), NOTHING);
    assert_eq!(bench.load(16, 9.0), NOTHING);

    let lines = bench.load(16, 5.0);
    assert_eq!(lines, ["alert busy resolved, it is good again: load is 5; it fired since 1970-01-01T00:00:00Z"]);
    assert_eq!(bench.alerts.report().alerts[0].state, AlertState::Good);
    assert_eq!(bench.load(16, 8.5).len(), 1, "and may fire again");
}

#[test]
fn a_threshold_below_works_the_other_way_round() {
    let below = AlertSettings { threshold: Threshold::Below(1.0), resolve_at: 2.0, lasting: Duration::ZERO, ..rule() };
    let mut bench = Bench::new(&[below]);
    assert_eq!(bench.load(0, 1.0), NOTHING);
    assert_eq!(bench.load(1, 0.5).len(), 1);
    assert_eq!(bench.load(1, 1.5), NOTHING);
    assert_eq!(bench.load(1, 2.0).len(), 1);
}

#[test]
fn each_series_with_the_attributes_is_an_alert_of_its_own() {
    let rule = AlertSettings {
        conditions: vec![("state".into(), "used".into()), ("cpu".into(), "1".into())],
        lasting: Duration::ZERO,
        ..rule()
    };
    let mut bench = Bench::new(&[rule]);
    let point = |state: &'static str, cpu: i64, device: &'static str| {
        Point::new(&LOAD, 9.0).with("state", state).with("cpu", cpu).with("device", device)
    };

    let lines = bench
        .after(0, vec![point("used", 1, "a"), point("used", 1, "b"), point("free", 1, "a"), point("used", 2, "a")]);

    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[1].contains("load {state=used, cpu=1, device=b} is 9"), "{}", lines[1]);
    let turned = Point::new(&LOAD, 1.0).with("device", "b").with("cpu", 1).with("state", "used");
    assert_eq!(bench.after(1, vec![turned, point("used", 1, "a")]).len(), 1, "whatever their order");
}

#[test]
fn a_rate_is_the_change_per_second_and_a_counter_that_falls_begins_anew() {
    let rule = AlertSettings {
        metric: "errors".into(),
        rate: true,
        threshold: Threshold::Above(10.0),
        resolve_at: 10.0,
        lasting: Duration::ZERO,
        ..rule()
    };
    let mut bench = Bench::new(&[rule]);
    let errors = |value: u64| vec![Point::new(&ERRORS, value)];

    assert_eq!(bench.after(0, errors(1_000_000)), NOTHING, "one value is no rate");
    assert_eq!(bench.after(10, errors(1_000_100)), NOTHING, "ten a second");
    assert_eq!(bench.after(10, errors(1_000_210)).len(), 1, "eleven a second");
    assert_eq!(bench.after(10, errors(5)), NOTHING, "that is not minus a hundred thousand: it tells nothing");
    assert_eq!(bench.after(0, errors(500)), NOTHING, "at the same time: it tells nothing");
    assert_eq!(bench.after(10, errors(6)).len(), 1, "0.1 a second since the fall");
}

#[test]
fn a_gauge_may_fall_at_a_rate() {
    let rule = AlertSettings {
        rate: true,
        threshold: Threshold::Below(-1.0),
        resolve_at: -1.0,
        lasting: Duration::ZERO,
        ..rule()
    };
    let mut bench = Bench::new(&[rule]);
    bench.load(0, 100.0);
    assert_eq!(bench.load(10, 80.0), ["alert busy (warning) fires: load is -2, below -1"]);
}

#[test]
fn an_alert_on_an_unmeasured_series_is_resolved_with_that_reason() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    let two = |bad: f64| vec![Point::new(&LOAD, bad).with("d", "a"), Point::new(&LOAD, 1.0).with("d", "b")];
    bench.after(0, two(9.0));
    bench.after(10, two(9.0));
    let rest = || vec![Point::new(&LOAD, 1.0).with("d", "b")];

    assert_eq!(bench.after(10, rest()), NOTHING);
    assert_eq!(bench.after(10, rest()), NOTHING);
    let lines = bench.after(10, rest());

    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("alert busy resolved, it is no longer measured: load {d=a} is 9;"), "{}", lines[0]);
}

#[test]
fn a_series_ends_by_time_and_not_by_snapshots_of_other_metrics() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    bench.load(0, 9.0);
    for _ in 0..29 {
        assert_eq!(bench.after(10, vec![Point::new(&OTHER, 1.0)]), NOTHING);
    }
    let due = bench.alerts.firing().next().expect("it fires still").0.gone_at();
    assert_eq!(due, bench.t0 + GONE_AFTER);
    assert!(said(&bench.due(9)).is_empty());
    assert_eq!(said(&bench.due(1)).len(), 1);
}

#[test]
fn a_rarely_measured_series_is_not_gone_when_others_are_measured_often() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    let seldom = || vec![Point::new(&LOAD, 9.0).with("check", "seldom")];
    let often = || vec![Point::new(&LOAD, 1.0).with("check", "often")];
    assert_eq!(bench.after(0, seldom()).len(), 1);
    for _ in 0..20 {
        for _ in 0..29 {
            assert_eq!(bench.after(10, often()), NOTHING);
        }
        assert_eq!(bench.after(9, seldom()), NOTHING);
    }
}

#[test]
fn a_pending_series_that_vanished_does_not_fire() {
    let mut bench = Bench::new(&[rule()]);
    bench.load(0, 9.0);
    bench.load(10, 9.0);
    bench.due(GONE_AFTER.as_secs());
    assert_eq!(bench.load(10, 9.0), NOTHING);
    assert_eq!(bench.alerts.report().alerts[0].state, AlertState::Pending);
}

#[test]
fn series_above_the_limit_are_counted_and_ignored() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    let point = |number: usize, value: f64| Point::new(&LOAD, value).with("n", number as i64);
    let good = (0..1_000).map(|number| point(number, 1.0));
    let bad = (0..MOST_SERIES + 3).map(|number| point(1_000 + number, 9.0));

    let lines = bench.after(0, good.chain(bad).collect());

    assert_eq!(lines.len(), MOST_SERIES, "good ones take no place");
    assert_eq!(bench.alerts.report().overlooked, 3);
    bench.after(1, vec![point(0, 1.0)]);
    assert_eq!(bench.alerts.report().overlooked, 0);
}

#[test]
fn an_infinite_or_undefined_value_is_ignored() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    assert_eq!(bench.load(0, f64::INFINITY), NOTHING);
    assert_eq!(bench.load(1, f64::NAN), NOTHING);
    assert_eq!(bench.alerts.report().alerts[0].state, AlertState::Unmeasured);
}

#[test]
fn an_unmeasured_metric_is_not_good_for_ever() {
    let mut bench = Bench::new(&[rule()]);
    let state = |bench: &Bench| bench.alerts.report().alerts[0].state;
    bench.load(0, 1.0);
    bench.load(200, 1.0);
    bench.due(GONE_AFTER.as_secs());
    assert_eq!(state(&bench), AlertState::Good, "it comes each 200 s");
    bench.due(500);
    assert_eq!(state(&bench), AlertState::Unmeasured);
    bench.load(1, 1.0);
    assert_eq!(state(&bench), AlertState::Good);
}

#[test]
fn an_alert_survives_a_restart_with_its_start_and_labels() {
    let rule = AlertSettings { lasting: Duration::ZERO, ..rule() };
    let mut bench = Bench::new(std::slice::from_ref(&rule));
    bench.load(7, 9.0);
    let first = bench.sends();
    let memory = bench.alerts.memory();

    let mut next = Bench::new(&[rule]);
    next.alerts.relabel(vec![("instance".into(), "another name".into())]);
    next.seconds = 1_000;
    let at = next.at();
    let mut out = Vec::new();
    next.alerts.restore(memory, at, &mut out);

    assert_eq!(out, []);
    let again = next.sends();
    assert_eq!((&again[0].labels, again[0].starts_at), (&first[0].labels, first[0].starts_at));
    assert!(again[0].ends_at > first[0].ends_at, "it is repeated at once");
    next.taken();
    assert_eq!(next.load(10, 9.0), NOTHING);
    assert_eq!(next.load(10, 1.0).len(), 1);
    let resolved = next.sends();
    assert_eq!((&resolved[0].labels, resolved[0].starts_at), (&first[0].labels, first[0].starts_at));
    assert_eq!(resolved[0].ends_at, WALL + Duration::from_secs(1_020));
}

#[test]
fn an_alert_without_its_rule_is_resolved() {
    let quick = AlertSettings { lasting: Duration::ZERO, ..rule() };
    let changes: [(&str, Vec<AlertSettings>); 4] = [
        ("it is no longer in the settings", vec![]),
        ("its settings have changed", vec![AlertSettings { metric: "other".into(), ..quick.clone() }]),
        ("its settings have changed", vec![AlertSettings { severity: AlertSeverity::Critical, ..quick.clone() }]),
        ("its settings have changed", vec![AlertSettings { labels: vec![("a".into(), "b".into())], ..quick.clone() }]),
    ];
    for (why, rules) in changes {
        let mut bench = Bench::new(std::slice::from_ref(&quick));
        bench.load(0, 9.0);
        let (memory, at) = (bench.alerts.memory(), bench.at());
        let (mut running, mut restarted) = (Vec::new(), Vec::new());

        bench.alerts.reconfigure(&rules, &[], Some(Duration::from_secs(60)), at, &mut running);
        Bench::new(&rules).alerts.restore(memory, at, &mut restarted);

        assert_eq!(said(&running).len(), 1, "{why}");
        assert!(said(&running)[0].contains(why), "{}", said(&running)[0]);
        assert_eq!(said(&running), said(&restarted));
        assert_eq!(bench.alerts.memory().firing, []);
    }
}

#[test]
fn a_new_threshold_does_not_end_a_firing_alert() {
    let quick = AlertSettings { lasting: Duration::ZERO, ..rule() };
    let mut bench = Bench::new(std::slice::from_ref(&quick));
    bench.load(0, 9.0);
    let higher = AlertSettings { threshold: Threshold::Above(20.0), resolve_at: 8.0, ..quick };
    let (at, mut out) = (bench.at(), Vec::new());

    bench.alerts.reconfigure(&[higher], &[], None, at, &mut out);

    assert_eq!(said(&out), NOTHING);
    assert_eq!(bench.load(10, 9.0), NOTHING);
    assert_eq!(bench.load(10, 8.0).len(), 1);
}

#[test]
fn a_resolved_alert_is_sent_until_it_is_accepted_once() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    bench.load(0, 9.0);
    assert_eq!(bench.sends().len(), 1);
    bench.load(10, 1.0);
    assert_eq!(bench.sends(), [], "one is out");
    bench.taken();

    let resolved = bench.sends();
    assert_eq!(resolved[0].ends_at, WALL + Duration::from_secs(10));
    let at = bench.at();
    bench.alerts.on_sent(Err(Failure::new(FailureKind::Status, "answered 503")), None, at, &mut Vec::new());
    assert_eq!(bench.sends(), [], "not at once");
    assert_eq!(bench.alerts.memory().resolved.len(), 1, "and not lost with the agent");
    bench.seconds += 60;
    assert_eq!(bench.sends(), resolved);
    bench.taken();

    assert_eq!(bench.alerts.memory(), AlertMemory::default());
    bench.seconds += 1_000;
    assert_eq!(bench.sends(), []);
    assert_eq!(bench.alerts.due(), None, "nothing wakes the agent for it any more");
}

#[test]
fn an_alert_that_fires_again_drops_its_unsent_resolution() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    bench.load(0, 9.0);
    bench.load(10, 1.0);
    bench.load(10, 9.0);
    let batch = bench.sends();
    assert_eq!(batch.len(), 1);
    assert_eq!(batch[0].starts_at, WALL + Duration::from_secs(20));
}

#[test]
fn a_receiver_away_for_long_costs_bounded_memory() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    for number in 0..MOST_RESOLVED as i64 + 5 {
        bench.after(1, vec![Point::new(&LOAD, 9.0).with("n", number)]);
        bench.after(1, vec![Point::new(&LOAD, 1.0).with("n", number)]);
    }
    assert_eq!(bench.alerts.memory().resolved.len(), MOST_RESOLVED);
    assert_eq!(bench.alerts.report().dropped, 5);
}

#[test]
fn each_change_is_written_once_and_again_after_a_failure() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    let writes = |bench: &mut Bench| {
        let mut out = Vec::new();
        bench.alerts.keep(bench.t0 + Duration::from_secs(bench.seconds), &mut out);
        out.len()
    };
    assert_eq!(writes(&mut bench), 0);
    bench.load(0, 9.0);
    assert_eq!(writes(&mut bench), 1);
    bench.load(1, 1.0);
    assert_eq!(writes(&mut bench), 0, "one is out");
    let (at, mut out) = (bench.at(), Vec::new());
    bench.alerts.on_kept(Err("no space left on device".into()), at, &mut out);
    assert_eq!(
        said(&out),
        ["cannot write the state of the alerts: no space left on device; next try in 2.5s, all goes on from memory"]
    );
    assert_eq!(writes(&mut bench), 0, "not at once");
    bench.seconds += 3;
    assert_eq!(writes(&mut bench), 1);
    let at = bench.at();
    bench.alerts.on_kept(Ok(()), at, &mut out);
    bench.load(1, 1.0);
    assert_eq!(writes(&mut bench), 0, "nothing has changed");
}

#[test]
fn labels_are_named_as_in_prometheus() {
    let rule = AlertSettings {
        labels: vec![("team".into(), "edge".into()), ("device".into(), "mine".into()), ("empty".into(), String::new())],
        ..rule()
    };
    let attributes: Attributes = vec![
        ("system.memory.state".into(), "used".into()),
        ("1st".into(), 1.into()),
        ("device".into(), "sda".into()),
        ("b.c".into(), "second".into()),
        ("b-c".into(), "first".into()),
        ("alertname".into(), "forged".into()),
    ];
    let labels = all_labels(&rule, &[("instance".into(), "uid".into())], &attributes);
    let labels: Vec<String> = labels.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        labels.join(" "),
        "_1st=1 alertname=busy b_c=first;second device=mine exported_alertname=forged exported_device=sda \
         instance=uid severity=warning system_memory_state=used team=edge"
    );
}

#[test]
fn numbers_are_short_enough_to_read() {
    let shown = [0.0, 1.0 / 3.0, 0.95, 1e9, 1_234_567.891, 12.5, -0.000_012_34].map(rounded);
    assert_eq!(shown, ["0", "0.333333", "0.95", "1000000000", "1234568", "12.5", "-0.00001234"]);
}

impl Bench {
    /// A receiver whose clock is so many seconds ahead accepts the batch that is under way. Returns the lines of the
    /// log.
    fn taken_by_one_ahead(&mut self, ahead: u64) -> Vec<String> {
        let at = self.at();
        let theirs = at.wall + Duration::from_secs(ahead);
        let clocks = Clocks { server: "http://a/".into(), theirs, ours: at.wall };
        let mut out = Vec::new();
        self.alerts.on_sent(Ok(()), Some(&clocks), at, &mut out);
        let told = |action: &Action| match action {
            Action::Tell(notice) => notice.to_string(),
            other => panic!("{other:?}"),
        };
        out.iter().map(told).collect()
    }
}

const WEEK: u64 = 7 * 24 * 3600;

#[test]
fn a_receiver_with_an_equal_clock_gets_one_batch_in_our_time() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    bench.load(0, 9.0);
    assert_eq!(bench.sends()[0].starts_at, WALL);

    assert_eq!(bench.taken_by_one_ahead(5), NOTHING);
    assert_eq!(bench.sends(), [], "once");
    bench.seconds += 60;
    assert_eq!(bench.sends()[0].starts_at, WALL);
}

#[test]
fn a_receiver_with_a_clock_ahead_gets_the_batch_again_in_its_time() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    bench.load(0, 9.0);
    let ours = bench.sends();

    let told = bench.taken_by_one_ahead(WEEK);
    let line = "the clock of this host is 168h behind that of http://a/; alerts are sent in the time of the latter";
    assert_eq!(told, [line]);
    let theirs = bench.sends();
    let week = Duration::from_secs(WEEK);
    assert_eq!(theirs[0].starts_at, ours[0].starts_at + week, "at once");
    assert_eq!(theirs[0].ends_at, ours[0].ends_at + week);
    assert_eq!(bench.alerts.report().messages.sent, 0, "the first does not count");

    assert_eq!(bench.taken_by_one_ahead(WEEK), NOTHING);
    assert_eq!(bench.sends(), [], "once");
    bench.seconds += 60;
    assert_eq!(bench.sends()[0].starts_at, theirs[0].starts_at);

    // The clock of this host is corrected.
    assert_eq!(bench.taken_by_one_ahead(0), NOTHING);
    assert_eq!(bench.sends()[0].starts_at, ours[0].starts_at);
}

#[test]
fn a_receiver_clock_that_jumps_causes_one_correction_only() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    bench.load(0, 9.0);
    let mut sent = 0;
    while !bench.sends().is_empty() {
        sent += 1;
        assert!(sent < 10, "again and again");
        bench.taken_by_one_ahead(WEEK * sent);
    }
    assert_eq!((sent, bench.alerts.report().messages.sent), (2, 1));
}

#[test]
fn a_resolution_sent_with_wrong_times_is_sent_again() {
    let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
    bench.load(0, 9.0);
    bench.load(10, 1.0);
    assert_eq!(bench.sends()[0].ends_at, WALL + Duration::from_secs(10));
    bench.taken_by_one_ahead(WEEK);
    assert_eq!(bench.alerts.memory().resolved.len(), 1);
    assert_eq!(bench.sends()[0].ends_at, WALL + Duration::from_secs(10 + WEEK));
    bench.taken_by_one_ahead(2 * WEEK);
    assert_eq!(bench.alerts.memory().resolved.len(), 1, "wrong once more");
    bench.seconds += 60;
    assert_eq!(bench.sends()[0].ends_at, WALL + Duration::from_secs(10 + 2 * WEEK));
    bench.taken_by_one_ahead(2 * WEEK);
    assert_eq!(bench.alerts.memory(), AlertMemory::default());
}
