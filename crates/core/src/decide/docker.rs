//! Paces the work with a Docker engine: opens its stream of events, again after it broke, and lists the containers
//! after a change and when their usage is due.

use std::time::{Duration, Instant};

use super::action::Action;
use super::backoff;
use super::data::docker::{EngineEvent, EngineSettings, EngineTask};
use super::data::time::{Due, Moment};
use super::notice::Notice;

/// The base and the cap of the backoff after the stream broke or could not be opened. An engine takes some seconds to
/// restart; a missing socket must not cost many wake-ups.
const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);

/// The least time between two tries.
const LEAST: Duration = Duration::from_millis(100);

/// The backoff starts anew after a stream that lasted this long.
const LASTED: Duration = Duration::from_secs(10);

/// Events come in groups. One listing, this long after the first event, covers them all.
const SETTLE: Duration = Duration::from_millis(500);

/// The least time between two listings, however many events come.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// A collector is started anew with its Docker receivers when the engine has been there for this long. An engine that
/// comes up accepts connections before it is ready, and may go away again.
const SETTLED: Duration = Duration::from_secs(5);

/// The position in the stream is on disk this long after an event. A crash repeats the events of that time.
const KEEP_AFTER: Duration = Duration::from_secs(10);

/// Whether the engine is there, for the start of a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// No engine is watched.
    Unwanted,
    /// The first attempt to reach it has not ended.
    Unknown,
    /// It was lost, or was never found.
    Away,
    /// It came a moment ago.
    Coming,
    /// It has been there for a while.
    There,
}

/// The state of the stream of events.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stream {
    /// No engine is watched.
    Unwanted,
    /// Not open. The next try is at this time.
    Away(Instant),
    /// Being opened.
    Opening,
    /// Open since this time.
    Open(Instant),
}

/// The state of the work with the engine.
#[derive(Debug)]
pub struct Docker {
    /// None if no engine is watched.
    wanted: Option<EngineSettings>,
    stream: Stream,
    failures: u32,
    /// The last failure that was announced; none while the engine answers.
    said: Option<String>,
    looking: bool,
    /// The usage is being read. An engine takes seconds for that, and changes are listed in the meantime.
    measuring: bool,
    /// The time of a listing because of a change.
    look_at: Option<Instant>,
    /// The earliest time of the next listing.
    look_after: Instant,
    usage_at: Option<Instant>,
    keeping: bool,
    keep_at: Option<Instant>,
}

impl Docker {
    /// Plans to open the stream at once, if an engine is to be watched.
    pub fn new(wanted: Option<EngineSettings>, now: Instant) -> Self {
        Self {
            stream: if wanted.is_some() { Stream::Away(now) } else { Stream::Unwanted },
            wanted,
            failures: 0,
            said: None,
            looking: false,
            measuring: false,
            look_at: None,
            look_after: now,
            usage_at: None,
            keeping: false,
            keep_at: None,
        }
    }

    /// Applies new settings. The program around the decisions has ended the stream if they changed.
    pub fn reconfigure(&mut self, wanted: &Option<EngineSettings>, now: Instant) {
        if *wanted != self.wanted {
            let (keeping, keep_at) = (self.keeping, self.keep_at);
            *self = Self { keeping, keep_at, ..Self::new(wanted.clone(), now) };
        }
    }

    /// Handles an event of the engine.
    pub fn on(&mut self, input: EngineEvent, at: Moment, out: &mut Vec<Action>) {
        if self.stream == Stream::Unwanted && !matches!(input, EngineEvent::PositionKept(_)) {
            return;
        }
        match input {
            EngineEvent::StreamOpened(engine) => {
                self.stream = Stream::Open(at.now);
                (self.look_at, self.usage_at) = (Some(at.now), Some(at.now));
                let again = self.said.take().is_some();
                out.push(Action::Tell(Notice::EngineWatched { engine, socket: self.socket(), again }));
            }
            EngineEvent::StreamLost(message) => {
                if matches!(self.stream, Stream::Open(since) if at.now >= since + LASTED) {
                    self.failures = 0;
                }
                let delay = backoff::full_jitter(self.failures, BASE, CAP, at.dice).max(LEAST);
                self.failures = self.failures.saturating_add(1);
                self.stream = Stream::Away(at.now + delay);
                (self.look_at, self.usage_at) = (None, None);
                let news = self.said.as_ref() != Some(&message);
                self.said = Some(message.clone());
                out.push(Action::Tell(Notice::EngineLost { message, socket: self.socket(), delay, news }));
            }
            EngineEvent::Changed => {
                if let Stream::Open(_) = self.stream {
                    self.look_at.get_or_insert((at.now + SETTLE).max(self.look_after));
                }
                self.keep_at.get_or_insert(at.now + KEEP_AFTER);
            }
            EngineEvent::Listed => self.looking = false,
            EngineEvent::Measured => self.measuring = false,
            EngineEvent::PositionKept(result) => {
                self.keeping = false;
                if let Err(why) = result {
                    let delay = CAP;
                    self.keep_at = Some(at.now + delay);
                    out.push(Action::Tell(Notice::CannotRecord { why, delay }));
                }
            }
        }
    }

    /// Does every task that is due.
    pub fn settle(&mut self, at: Moment, out: &mut Vec<Action>) {
        match self.stream {
            Stream::Away(next) if at.now >= next => {
                self.stream = Stream::Opening;
                out.push(Action::Docker(EngineTask::OpenStream));
            }
            Stream::Unwanted | Stream::Away(_) | Stream::Opening => {}
            Stream::Open(_) => self.look(at.now, out),
        }
        if !self.keeping && self.keep_at.is_some_and(|at_last| at.now >= at_last) {
            (self.keeping, self.keep_at) = (true, None);
            out.push(Action::Docker(EngineTask::KeepPosition));
        }
    }

    fn look(&mut self, now: Instant, out: &mut Vec<Action>) {
        let usage = self.usage_due().is_some_and(|due| due.reached(now));
        let news = self.look_at.is_some_and(|at| now >= at);
        if self.looking || !(usage || news) {
            return;
        }
        (self.looking, self.look_at, self.look_after) = (true, None, now + BETWEEN_LOOKS);
        if usage {
            self.measuring = true;
            self.usage_at = Some(now + self.usage_every() - self.slack());
        }
        out.push(Action::Docker(EngineTask::List { usage }));
    }

    fn socket(&self) -> String {
        self.wanted.as_ref().map_or_else(String::new, |wanted| wanted.socket.display().to_string())
    }

    fn usage_every(&self) -> Duration {
        self.wanted.as_ref().map_or(Duration::ZERO, |wanted| wanted.usage_every)
    }

    /// A listing is done on a wake-up that comes anyway. With more slack than a quarter, each wake-up would do one.
    fn slack(&self) -> Duration {
        self.usage_every() / 4
    }

    fn usage_due(&self) -> Option<Due> {
        let at = self.usage_at.filter(|_| !self.measuring && !self.usage_every().is_zero())?;
        Some(Due { at, slack: self.slack() })
    }

    /// Whether the engine is there.
    pub fn presence(&self, now: Instant) -> Presence {
        match self.stream {
            Stream::Unwanted => Presence::Unwanted,
            Stream::Away(_) | Stream::Opening => match self.said {
                Some(_) => Presence::Away,
                None => Presence::Unknown,
            },
            Stream::Open(since) if now >= since + SETTLED => Presence::There,
            Stream::Open(_) => Presence::Coming,
        }
    }

    /// The time at which the engine counts as settled, if it stays.
    pub fn presence_due(&self) -> Option<Due> {
        match self.stream {
            Stream::Open(since) => Some(Due::at(since + SETTLED)),
            Stream::Unwanted | Stream::Away(_) | Stream::Opening => None,
        }
    }

    /// Whether the stream is open.
    pub fn is_watching(&self) -> bool {
        matches!(self.stream, Stream::Open(_))
    }

    /// The time of the next task.
    pub fn due(&self) -> Option<Due> {
        let tried = match self.stream {
            Stream::Away(next) => Some(Due::at(next)),
            Stream::Unwanted | Stream::Opening | Stream::Open(_) => None,
        };
        let looks = match self.stream {
            Stream::Open(_) if !self.looking => [self.look_at.map(Due::at), self.usage_due()],
            Stream::Unwanted | Stream::Away(_) | Stream::Opening | Stream::Open(_) => [None, None],
        };
        let kept = self.keep_at.filter(|_| !self.keeping).map(Due::at);
        [tried, looks[0], looks[1], kept].into_iter().flatten().min_by_key(Due::latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::data::time::origin;
    use std::time::SystemTime;

    const EVERY: Duration = Duration::from_secs(32);

    fn at(now: Instant) -> Moment {
        Moment { now, wall: SystemTime::UNIX_EPOCH, dice: u64::MAX }
    }

    fn wanted(usage_every: Duration) -> Option<EngineSettings> {
        Some(EngineSettings { socket: "/run/docker.sock".into(), usage_every })
    }

    fn settled(docker: &mut Docker, now: Instant) -> Vec<EngineTask> {
        let mut out = Vec::new();
        docker.settle(at(now), &mut out);
        out.into_iter()
            .map(|action| match action {
                Action::Docker(what) => what,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn given(docker: &mut Docker, input: EngineEvent, now: Instant) -> Vec<String> {
        let mut out = Vec::new();
        docker.on(input, at(now), &mut out);
        out.into_iter()
            .map(|action| match action {
                Action::Tell(notice) => format!("{:?} {notice}", notice.level()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn watching(now: Instant) -> Docker {
        let mut docker = Docker::new(wanted(EVERY), now);
        assert_eq!(settled(&mut docker, now), [EngineTask::OpenStream]);
        given(&mut docker, EngineEvent::StreamOpened("Docker 1".into()), now);
        assert_eq!(settled(&mut docker, now), [EngineTask::List { usage: true }]);
        given(&mut docker, EngineEvent::Listed, now);
        given(&mut docker, EngineEvent::Measured, now);
        docker
    }

    #[test]
    fn an_absent_engine_is_tried_ever_less_often_and_announced_once() {
        let mut now = origin();
        let mut docker = Docker::new(wanted(EVERY), now);
        let (mut delays, mut said) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            assert_eq!(settled(&mut docker, now), [EngineTask::OpenStream]);
            assert_eq!(settled(&mut docker, now), [], "one at a time");
            said.extend(given(&mut docker, EngineEvent::StreamLost("no such socket".into()), now));
            let next = docker.due().expect("planned").latest();
            delays.push((next - now).as_secs_f64());
            now = next;
        }
        assert_eq!(
            delays.iter().map(|delay| (delay * 2.0).round()).collect::<Vec<_>>(),
            [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        );
        assert_eq!(said.iter().filter(|line| line.starts_with("Warn")).count(), 1, "{said:#?}");
        assert!(said[0].ends_with("no such socket; next try in 500ms"), "{}", said[0]);
    }

    #[test]
    fn an_engine_that_drops_connections_is_tried_ever_less_often() {
        let mut now = origin();
        let mut docker = Docker::new(wanted(EVERY), now);
        for _ in 0..8 {
            settled(&mut docker, now);
            given(&mut docker, EngineEvent::StreamOpened("Docker 1".into()), now);
            given(&mut docker, EngineEvent::StreamLost("the engine ended the stream".into()), now);
            now = docker.due().expect("planned").latest();
        }
        settled(&mut docker, now);
        given(&mut docker, EngineEvent::StreamOpened("Docker 1".into()), now);
        now += LASTED;
        given(&mut docker, EngineEvent::StreamLost("the engine ended the stream".into()), now);
        assert!(docker.due().expect("planned").latest() <= now + BASE, "it lasted: the backoff starts anew");
    }

    #[test]
    fn an_engine_counts_as_there_after_five_seconds_and_as_away_after_a_failure() {
        let t0 = origin();
        let mut docker = Docker::new(wanted(EVERY), t0);
        assert_eq!(docker.presence(t0), Presence::Unknown, "nobody has looked");
        settled(&mut docker, t0);
        given(&mut docker, EngineEvent::StreamLost("no such socket".into()), t0);
        assert_eq!(docker.presence(t0), Presence::Away);
        let next = docker.due().expect("planned").latest();
        settled(&mut docker, next);
        assert_eq!(docker.presence(next), Presence::Away, "being tried is not being there");
        given(&mut docker, EngineEvent::StreamOpened("Docker 1".into()), next);
        assert_eq!(docker.presence(next), Presence::Coming);
        assert_eq!(docker.presence_due(), Some(Due::at(next + SETTLED)));
        assert_eq!(docker.presence(next + SETTLED), Presence::There);
        assert_eq!(Docker::new(None, t0).presence(t0), Presence::Unwanted);
    }

    #[test]
    fn many_events_make_one_listing_and_listings_keep_their_distance() {
        let t0 = origin();
        let mut docker = watching(t0);
        for _ in 0..100 {
            given(&mut docker, EngineEvent::Changed, t0);
        }
        assert_eq!(docker.due().expect("planned").latest(), t0 + BETWEEN_LOOKS);
        assert_eq!(settled(&mut docker, t0 + SETTLE), []);
        assert_eq!(settled(&mut docker, t0 + BETWEEN_LOOKS), [EngineTask::List { usage: false }]);
        given(&mut docker, EngineEvent::Changed, t0 + BETWEEN_LOOKS);
        assert_eq!(settled(&mut docker, t0 + BETWEEN_LOOKS * 2), [], "the first is still out");
        given(&mut docker, EngineEvent::Listed, t0 + BETWEEN_LOOKS * 2);
        assert_eq!(settled(&mut docker, t0 + BETWEEN_LOOKS * 2), [EngineTask::List { usage: false }]);
    }

    #[test]
    fn usage_is_read_on_a_wake_up_in_the_last_quarter_of_its_time() {
        let t0 = origin();
        let mut docker = watching(t0);
        assert_eq!(docker.due().expect("planned").latest(), t0 + EVERY);
        assert_eq!(settled(&mut docker, t0 + EVERY * 3 / 4 - BASE), []);
        assert_eq!(settled(&mut docker, t0 + EVERY * 3 / 4), [EngineTask::List { usage: true }]);
    }

    #[test]
    fn changes_are_listed_while_a_slow_engine_is_measured_and_only_one_measuring_is_out() {
        let t0 = origin();
        let mut docker = watching(t0);
        let due = t0 + EVERY;
        assert_eq!(settled(&mut docker, due), [EngineTask::List { usage: true }]);
        given(&mut docker, EngineEvent::Changed, due);
        assert_eq!(settled(&mut docker, due + BETWEEN_LOOKS), [], "the list is out");
        given(&mut docker, EngineEvent::Listed, due + BETWEEN_LOOKS);
        assert_eq!(settled(&mut docker, due + BETWEEN_LOOKS), [EngineTask::List { usage: false }]);
        given(&mut docker, EngineEvent::Listed, due + BETWEEN_LOOKS);
        assert_eq!(settled(&mut docker, due + EVERY * 2), [EngineTask::KeepPosition], "the measuring is out");
        assert_eq!(docker.due(), None);
        given(&mut docker, EngineEvent::Measured, due + EVERY * 2);
        assert_eq!(settled(&mut docker, due + EVERY * 2), [EngineTask::List { usage: true }]);
    }

    #[test]
    fn without_usage_only_changes_cause_a_listing() {
        let t0 = origin();
        let mut docker = Docker::new(wanted(Duration::ZERO), t0);
        settled(&mut docker, t0);
        given(&mut docker, EngineEvent::StreamOpened("Docker 1".into()), t0);
        assert_eq!(settled(&mut docker, t0), [EngineTask::List { usage: false }]);
        given(&mut docker, EngineEvent::Listed, t0);
        assert_eq!(docker.due(), None);
    }

    #[test]
    fn the_position_is_kept_ten_seconds_after_the_first_of_many_events() {
        let t0 = origin();
        let mut docker = watching(t0);
        given(&mut docker, EngineEvent::Changed, t0);
        given(&mut docker, EngineEvent::Changed, t0 + KEEP_AFTER / 2);
        let done = settled(&mut docker, t0 + KEEP_AFTER);
        assert!(done.contains(&EngineTask::KeepPosition), "{done:?}");
        given(&mut docker, EngineEvent::Changed, t0 + KEEP_AFTER);
        assert!(!settled(&mut docker, t0 + KEEP_AFTER * 3).contains(&EngineTask::KeepPosition), "one write at a time");
        let said = given(&mut docker, EngineEvent::PositionKept(Err("no space".into())), t0 + KEEP_AFTER * 3);
        assert!(said[0].contains("no space"), "{said:?}");
        assert!(settled(&mut docker, t0 + KEEP_AFTER * 3 + CAP).contains(&EngineTask::KeepPosition));
    }

    #[test]
    fn no_engine_is_watched_without_settings() {
        let t0 = origin();
        let mut docker = Docker::new(None, t0);
        given(&mut docker, EngineEvent::Changed, t0);
        assert_eq!(settled(&mut docker, t0), []);
        assert_eq!(docker.due(), None);
    }
}
