//! The ends of a history: a calm time, in which everything has to come right, and a stop.

use super::*;

impl World {
    /// Ends the disturbances: the agent must recover by itself.
    pub(super) fn calm_down(&mut self) {
        self.quiet = true;
        (self.binary_missing, self.disk_full) = (false, false);
        (self.webhook_away, self.gauges) = (false, [(0.0, true); 2]);
        self.engine_away = false;
        let end = self.now + ENGINE_BACK_WITHIN;
        while !self.agent.docker.is_watching() {
            assert!(self.now < end, "{}: the engine is not watched: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
        let end = self.now + BACK_WITHIN;
        while self.disk != *self.agent.rollout.record() {
            assert!(self.now < end, "{}: never on disk: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
        self.places_answer();
        let end = self.now + BACK_WITHIN;
        while self.is_undecided() && self.first_has_a_config() {
            assert!(self.now < end, "{}: never decided: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
        // A new config that was never tried, so that no earlier failure counts against it.
        let newest = hash(200);
        self.calm_places();
        let end = self.now + BACK_WITHIN + OLDER_WITHIN;
        while !is_back(&self.agent, newest) {
            assert!(self.now < end, "{}: not back: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
        // A start with other files starts the program on disk, too, whatever the settings say of it alone.
        self.program = (self.program / REFUSING + 1) * REFUSING;
        self.local += 1;
        while !self.processes.values().any(|process| process.local == self.local) || !is_back(&self.agent, newest) {
            assert!(self.now < end, "{}: the files of the host are not used: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
        self.program_calms_down(end);
        let sent = self.agent.report().exports.sent;
        self.feed(Event::ExportQueued);
        while self.agent.report().exports.sent == sent {
            assert!(self.now < end, "{}: never exported: {:#?}", self.seed, self.agent);
            self.let_time_pass();
        }
    }

    pub(super) fn is_undecided(&self) -> bool {
        self.agent.rollout.checking().is_some() || self.agent.report().status == RemoteConfigStatus::Applying
    }

    /// A program that takes every config takes the place of the one that runs.
    pub(super) fn program_calms_down(&mut self, end: Instant) {
        self.program = (self.program / REFUSING + 1) * REFUSING;
        let starts = self.next_pid;
        let waits = self.params().on_replaced == OnReplaced::Wait;
        let limit = if waits { self.now + Duration::from_secs(180) } else { end };
        while self.now < limit {
            let runs = self.processes.values().any(|process| process.program == self.program);
            if runs && is_back(&self.agent, hash(200)) {
                break;
            }
            self.let_time_pass();
        }
        let replaced = self.processes.values().any(|process| process.program == self.program);
        assert_eq!(replaced, !waits, "{}: {:#?}", self.seed, self.agent);
        assert!(!waits || starts == self.next_pid, "{}: it is stopped and was to wait", self.seed);
    }

    pub(super) fn alerts_calm_down(&mut self) {
        let end = self.now + BACK_WITHIN;
        while !self.firing.is_empty() || !self.heard.is_empty() || self.kept_alerts != AlertMemory::default() {
            assert!(
                self.now < end,
                "{}: {:?} fire, the webhook heard of {:?}, the disk has {:?}",
                self.seed,
                self.firing,
                self.heard,
                self.kept_alerts
            );
            self.let_time_pass();
        }
    }

    pub(super) fn stop(&mut self) {
        let end = self.now + Duration::from_secs(120);
        self.stopping = true;
        if self.below(2) == 0 {
            // Only a collector that ignores the request to end shows whether it was given its time.
            self.processes.values_mut().for_each(|process| process.ignores_terminate = true);
        }
        let is_up = matches!(self.agent.collector.phase(), Phase::Up(_));
        self.gentle_until = is_up.then(|| self.now + STOP_TIMEOUT);
        self.feed(Event::Stop);
        self.stop_again();
        while !self.quit {
            assert!(self.now < end, "{}: does not stop: {:#?}", self.seed, self.agent);
            self.let_time_pass_while_stopping();
        }
    }

    /// Often sends a second signal: within the time in which two count as one, or later.
    pub(super) fn stop_again(&mut self) {
        let gap = match self.below(4) {
            0 => return,
            1 => self.millis(50),
            2 => Duration::from_millis(50),
            _ => Duration::from_millis(50) + self.millis(20_000),
        };
        let second = self.now + gap;
        while !self.quit && self.next_thing() <= second {
            self.let_time_pass();
        }
        self.now = self.now.max(second);
        if gap < Duration::from_millis(50) {
            return self.feed(Event::Stop);
        }
        self.gentle_until = None;
        self.feed(Event::Stop);
        let soon = self.now + Duration::from_millis(1);
        for pid in self.processes.keys() {
            let ends = |(time, event): &(Instant, Event)| {
                *time <= soon
                    && matches!(event, Event::Collector(CollectorEvent::Exited { pid: ended, .. }) if ended == pid)
            };
            assert!(self.pending.iter().any(ends), "{}: {pid} is not ended at once", self.seed);
        }
    }

    pub(super) fn next_thing(&self) -> Instant {
        self.pending.iter().map(|(time, _)| *time).fold(self.agent.deadline(), Instant::min)
    }

    pub(super) fn let_time_pass_while_stopping(&mut self) {
        let next = self.pending.iter().map(|(time, _)| *time).min();
        match next {
            Some(_) => self.let_time_pass(),
            None => {
                self.now += Duration::from_secs(1);
                self.feed(Event::Due);
            }
        }
    }
}

/// Whether this config runs well and the report says so.
pub(super) fn is_back(agent: &Agent, config: ConfigHash) -> bool {
    let report = agent.report();
    let well = report.collector.healthy && !report.collector.without_engine;
    report.status == RemoteConfigStatus::Applied && report.effective == Some(config) && well
}
