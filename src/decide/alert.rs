//! Holds what is measured against the thresholds of the settings: an alert fires when a series has been bad for long enough, and is
//! resolved when it is good again, or measured no longer.
//!
//! A series is what has one set of attributes, and each is an alert of its own. One that is good costs nothing, unless its rate is
//! looked at. The wall clock is kept for people and decides nothing.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use super::notify::{Notification, Notifications, Notifying};
use super::{Action, Due, Moment, Notice, backoff};
use crate::settings::{AlertSettings, AlertSeverity, Threshold};
use crate::telemetry::{Attributes, Kind, Point, Snapshot, Value};

/// The most series that one alert keeps in mind.
pub const MOST_SERIES: usize = 64;

/// The most resolved alerts that wait for a webhook to take them.
pub const MOST_RESOLVED: usize = 256;

/// So many snapshots that hold the metric but not the series mean that the series is gone.
const MISSES: u32 = 3;

/// The least time after which a series that nobody has measured is gone.
pub const GONE_AFTER: Duration = Duration::from_secs(300);

/// Nobody waits for the end of what is gone.
const GONE_SLACK: Duration = Duration::from_secs(60);

/// Values closer to each other than this make no rate.
const SHORTEST_RATE: Duration = Duration::from_millis(50);

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

/// What is known of one alert of the settings or one series of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertReport {
    /// As the settings call it.
    pub name: String,
    /// Which metric is looked at.
    pub metric: String,
    /// `unmeasured`, `good`, `pending`, `firing`.
    pub state: &'static str,
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
    pub notifications: Notifications,
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

/// One of the settings, and the series that are looked at for it.
#[derive(Debug)]
struct Rule {
    settings: AlertSettings,
    series: Vec<Series>,
    /// Counts the snapshots that hold the metric.
    round: u64,
    /// Of the series in the last of them.
    worst: Option<f64>,
    overlooked: usize,
}

#[derive(Debug)]
struct Series {
    attributes: Attributes,
    state: State,
    /// Where the rate is counted from.
    base: Option<(Instant, f64)>,
    /// When it was measured last, in which round, and how long after the time before.
    measured: Instant,
    round: u64,
    gap: Option<Duration>,
    /// Snapshots since then which hold the metric but not this series.
    misses: u32,
}

#[derive(Debug)]
enum State {
    Good,
    /// Bad, but not for long enough.
    Pending {
        since: Instant,
        wall: SystemTime,
        value: f64,
    },
    Firing(Box<Alert>),
}

/// What came of a look at a value.
enum News {
    Fired { alert: Box<Alert>, lasted: Duration },
    Resolved(Box<Alert>, Cow<'static, str>),
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
                    (new.round, new.worst) = (rule.round, rule.worst);
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

    /// Takes what became of a batch at the webhook.
    pub fn on_notified(&mut self, result: Result<(), (String, Option<Duration>)>, at: Moment, out: &mut Vec<Action>) {
        let before = self.resolved.len();
        if result.is_ok() {
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
        resolved.chain(firing).collect()
    }
}

impl Rule {
    fn new(settings: AlertSettings) -> Self {
        Self { settings, series: Vec::new(), round: 0, worst: None, overlooked: 0 }
    }

    fn looks_at_the_same(&self, other: &AlertSettings) -> bool {
        let of = |settings: &AlertSettings| (settings.metric.clone(), settings.conditions.clone(), settings.rate);
        of(&self.settings) == of(other)
    }

    /// Whether this is still what fired. A new severity or label makes another alert of it.
    fn fits(&self, alert: &Alert) -> bool {
        self.settings.metric == alert.metric
            && self.settings.severity == alert.severity
            && std::mem::discriminant(&self.settings.threshold) == std::mem::discriminant(&alert.threshold)
            && self.wants(&alert.attributes)
            && self.settings.labels.iter().all(|label| label.1.is_empty() || alert.labels.contains(label))
    }

    fn wants(&self, attributes: &Attributes) -> bool {
        self.settings.conditions.iter().all(|(name, wanted)| {
            attributes.iter().any(|(known, value)| known == name && text(value) == Cow::Borrowed(wanted.as_str()))
        })
    }

    fn look(&mut self, snapshot: &Snapshot, labels: &[(String, String)], at: Moment, news: &mut Vec<News>) {
        let is_looked_at = |point: &&Point| point.metric.name == self.settings.metric;
        let points: Vec<&Point> = snapshot.points.iter().filter(is_looked_at).collect();
        if points.is_empty() {
            return;
        }
        self.round += 1;
        (self.worst, self.overlooked) = (None, 0);
        for point in points {
            let value = point.value.as_f64();
            if value.is_finite() && self.wants(&point.attributes) {
                self.take(point, value, labels, at, news);
            }
        }
        for series in &mut self.series {
            if series.round != self.round {
                series.misses = series.misses.saturating_add(1);
            }
        }
        self.end_what_is_gone(at.now, news);
        if !self.settings.rate {
            self.series.retain(|series| !matches!(series.state, State::Good));
        }
    }

    /// Looks at one series.
    fn take(&mut self, point: &Point, value: f64, labels: &[(String, String)], at: Moment, news: &mut Vec<News>) {
        let index = self.series.iter().position(|series| same(&series.attributes, &point.attributes));
        let needed = index.is_some() || self.settings.rate || self.settings.threshold.is_exceeded(value);
        if index.is_none() && needed {
            if self.series.len() >= MOST_SERIES {
                self.overlooked += 1;
                return;
            }
            self.series.push(Series {
                attributes: point.attributes.clone(),
                state: State::Good,
                base: None,
                measured: at.now,
                round: self.round,
                gap: None,
                misses: 0,
            });
        }
        let looked_at = match (needed, index) {
            (false, _) => Some(value),
            (true, index) => {
                let known = index.is_some();
                let index = index.unwrap_or(self.series.len() - 1);
                let series = &mut self.series[index];
                if known {
                    series.seen(self.round, at.now);
                }
                let value =
                    if self.settings.rate { series.rate(value, point.metric.kind, at.now) } else { Some(value) };
                if let Some(value) = value {
                    series.judge(value, &self.settings, labels, at, news);
                }
                value
            }
        };
        if let Some(value) = looked_at {
            self.worst = Some(self.worst.map_or(value, |worst| self.settings.threshold.worse(worst, value)));
        }
    }

    fn end_what_is_gone(&mut self, now: Instant, news: &mut Vec<News>) {
        self.series.retain_mut(|series| {
            let gone = series.is_gone(now);
            if gone && let State::Firing(alert) = std::mem::replace(&mut series.state, State::Good) {
                news.push(News::Resolved(alert, "it is no longer measured".into()));
            }
            !gone
        });
    }

    fn report(&self) -> Vec<AlertReport> {
        let one = |state, since, value, attributes: &Attributes, summary: &Option<String>| AlertReport {
            name: self.settings.name.clone(),
            metric: self.settings.metric.clone(),
            state,
            severity: self.settings.severity,
            since,
            value,
            threshold: self.settings.threshold,
            attributes: attributes.clone(),
            summary: summary.clone(),
        };
        let mut reports = Vec::new();
        for series in &self.series {
            match &series.state {
                State::Good => {}
                State::Pending { wall, value, .. } => {
                    reports.push(one("pending", Some(*wall), Some(*value), &series.attributes, &self.settings.summary));
                }
                State::Firing(alert) => {
                    reports.push(one(
                        "firing",
                        Some(alert.since),
                        Some(alert.value),
                        &alert.attributes,
                        &alert.summary,
                    ));
                }
            }
        }
        if reports.is_empty() {
            let state = if self.worst.is_some() { "good" } else { "unmeasured" };
            reports.push(one(state, None, self.worst, &Attributes::new(), &self.settings.summary));
        }
        reports
    }
}

impl Series {
    fn seen(&mut self, round: u64, now: Instant) {
        let gap = now.saturating_duration_since(self.measured);
        // One that was late once is not held to be late for ever.
        self.gap = Some(self.gap.map_or(gap, |before| gap.max(before / 2)));
        (self.round, self.measured, self.misses) = (round, now, 0);
    }

    /// The change per second since the last look. A counter that fell has begun anew.
    fn rate(&mut self, value: f64, kind: Kind, now: Instant) -> Option<f64> {
        let Some((then, before)) = self.base else {
            self.base = Some((now, value));
            return None;
        };
        let passed = now.saturating_duration_since(then);
        if passed < SHORTEST_RATE {
            return None;
        }
        self.base = Some((now, value));
        (kind != Kind::Counter || value >= before).then(|| (value - before) / passed.as_secs_f64())
    }

    fn judge(
        &mut self,
        value: f64,
        rule: &AlertSettings,
        labels: &[(String, String)],
        at: Moment,
        news: &mut Vec<News>,
    ) {
        let bad = rule.threshold.is_exceeded(value);
        match &mut self.state {
            State::Good if bad => self.wait_or_fire(at.now, at.wall, value, rule, labels, at, news),
            State::Good => {}
            State::Pending { since, wall, .. } => {
                let (since, wall) = (*since, *wall);
                if bad {
                    self.wait_or_fire(since, wall, value, rule, labels, at, news);
                } else {
                    self.state = State::Good;
                }
            }
            State::Firing(alert) => {
                alert.value = value;
                alert.threshold = rule.threshold;
                if rule.threshold.is_well(value, rule.resolve_at)
                    && let State::Firing(alert) = std::mem::replace(&mut self.state, State::Good)
                {
                    news.push(News::Resolved(alert, "it is good again".into()));
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what an alert is made of comes from as many places")]
    fn wait_or_fire(
        &mut self,
        since: Instant,
        wall: SystemTime,
        value: f64,
        rule: &AlertSettings,
        labels: &[(String, String)],
        at: Moment,
        news: &mut Vec<News>,
    ) {
        let lasted = at.now.saturating_duration_since(since);
        if lasted < rule.lasting {
            self.state = State::Pending { since, wall, value };
            return;
        }
        let alert = Box::new(Alert {
            name: rule.name.clone(),
            metric: rule.metric.clone(),
            attributes: self.attributes.clone(),
            labels: all_labels(rule, labels, &self.attributes),
            severity: rule.severity,
            summary: rule.summary.clone(),
            since: whole_second(at.wall),
            value,
            threshold: rule.threshold,
        });
        self.state = State::Firing(alert.clone());
        news.push(News::Fired { alert, lasted });
    }

    /// A snapshot may hold some series of a metric only, such as one check, so misses count only after some of its own turns.
    fn is_gone(&self, now: Instant) -> bool {
        let unseen = now.saturating_duration_since(self.measured);
        let missed = self.misses >= MISSES && self.gap.is_some_and(|gap| unseen >= gap * MISSES);
        missed || now >= self.gone_at()
    }

    /// When it is gone, if no snapshot says so earlier.
    fn gone_at(&self) -> Instant {
        self.measured + GONE_AFTER.max(self.gap.unwrap_or_default() * 4)
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
mod tests {
    use super::*;
    use crate::decide::origin;
    use crate::telemetry::Metric;

    static LOAD: Metric = Metric { name: "load", unit: "1", kind: Kind::Gauge, help: "" };
    static ERRORS: Metric = Metric { name: "errors", unit: "1", kind: Kind::Counter, help: "" };
    static OTHER: Metric = Metric { name: "other", unit: "1", kind: Kind::Gauge, help: "" };

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

        /// What these values say so many seconds later: `fires` and `resolved`, with the value.
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
        fn sends(&mut self) -> Vec<Notification> {
            let batch = self.due(0).into_iter().find_map(|action| match action {
                Action::Notify(batch) => Some(batch),
                _ => None,
            });
            batch.unwrap_or_default()
        }

        fn taken(&mut self) {
            let at = self.at();
            self.alerts.on_notified(Ok(()), at, &mut Vec::new());
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
    fn it_fires_after_it_was_bad_for_long_enough_and_not_a_moment_before() {
        let mut bench = Bench::new(&[rule()]);
        assert_eq!(bench.load(0, 9.0), NOTHING);
        assert_eq!(bench.alerts.report().alerts[0].state, "pending");
        assert_eq!(bench.load(59, 9.0), NOTHING);

        assert_eq!(bench.load(1, 9.5), ["alert busy (warning) fires: load is 9.5, above 8 for 1m"]);
        assert_eq!(bench.load(16, 10.0), NOTHING);

        let report = &bench.alerts.report().alerts[0];
        assert_eq!((report.state, report.value), ("firing", Some(10.0)));
        assert_eq!(report.since, Some(WALL + Duration::from_secs(60)));
    }

    #[test]
    fn a_good_value_in_between_begins_the_time_anew() {
        let mut bench = Bench::new(&[rule()]);
        bench.load(0, 9.0);
        bench.load(50, 8.0);
        bench.load(10, 9.0);
        assert_eq!(bench.load(59, 9.0), NOTHING);
        assert_eq!(bench.load(1, 9.0).len(), 1);
    }

    #[test]
    fn it_is_resolved_only_where_the_settings_say_it_is_good_again() {
        let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
        assert_eq!(bench.load(0, 9.0), ["alert busy (warning) fires: load is 9, above 8"]);
        assert_eq!(bench.load(16, 5.01), NOTHING);
        assert_eq!(bench.load(16, 9.0), NOTHING);

        let lines = bench.load(16, 5.0);
        assert_eq!(lines, ["alert busy resolved, it is good again: load is 5; it fired since 1970-01-01T00:00:00Z"]);
        assert_eq!(bench.alerts.report().alerts[0].state, "good");
        assert_eq!(bench.load(16, 8.5).len(), 1, "and may fire again");
    }

    #[test]
    fn below_is_the_other_way_round() {
        let below =
            AlertSettings { threshold: Threshold::Below(1.0), resolve_at: 2.0, lasting: Duration::ZERO, ..rule() };
        let mut bench = Bench::new(&[below]);
        assert_eq!(bench.load(0, 1.0), NOTHING);
        assert_eq!(bench.load(1, 0.5).len(), 1);
        assert_eq!(bench.load(1, 1.5), NOTHING);
        assert_eq!(bench.load(1, 2.0).len(), 1);
    }

    #[test]
    fn each_series_that_has_the_attributes_is_an_alert_of_its_own() {
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
    fn what_is_no_longer_measured_is_resolved_after_a_while_and_says_so() {
        let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
        let two = |bad: f64| vec![Point::new(&LOAD, bad).with("d", "a"), Point::new(&LOAD, 1.0).with("d", "b")];
        bench.after(0, two(9.0));
        bench.after(10, two(9.0));
        let rest = || vec![Point::new(&LOAD, 1.0).with("d", "b")];

        assert_eq!(bench.after(10, rest()), NOTHING);
        assert_eq!(bench.after(10, rest()), NOTHING);
        let lines = bench.after(10, rest());

        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("alert busy resolved, it is no longer measured: load {d=a} is 9;"),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn a_snapshot_of_something_else_proves_nothing_and_time_does() {
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
    fn a_series_that_is_measured_seldom_is_not_gone_because_others_are_measured_often() {
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
    fn one_that_was_bad_and_vanished_does_not_fire() {
        let mut bench = Bench::new(&[rule()]);
        bench.load(0, 9.0);
        bench.load(10, 9.0);
        bench.due(GONE_AFTER.as_secs());
        assert_eq!(bench.load(10, 9.0), NOTHING);
        assert_eq!(bench.alerts.report().alerts[0].state, "pending");
    }

    #[test]
    fn no_more_than_so_many_series_are_kept_in_mind_and_the_rest_is_counted() {
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
    fn a_value_that_is_no_number_is_not_looked_at() {
        let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
        assert_eq!(bench.load(0, f64::INFINITY), NOTHING);
        assert_eq!(bench.load(1, f64::NAN), NOTHING);
        assert_eq!(bench.alerts.report().alerts[0].state, "unmeasured");
    }

    #[test]
    fn it_goes_on_firing_over_a_restart_with_its_start_and_labels_and_says_nothing() {
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
    fn what_the_settings_no_longer_hold_is_resolved() {
        let quick = AlertSettings { lasting: Duration::ZERO, ..rule() };
        let changes: [(&str, Vec<AlertSettings>); 4] = [
            ("it is no longer in the settings", vec![]),
            ("its settings have changed", vec![AlertSettings { metric: "other".into(), ..quick.clone() }]),
            ("its settings have changed", vec![AlertSettings { severity: AlertSeverity::Critical, ..quick.clone() }]),
            (
                "its settings have changed",
                vec![AlertSettings { labels: vec![("a".into(), "b".into())], ..quick.clone() }],
            ),
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
    fn another_threshold_is_no_other_alert() {
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
    fn a_resolved_one_is_sent_until_it_was_taken_once() {
        let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
        bench.load(0, 9.0);
        assert_eq!(bench.sends().len(), 1);
        bench.load(10, 1.0);
        assert_eq!(bench.sends(), [], "one is out");
        bench.taken();

        let resolved = bench.sends();
        assert_eq!(resolved[0].ends_at, WALL + Duration::from_secs(10));
        let at = bench.at();
        bench.alerts.on_notified(Err(("answered 503".into(), None)), at, &mut Vec::new());
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
    fn one_that_fires_again_takes_back_what_nobody_heard() {
        let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
        bench.load(0, 9.0);
        bench.load(10, 1.0);
        bench.load(10, 9.0);
        let batch = bench.sends();
        assert_eq!(batch.len(), 1);
        assert_eq!(batch[0].starts_at, WALL + Duration::from_secs(20));
    }

    #[test]
    fn a_receiver_that_is_away_for_long_costs_a_bounded_memory() {
        let mut bench = Bench::new(&[AlertSettings { lasting: Duration::ZERO, ..rule() }]);
        for number in 0..MOST_RESOLVED as i64 + 5 {
            bench.after(1, vec![Point::new(&LOAD, 9.0).with("n", number)]);
            bench.after(1, vec![Point::new(&LOAD, 1.0).with("n", number)]);
        }
        assert_eq!(bench.alerts.memory().resolved.len(), MOST_RESOLVED);
        assert_eq!(bench.alerts.report().dropped, 5);
    }

    #[test]
    fn it_is_written_once_for_each_change_and_again_after_a_failure() {
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
            [
                "cannot write the state of the alerts: no space left on device; next try in 2.5s, all goes on from memory"
            ]
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
    fn labels_are_as_prometheus_has_them() {
        let rule = AlertSettings {
            labels: vec![
                ("team".into(), "edge".into()),
                ("device".into(), "mine".into()),
                ("empty".into(), String::new()),
            ],
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
}
