//! One rule of the settings and its series.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use super::labels::all_labels;
use crate::decide::data::alert::{Alert, AlertReport, AlertSettings, AlertState, text};
use crate::decide::data::time::Moment;
use crate::telemetry::{Attributes, Kind, Point, Snapshot};

/// The most series that a rule keeps in memory.
pub const MOST_SERIES: usize = 64;

/// A series that is not measured for this long is gone; a rarely measured one is given longer.
pub const GONE_AFTER: Duration = Duration::from_secs(300);

/// A series is gone after this many snapshots with its metric but without the series.
const MISSES: u32 = 3;

/// A rate needs values at least this far apart.
const SHORTEST_RATE: Duration = Duration::from_millis(50);

/// One rule of the settings and its series.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) settings: AlertSettings,
    pub(super) series: Vec<Series>,
    /// The number of snapshots so far that hold the metric.
    pub(super) round: u64,
    /// The time of the last such snapshot, and the time since the one before.
    pub(super) looked: Option<(Instant, Duration)>,
    /// The worst value in the last such snapshot; none if that was long ago.
    pub(super) worst: Option<f64>,
    pub(super) overlooked: usize,
}

#[derive(Debug)]
pub(super) struct Series {
    pub(super) attributes: Attributes,
    pub(super) state: SeriesState,
    /// The earlier value from which the rate is computed.
    pub(super) base: Option<(Instant, f64)>,
    /// The time and the round of the last measurement, and the time since the one before.
    pub(super) measured: Instant,
    pub(super) round: u64,
    pub(super) gap: Option<Duration>,
    /// The number of snapshots since then with the metric but without this series.
    pub(super) misses: u32,
}

#[derive(Debug)]
pub(super) enum SeriesState {
    Good,
    /// The value is bad, but not yet for long enough.
    Pending {
        since: Instant,
        wall: SystemTime,
        value: f64,
    },
    Firing(Box<Alert>),
}

/// A change of state that is announced.
pub(super) enum Transition {
    Fired { alert: Box<Alert>, lasted: Duration },
    Resolved(Box<Alert>, Cow<'static, str>),
}

impl Rule {
    pub(super) fn new(settings: AlertSettings) -> Self {
        Self { settings, series: Vec::new(), round: 0, looked: None, worst: None, overlooked: 0 }
    }

    pub(super) fn looks_at_the_same(&self, other: &AlertSettings) -> bool {
        let of = |settings: &AlertSettings| (settings.metric.clone(), settings.conditions.clone(), settings.rate);
        of(&self.settings) == of(other)
    }

    /// Whether this alert is still one of this rule. Another severity or label makes it another alert.
    pub(super) fn fits(&self, alert: &Alert) -> bool {
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

    pub(super) fn look(
        &mut self,
        snapshot: &Snapshot,
        labels: &[(String, String)],
        at: Moment,
        news: &mut Vec<Transition>,
    ) {
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
            self.series.retain(|series| !matches!(series.state, SeriesState::Good));
        }
    }

    /// Compares one series with the threshold.
    fn take(&mut self, point: &Point, value: f64, labels: &[(String, String)], at: Moment, news: &mut Vec<Transition>) {
        let index = self.series.iter().position(|series| same(&series.attributes, &point.attributes));
        let needed = index.is_some() || self.settings.rate || self.settings.threshold.is_exceeded(value);
        if index.is_none() && needed {
            if self.series.len() >= MOST_SERIES {
                self.overlooked += 1;
                return;
            }
            self.series.push(Series {
                attributes: point.attributes.clone(),
                state: SeriesState::Good,
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

    pub(super) fn end_what_is_gone(&mut self, now: Instant, news: &mut Vec<Transition>) {
        self.series.retain_mut(|series| {
            let gone = series.is_gone(now);
            if gone && let SeriesState::Firing(alert) = std::mem::replace(&mut series.state, SeriesState::Good) {
                news.push(Transition::Resolved(alert, "it is no longer measured".into()));
            }
            !gone
        });
        // A value that is no longer measured must not count as good for ever.
        if self.looked.is_some_and(|(last, gap)| now >= gone_at(last, Some(gap))) {
            (self.worst, self.overlooked) = (None, 0);
        }
    }

    pub(super) fn report(&self) -> Vec<AlertReport> {
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
                SeriesState::Good => {}
                SeriesState::Pending { wall, value, .. } => {
                    reports.push(one(
                        AlertState::Pending,
                        Some(*wall),
                        Some(*value),
                        &series.attributes,
                        &self.settings.summary,
                    ));
                }
                SeriesState::Firing(alert) => {
                    reports.push(one(
                        AlertState::Firing,
                        Some(alert.since),
                        Some(alert.value),
                        &alert.attributes,
                        &alert.summary,
                    ));
                }
            }
        }
        if reports.is_empty() {
            let state = if self.worst.is_some() { AlertState::Good } else { AlertState::Unmeasured };
            reports.push(one(state, None, self.worst, &Attributes::new(), &self.settings.summary));
        }
        reports
    }
}

impl Series {
    fn seen(&mut self, round: u64, now: Instant) {
        let gap = now.saturating_duration_since(self.measured);
        // Half of the earlier gap, so that one late measurement is forgotten after a while.
        self.gap = Some(self.gap.map_or(gap, |before| gap.max(before / 2)));
        (self.round, self.measured, self.misses) = (round, now, 0);
    }

    /// The change per second since the last value. None for a counter that fell: it has begun anew.
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
        news: &mut Vec<Transition>,
    ) {
        let bad = rule.threshold.is_exceeded(value);
        match &mut self.state {
            SeriesState::Good if bad => self.wait_or_fire(at.now, at.wall, value, rule, labels, at, news),
            SeriesState::Good => {}
            SeriesState::Pending { since, wall, .. } => {
                let (since, wall) = (*since, *wall);
                if bad {
                    self.wait_or_fire(since, wall, value, rule, labels, at, news);
                } else {
                    self.state = SeriesState::Good;
                }
            }
            SeriesState::Firing(alert) => {
                alert.value = value;
                alert.threshold = rule.threshold;
                if rule.threshold.is_well(value, rule.resolve_at)
                    && let SeriesState::Firing(alert) = std::mem::replace(&mut self.state, SeriesState::Good)
                {
                    news.push(Transition::Resolved(alert, "it is good again".into()));
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
        news: &mut Vec<Transition>,
    ) {
        let lasted = at.now.saturating_duration_since(since);
        if lasted < rule.lasting {
            self.state = SeriesState::Pending { since, wall, value };
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
        self.state = SeriesState::Firing(alert.clone());
        news.push(Transition::Fired { alert, lasted });
    }

    /// A snapshot may hold only some series of a metric, such as one check. So misses count only after several of the
    /// series' own intervals.
    fn is_gone(&self, now: Instant) -> bool {
        let unseen = now.saturating_duration_since(self.measured);
        let missed = self.misses >= MISSES && self.gap.is_some_and(|gap| unseen >= gap * MISSES);
        missed || now >= self.gone_at()
    }

    /// The time at which it is gone if no snapshot shows it earlier.
    pub(super) fn gone_at(&self) -> Instant {
        gone_at(self.measured, self.gap)
    }
}

/// The time at which a series is gone, from its last measurement and the gap before that.
fn gone_at(measured: Instant, gap: Option<Duration>) -> Instant {
    measured + GONE_AFTER.max(gap.unwrap_or_default() * 4)
}

fn same(one: &Attributes, other: &Attributes) -> bool {
    one == other || (one.len() == other.len() && one.iter().all(|pair| other.contains(pair)))
}

/// Cuts a time to the second, so that it reads the same after a restart.
pub(super) fn whole_second(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
