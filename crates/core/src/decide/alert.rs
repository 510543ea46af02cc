//! Holds what is measured against the thresholds of the settings: an alert fires when a series has been bad for long enough, and is
//! resolved when it is good again, or measured no longer.
//!
//! A series is what has one set of attributes, and each is an alert of its own. One that is good costs nothing, unless its rate is
//! looked at. The wall clock is kept for people and decides nothing.

mod rule;
pub mod settings;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use rule::{News, Rule, Series, State};

use super::clock::Clocks;
use super::delivery::Deliveries;
use super::notify::{Notification, Notifying};
use super::{Action, AlertSettings, AlertSeverity, Due, Failure, Moment, Notice, Threshold, backoff};
use crate::telemetry::{Attributes, Kind, Point, Snapshot, Value};

/// The most series that one alert keeps in mind.
pub const MOST_SERIES: usize = 64;

/// The most resolved alerts that wait for a webhook to take them.
pub const MOST_RESOLVED: usize = 256;

/// The least time after which a series that nobody has measured is gone.
pub const GONE_AFTER: Duration = Duration::from_secs(300);

/// Nobody waits for the end of what is gone.
const GONE_SLACK: Duration = Duration::from_secs(60);

/// The base and the cap of the backoff after the state could not be written.
const BASE: Duration = Duration::from_secs(5);
const CAP: Duration = Duration::from_secs(300);

/// An alert that fires, or did.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// As the settings call it.
    pub name: String,
    /// Which metric is bad.
    pub metric: String,
    /// Which series of it.
    pub attributes: Attributes,
    /// What it is known by at the receiver: the same from its first to its last hour, whatever the settings become.
    pub labels: Vec<(String, String)>,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// What the settings say about it.
    pub summary: Option<String>,
    /// When it fired, to the second.
    pub since: SystemTime,
    /// The value that was seen last, or its change per second.
    pub value: f64,
    /// When it is bad.
    pub threshold: Threshold,
}

/// An alert that no longer fires, for whoever has not heard of it yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// As it was when it fired last.
    pub alert: Alert,
    /// When it was resolved, to the second.
    pub at: SystemTime,
}

/// What must survive the agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertMemory {
    /// What fires, and how often it is measured, as far as that is known.
    pub firing: Vec<(Alert, Option<Duration>)>,
    /// What the webhook has not taken yet, oldest first.
    pub resolved: Vec<Resolved>,
}

/// The state of an alert, or of one of its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    /// Nothing was measured.
    Unmeasured,
    /// The value is good.
    Good,
    /// The value is bad, but not yet for long enough.
    Pending,
    /// The value was bad for long enough.
    Firing,
}

/// What is known of one alert of the settings or one series of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertReport {
    /// As the settings call it.
    pub name: String,
    /// Which metric is looked at.
    pub metric: String,
    /// How its value is.
    pub state: AlertState,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// Since when it is pending or fires.
    pub since: Option<SystemTime>,
    /// The last value; the worst of all series if they are good.
    pub value: Option<f64>,
    /// When it is bad.
    pub threshold: Threshold,
    /// Which series; empty if all are good.
    pub attributes: Attributes,
    /// What the settings say about it.
    pub summary: Option<String>,
}

/// Everything that reports tell of alerts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertsReport {
    /// In the order of the settings.
    pub alerts: Vec<AlertReport>,
    /// What became of them at the webhook.
    pub notifications: Deliveries,
    /// Series that are not looked at, because an alert has too many.
    pub overlooked: u64,
    /// Resolved alerts that the webhook never took, because too many others came after them.
    pub dropped: u64,
}

/// All alerts.
#[derive(Debug)]
pub struct Alerts {
    rules: Vec<Rule>,
    /// Labels that every alert of this host has.
    labels: Vec<(String, String)>,
    notifying: Notifying,
    resolved: Vec<(u64, Resolved)>,
    /// The number of the last resolved one.
    number: u64,
    dropped: u64,
    writing: Writing,
}

/// Whether the disk knows.
#[derive(Debug, Default)]
struct Writing {
    dirty: bool,
    in_flight: bool,
    failures: u32,
    not_before: Option<Instant>,
}

impl Alerts {
    /// None of them fires yet.
    pub fn new(rules: &[AlertSettings], labels: &[(String, String)], notify_every: Option<Duration>) -> Self {
        Self {
            rules: rules.iter().cloned().map(Rule::new).collect(),
            labels: labels.to_vec(),
            notifying: Notifying::new(notify_every),
            resolved: Vec::new(),
            number: 0,
            dropped: 0,
            writing: Writing::default(),
        }
    }

    /// Goes on with what fired in an earlier life: it is not said again, and keeps its start and its labels.
    pub fn restore(&mut self, memory: AlertMemory, at: Moment, out: &mut Vec<Action>) {
        self.writing.dirty |= !memory.resolved.is_empty() && !self.notifying.is_wanted();
        for resolved in memory.resolved {
            self.put_out(resolved);
        }
        let mut orphans = Vec::new();
        for (alert, gap) in memory.firing {
            match self.rules.iter_mut().find(|rule| rule.settings.name == alert.name) {
                Some(rule) if rule.fits(&alert) && rule.series.len() < MOST_SERIES => {
                    rule.series.push(Series {
                        attributes: alert.attributes.clone(),
                        state: State::Firing(Box::new(alert)),
                        base: None,
                        measured: at.now,
                        round: 0,
                        gap,
                        misses: 0,
                    });
                }
                Some(_) => orphans.push((alert, "its settings have changed")),
                None => orphans.push((alert, "it is no longer in the settings")),
            }
        }
        for (alert, why) in orphans {
            self.tell(News::Resolved(Box::new(alert), why.into()), at, out);
        }
        self.notifying.changed(at.now);
    }

    /// The settings may have changed. What an alert of the same name still looks at goes on.
    pub fn reconfigure(
        &mut self,
        rules: &[AlertSettings],
        labels: &[(String, String)],
        notify_every: Option<Duration>,
        at: Moment,
        out: &mut Vec<Action>,
    ) {
        self.labels = labels.to_vec();
        self.notifying.reconfigure(notify_every, at.now);
        if notify_every.is_none() && !self.resolved.is_empty() {
            self.resolved.clear();
            self.writing.dirty = true;
        }
        if self.rules.iter().map(|rule| &rule.settings).eq(rules) {
            return;
        }
        let old = std::mem::replace(&mut self.rules, rules.iter().cloned().map(Rule::new).collect());
        for rule in old {
            let new = self.rules.iter_mut().find(|new| new.settings.name == rule.settings.name);
            let why = if new.is_some() { "its settings have changed" } else { "it is no longer in the settings" };
            let mut ended = Vec::new();
            match new {
                // Whatever it is judged by from now on, the numbers are the same.
                Some(new) if new.looks_at_the_same(&rule.settings) => {
                    (new.round, new.looked, new.worst) = (rule.round, rule.looked, rule.worst);
                    for mut series in rule.series {
                        match series.state {
                            State::Firing(alert) if !new.fits(&alert) => ended.push(alert),
                            // It was bad for that long by another threshold.
                            State::Pending { .. } if new.settings.threshold != rule.settings.threshold => {
                                series.state = State::Good;
                                new.series.push(series);
                            }
                            State::Good | State::Pending { .. } | State::Firing(_) => new.series.push(series),
                        }
                    }
                }
                Some(_) | None => ended.extend(rule.series.into_iter().filter_map(|series| match series.state {
                    State::Firing(alert) => Some(alert),
                    State::Good | State::Pending { .. } => None,
                })),
            }
            for alert in ended {
                self.tell(News::Resolved(alert, why.into()), at, out);
            }
        }
    }

    /// The host is known by another name. What fires keeps its labels.
    pub fn relabel(&mut self, labels: Vec<(String, String)>) {
        self.labels = labels;
    }

    /// Looks at what was measured.
    pub fn on_measured(&mut self, snapshot: &Snapshot, at: Moment, out: &mut Vec<Action>) {
        let mut news = Vec::new();
        for rule in &mut self.rules {
            rule.look(snapshot, &self.labels, at, &mut news);
        }
        for one in news {
            self.tell(one, at, out);
        }
    }

    /// Takes what became of a batch at the webhook, whose answer may have told what its clock shows.
    pub fn on_notified(
        &mut self,
        result: Result<(), Failure>,
        clocks: Option<&Clocks>,
        at: Moment,
        out: &mut Vec<Action>,
    ) {
        let wrong_times = self.notifying.learn(clocks, out);
        if wrong_times && self.notifying.send_again(at.now) {
            return;
        }
        let before = self.resolved.len();
        if result.is_ok() && !wrong_times {
            let taken = self.notifying.in_flight();
            self.resolved.retain(|(number, _)| Some(*number) > taken);
        }
        self.writing.dirty |= self.resolved.len() != before;
        let more = self.fires() || !self.resolved.is_empty();
        if let Some((message, delay)) = self.notifying.on_notified(result, more, at) {
            out.push(Action::Tell(Notice::NotificationFailed { message, delay }));
        }
    }

    /// Takes what became of a write.
    pub fn on_kept(&mut self, result: Result<(), String>, at: Moment, out: &mut Vec<Action>) {
        self.writing.in_flight = false;
        match result {
            Ok(()) => (self.writing.failures, self.writing.not_before) = (0, None),
            Err(why) => {
                let delay = backoff::full_jitter(self.writing.failures, BASE, CAP, at.dice).max(BASE / 5);
                if self.writing.failures == 0 {
                    out.push(Action::Tell(Notice::AlertsNotKept { why, delay }));
                }
                self.writing.failures = self.writing.failures.saturating_add(1);
                self.writing.dirty = true;
                self.writing.not_before = Some(at.now + delay);
            }
        }
    }

    /// Does what has come due, but for what is written.
    pub fn on_due(&mut self, at: Moment, out: &mut Vec<Action>) {
        let mut news = Vec::new();
        for rule in &mut self.rules {
            rule.end_what_is_gone(at.now, &mut news);
        }
        for one in news {
            self.tell(one, at, out);
        }
        if self.notifying.begin(at.now, self.fires() || !self.resolved.is_empty(), self.number) {
            out.push(Action::Notify(self.batch(at.wall)));
        }
    }

    /// Has the disk told, if it does not know and nothing is on its way there.
    pub fn keep(&mut self, now: Instant, out: &mut Vec<Action>) {
        let writing = &mut self.writing;
        if writing.dirty && !writing.in_flight && writing.not_before.is_none_or(|time| now >= time) {
            (writing.dirty, writing.in_flight) = (false, true);
            out.push(Action::KeepAlerts(self.memory()));
        }
    }

    /// The next time at which something is due.
    pub fn due(&self) -> Option<Due> {
        let gone = self.firing().map(|(series, _)| Due { at: series.gone_at(), slack: GONE_SLACK });
        let write = self.writing.not_before.filter(|_| self.writing.dirty && !self.writing.in_flight).map(Due::at);
        gone.chain(write).chain(self.notifying.due()).min_by_key(Due::latest)
    }

    /// What is known.
    pub fn report(&self) -> AlertsReport {
        AlertsReport {
            alerts: self.rules.iter().flat_map(Rule::report).collect(),
            notifications: self.notifying.notifications().clone(),
            overlooked: self.rules.iter().map(|rule| rule.overlooked as u64).sum(),
            dropped: self.dropped,
        }
    }

    /// What must survive.
    pub fn memory(&self) -> AlertMemory {
        AlertMemory {
            firing: self.firing().map(|(series, alert)| (alert.clone(), series.gap)).collect(),
            resolved: self.resolved.iter().map(|(_, resolved)| resolved.clone()).collect(),
        }
    }

    fn firing(&self) -> impl Iterator<Item = (&Series, &Alert)> {
        self.rules.iter().flat_map(|rule| &rule.series).filter_map(|series| match &series.state {
            State::Firing(alert) => Some((series, &**alert)),
            State::Good | State::Pending { .. } => None,
        })
    }

    fn fires(&self) -> bool {
        self.firing().next().is_some()
    }

    fn tell(&mut self, news: News, at: Moment, out: &mut Vec<Action>) {
        match news {
            News::Fired { alert, lasted } => {
                // It fires again before anybody heard that it had been resolved.
                self.resolved.retain(|(_, resolved)| resolved.alert.labels != alert.labels);
                out.push(Action::Tell(Notice::AlertFired { alert, lasted }));
            }
            News::Resolved(alert, why) => {
                let resolved = Resolved { alert: (*alert).clone(), at: whole_second(at.wall).max(alert.since) };
                self.put_out(resolved);
                out.push(Action::Tell(Notice::AlertResolved { alert, why }));
            }
        }
        self.writing.dirty = true;
        self.notifying.changed(at.now);
    }

    fn put_out(&mut self, resolved: Resolved) {
        if !self.notifying.is_wanted() {
            return;
        }
        if self.resolved.len() == MOST_RESOLVED {
            self.resolved.remove(0);
            self.dropped += 1;
        }
        self.number += 1;
        self.resolved.push((self.number, resolved));
    }

    fn batch(&self, wall: SystemTime) -> Vec<Notification> {
        let ends_at = wall + self.notifying.fades_after();
        let firing = self.firing().map(|(_, alert)| Notification::new(alert, ends_at));
        let resolved = self.resolved.iter().map(|(_, it)| Notification::new(&it.alert, it.at));
        resolved.chain(firing).map(|one| self.notifying.in_their_time(one)).collect()
    }
}

impl Threshold {
    /// Whether the value is bad.
    pub fn is_exceeded(self, value: f64) -> bool {
        match self {
            Self::Above(most) => value > most,
            Self::Below(least) => value < least,
        }
    }

    fn is_well(self, value: f64, resolve_at: f64) -> bool {
        match self {
            Self::Above(_) => value <= resolve_at,
            Self::Below(_) => value >= resolve_at,
        }
    }

    fn worse(self, one: f64, other: f64) -> f64 {
        match self {
            Self::Above(_) => one.max(other),
            Self::Below(_) => one.min(other),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(value) => write!(f, "above {value}"),
            Self::Below(value) => write!(f, "below {value}"),
        }
    }
}

impl fmt::Display for AlertSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

/// `system.memory.usage {state=used} is 1000, above 900`
impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        if !self.attributes.is_empty() {
            let pairs: Vec<String> =
                self.attributes.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
            write!(f, " {{{}}}", pairs.join(", "))?;
        }
        write!(f, " is {}", rounded(self.value))
    }
}

/// A number for people: at most six digits that matter.
pub fn rounded(value: f64) -> String {
    if value == value.trunc() || value == 0.0 {
        return format!("{value}");
    }
    let digits = (5.0 - value.abs().log10().floor()).clamp(0.0, 12.0) as usize;
    format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// An attribute's value as text.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        Value::Int(number) => Cow::Owned(number.to_string()),
    }
}

fn same(one: &Attributes, other: &Attributes) -> bool {
    one == other || (one.len() == other.len() && one.iter().all(|pair| other.contains(pair)))
}

/// What is written down to the second, so that it reads the same after a restart.
fn whole_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// The labels of an alert: those of the host, of the settings and of the series. Names are as Prometheus has them, sorted.
///
/// An attribute whose label is taken already becomes `exported_NAME`, as Prometheus does it; two attributes that make the same label are
/// joined by a semicolon, as OpenTelemetry does it.
fn all_labels(rule: &AlertSettings, host: &[(String, String)], attributes: &Attributes) -> Vec<(String, String)> {
    let mut labels = std::collections::BTreeMap::new();
    for (name, value) in host {
        labels.insert(name.clone(), value.clone());
    }
    labels.insert("severity".into(), rule.severity.to_string());
    for (name, value) in &rule.labels {
        labels.insert(name.clone(), value.clone());
    }
    labels.insert("alertname".into(), rule.name.clone());
    let taken: Vec<String> = labels.keys().cloned().collect();
    let mut pairs: Vec<_> = attributes.iter().collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in pairs {
        let mut name = label_name(name);
        if taken.contains(&name) {
            name = format!("exported_{name}");
        }
        let value = text(value);
        labels
            .entry(name)
            .and_modify(|known| *known = format!("{known};{value}"))
            .or_insert_with(|| value.into_owned());
    }
    // An empty label is no label to Alertmanager.
    labels.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// The name of an attribute as Prometheus has it: letters, digits and `_`, and no digit first.
fn label_name(name: &str) -> String {
    let mut label: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        label.insert(0, '_');
    }
    label
}

#[cfg(test)]
mod tests;
