//! docs/export.md lists every event with its severity and its attributes: this holds the page against the code.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::observe::docker::events;
use crate::tell::otlp::own::{Counts, started};
use otelet_core::decide::data::failure::SourceTrouble;
use otelet_core::decide::data::flapping::Flapping;
use otelet_core::decide::{Alert, AlertSeverity, CheckKind, ConfigHash, Exit, FailureKind, Notice, Threshold, Witness};
use otelet_core::telemetry::{EventRecord, Value};

const PAGE: &str = include_str!("../../../docs/export.md");

const A: ConfigHash = ConfigHash([0xa1; 32]);
const B: ConfigHash = ConfigHash([0xb2; 32]);
const SHORT: Duration = Duration::from_millis(1500);

/// Samples of every variant of [`Notice`]: several where a part may be absent. A new variant without a sample does not compile.
macro_rules! samples {
    ($($variant:ident $({ $($field:tt)* })+;)+) => {{
        #[deny(unreachable_patterns)]
        fn each_has_a_sample(notice: &Notice) {
            match notice { $(Notice::$variant { .. } => {})+ }
        }
        let all = vec![$($(Notice::$variant { $($field)* }),+),+];
        all.iter().for_each(each_has_a_sample);
        all
    }};
}

fn notices() -> Vec<Notice> {
    let text = || "for a reason".to_owned();
    let exit = |code: Option<i32>, signal, words: &str| Exit {
        how: "somehow".into(),
        code,
        signal,
        last_words: words.into(),
        stolen_port: false,
    };
    let flapping = |between| Flapping { times: 4, within: SHORT, between };
    let alert = |severity, threshold, summary: Option<&str>| {
        Box::new(Alert {
            name: "disk".into(),
            metric: "system.filesystem.utilization".into(),
            attributes: Vec::new(),
            labels: Vec::new(),
            severity,
            summary: summary.map(str::to_owned),
            since: SystemTime::UNIX_EPOCH,
            value: 0.95,
            threshold,
        })
    };
    let (above, below) = (Threshold::Above(0.9), Threshold::Below(0.1));
    samples! {
        OrphanFound { pid: 7 };
        CollectorStarted { pid: 7, program: text(), config: A, witness: Witness::HealthCheck };
        CollectorHealthy { config: A, after: SHORT };
        CollectorUnhealthy { why: text() };
        CollectorWellAgain {};
        CollectorHeld { reason: text() };
        CollectorSlow { after: SHORT, limit: SHORT, why: text() };
        CollectorHung { why: text(), next: None } { why: text(), next: Some(SHORT) };
        CollectorExited
            { pid: 7, exit: exit(Some(1), None, ""), lived: SHORT, crashes: 1, delay: SHORT }
            { pid: 7, exit: exit(None, Some(9), "no such port"), lived: SHORT, crashes: 1, delay: SHORT };
        CollectorStopped { pid: 7, exit: exit(None, None, "") } { pid: 7, exit: exit(Some(0), None, "") } { pid: 7, exit: exit(None, Some(9), "") };
        CollectorKilled { pid: 7, after: SHORT };
        LeaderEnded { pid: 7 };
        ProgramReplaced
            { config: A, version: String::new(), starts: true }
            { config: A, version: "0.149.0".into(), starts: false };
        ProgramRefuses { config: A, why: text() };
        LocalChanged { config: A };
        LocalRefused { config: A, why: text() };
        ProgramNotAsked { why: text(), delay: SHORT };
        RestartPlanned { restart: 1, delay: SHORT };
        PortStolen {};
        ConfigOffered { hash: A, location: None } { hash: A, location: Some(text()) };
        ConfigHeld
            { hash: A, flapping: flapping(None), delay: SHORT }
            { hash: A, flapping: flapping(Some((A, B))), delay: SHORT };
        ConfigAlike { hash: A, news: true };
        TrialBegins { hash: A };
        Applied { hash: A };
        Refused { hash: A, reason: text(), running: None } { hash: A, reason: text(), running: Some(B) };
        StillRefused { hash: A };
        RolledBack { from: A, to: B, reason: text() };
        NothingToReturnTo { hash: A, reason: text() };
        Withdrawn { hash: A, good: B };
        CannotValidate { hash: A, why: text(), delay: SHORT };
        CannotRecord { why: text(), delay: SHORT };
        Lost { hash: A, message: text() };
        RefusalsCleared { number: 2 };
        ExchangeFailed
            { why: text(), trouble: SourceTrouble::default(), delay: SHORT, running: None, news: true }
            {
                why: text(),
                trouble: SourceTrouble { kind: Some(FailureKind::Status), location: Some(text()) },
                delay: SHORT,
                running: Some(A),
                news: true
            };
        SourceBack { failures: 3, location: Some(text()) };
        FallbackServes { location: text(), trouble: text() };
        SourceServesAgain { location: text() };
        ReportFailed { message: text(), delay: SHORT };
        RestartAsked {};
        StopAsked {};
        StopAskedAgain {};
        ExportFailed { message: text(), kind: FailureKind::Connect, delay: SHORT };
        ExportRefused { message: text() };
        ExportBack {};
        AlertFired
            { alert: alert(AlertSeverity::Info, above, None), lasted: SHORT }
            { alert: alert(AlertSeverity::Warning, below, Some("soon full")), lasted: SHORT }
            { alert: alert(AlertSeverity::Critical, below, None), lasted: SHORT };
        AlertResolved
            { alert: alert(AlertSeverity::Info, above, None), why: "good again".into() }
            { alert: alert(AlertSeverity::Critical, above, Some("soon full")), why: "good again".into() };
        AlertsNotKept { why: text(), delay: SHORT };
        AlertsNotTaken { message: text(), delay: SHORT };
        ClocksDiffer { server: text(), ahead: 60 };
        ClockSet { by: 60, again: true };
        EngineWatched { engine: text(), socket: text(), again: true };
        EngineLost { message: text(), socket: text(), delay: SHORT, news: true };
        AdditionsLeftOut { config: A };
        EngineLeftOut { config: A };
        EngineReadAgain { config: A };
        CheckFailed { name: text(), kind: CheckKind::Http, message: text(), every: SHORT };
        CheckGoodAgain { name: text(), kind: CheckKind::Http, failed_for: SHORT };
    }
}

/// Records of every event that the agent can export.
fn all_records() -> Vec<EventRecord> {
    let at = SystemTime::UNIX_EPOCH;
    let (fresh, mut running) = (Counts::default(), Counts::default());
    running.take(&Notice::CollectorStarted {
        pid: 7,
        program: String::new(),
        config: A,
        witness: Witness::HealthCheck,
    });
    let mut records = vec![started(at)];
    for notice in notices() {
        // These come before the agent has started a collector, or can.
        let (before, after) = match notice {
            Notice::OrphanFound { .. } => (true, false),
            Notice::CollectorStopped { .. } | Notice::CollectorHeld { .. } | Notice::RestartAsked => (true, true),
            _ => (false, true),
        };
        records.extend(fresh.record(&notice, at).filter(|_| before));
        records.extend(running.record(&notice, at).filter(|_| after));
    }
    for kind in &events::KINDS {
        for (code, health, labels) in [(0, "healthy", ""), (137, "unhealthy", r#","KEY":"front""#)] {
            let action = kind.action.replace("health_status", &format!("health_status: {health}"));
            let facts = format!(r#""name":"web","image":"nginx:1","exitCode":"{code}","signal":"15","oldName":"/old""#);
            let actor = format!(r#"{{"ID":"0123abcd","Attributes":{{{facts}{labels}}}}}"#);
            let line =
                |action: &str| format!(r#"{{"Type":"container","Action":"{action}","timeNano":1,"Actor":{actor}}}"#);
            let read =
                |action: &str| events::read(line(action).as_bytes()).expect("an event").expect("of a known kind");
            let mut event = read(&action);
            if code > 0 {
                let mut history = events::History::default();
                history.complete(&mut read("kill"), at);
                history.complete(&mut event, at);
            }
            if code > 0 && kind.action == "start" {
                event.restarted(3);
            }
            records.push(event.record);
        }
    }
    records
}

/// The rows of the table on the page that begins with this heading, and the last cell of each by its first one.
fn rows(heading: &str) -> (Vec<&'static str>, BTreeMap<&'static str, &'static str>) {
    let table = PAGE.split(heading).nth(1).unwrap_or_else(|| panic!("docs/export.md lacks {heading}"));
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let cells = |row: &&'static str| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`'), cells[cells.len() - 1])
    };
    let meanings = rows.iter().map(cells).collect();
    (rows, meanings)
}

fn hold(heading: &str, expected: impl Fn(&BTreeMap<&str, &str>) -> Vec<String>) {
    let (rows, meanings) = rows(heading);
    let expected = expected(&meanings);
    assert!(rows == expected, "docs/export.md: the table should be\n{heading}\n|---|\n{}\n", expected.join("\n"));
    assert!(meanings.values().all(|meaning| !["", "?"].contains(meaning)), "each row says what it means");
}

#[test]
fn the_page_lists_every_event_with_its_severity_and_attributes() {
    let mut events: Vec<(&str, Vec<EventRecord>)> = Vec::new();
    for record in all_records() {
        match events.iter_mut().find(|(event, _)| *event == record.event) {
            Some((_, known)) => known.push(record),
            None => events.push((record.event, vec![record])),
        }
    }
    let row = |(event, records): &(&str, Vec<EventRecord>), meaning: &str| {
        let mut severities: Vec<_> = records.iter().map(|record| record.severity).collect();
        severities.sort();
        severities.dedup();
        let severities: Vec<String> = severities.iter().map(|it| format!("{it:?}").to_uppercase()).collect();
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in records.iter().flat_map(|record| &record.attributes) {
            if !names.contains(&&**name) {
                names.push(name);
            }
        }
        let has = |record: &EventRecord, name: &str| record.attributes.iter().any(|(known, _)| known == name);
        let (always, perhaps): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|name| records.iter().all(|record| has(record, name)));
        let always = always.iter().map(|name| format!("`{name}`"));
        let perhaps = perhaps.iter().map(|name| format!("(`{name}`)"));
        let names = always.chain(perhaps).collect::<Vec<_>>().join(" ");
        format!("| `{event}` | {} | {names} | {meaning} |", severities.join(", "))
    };
    hold("| event | severity | attributes | meaning |", |meanings| {
        events.iter().map(|event| row(event, meanings.get(event.0).unwrap_or(&"?"))).collect()
    });
}

#[test]
fn the_page_lists_every_attribute_of_events_with_its_type() {
    let mut types: BTreeMap<String, &str> = BTreeMap::new();
    for record in all_records() {
        for (name, value) in record.attributes {
            let kind = match value {
                Value::Text(text) => {
                    assert!(text.parse::<f64>().is_err(), "{}: {name} is the text {text:?}", record.event);
                    "text"
                }
                Value::List(_) => "list of texts",
                Value::Int(_) => "whole number",
                Value::Double(_) => "number",
            };
            let known = *types.entry(name.to_string()).or_insert(kind);
            assert_eq!(known, kind, "{}: {name} has one type", record.event);
        }
    }
    for name in types.keys() {
        let below = types.keys().find(|other| other.strip_prefix(name.as_str()).is_some_and(|it| it.starts_with('.')));
        assert_eq!(below, None, "{name} is a namespace and an attribute, which the conventions forbid");
    }
    hold("| attribute | type | meaning |", |meanings| {
        let row = |(name, kind): (&String, &&str)| {
            format!("| `{name}` | {kind} | {} |", meanings.get(name.as_str()).unwrap_or(&"?"))
        };
        types.iter().map(row).collect()
    });
}

#[test]
fn no_event_repeats_an_attribute_and_each_has_its_parts() {
    for record in all_records() {
        let mut names: Vec<_> = record.attributes.iter().map(|(name, _)| name).collect();
        names.sort();
        assert!(names.is_sorted_by(|one, other| one < other), "{}: {names:?}", record.event);
        let lines_without_parts = ["otelet.export.back", "otelet.collector.restart_asked"];
        assert!(!names.is_empty() || lines_without_parts.contains(&record.event), "{}: no attributes", record.event);
    }
}
