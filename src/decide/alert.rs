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
    /// When the last of them came, and how long after the one before.
    looked: Option<(Instant, Duration)>,
    /// Of the series in it. None as well once that is long ago.
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
        Self { settings, series: Vec::new(), round: 0, looked: None, worst: None, overlooked: 0 }
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
        let gap = self.looked.map_or(Duration::ZERO, |(before, _)| at.now.saturating_duration_since(before));
        self.looked = Some((at.now, gap));
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
        // What nobody measures any more is not good for ever.
        if self.looked.is_some_and(|(last, gap)| now >= gone_at(last, Some(gap))) {
            (self.worst, self.overlooked) = (None, 0);
        }
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
        gone_at(self.measured, self.gap)
    }
}

/// When that is gone which was measured last at this time, and so long after the time before.
fn gone_at(measured: Instant, gap: Option<Duration>) -> Instant {
    measured + GONE_AFTER.max(gap.unwrap_or_default() * 4)
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
