//! The world's reaction to the agent's actions: a made-up disk, server, engine, receiver and processes.

use super::*;

impl World {
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.perform_one(action);
        }
        let running = self.agent.report().effective;
        if let Some(config) = running {
            let real = self.processes.values().any(|process| process.config.is_some_and(|it| alike(it, config)));
            let ending =
                self.pending.iter().any(|(_, event)| matches!(event, Event::Collector(CollectorEvent::Exited { .. })));
            assert!(real || ending, "{}: the report calls {config} effective, and it does not run", self.seed);
        }
    }

    fn perform_one(&mut self, action: Action) {
        match action {
            Action::Exchange { source, report, conditional } => {
                assert_eq!(*report, self.agent.report(), "{}: the report of an exchange is of another time", self.seed);
                self.ask(source, conditional);
            }
            Action::CheckBody(hash) => self.look_at_body(hash),
            Action::Keep { hash, beside } => {
                self.assert_not_barred(hash);
                let result = if self.disk_full { Err("no space left on device".into()) } else { Ok(()) };
                let alike = beside.is_some_and(|beside| alike(hash, beside) && self.rounds.bodies.contains(&beside));
                self.later(200, Event::Kept { hash, alike, result });
            }
            Action::Validate(hash) => {
                self.assert_not_barred(hash);
                let verdict = if !self.rounds.bodies.contains(&hash) {
                    Verdict::Lost("it is torn".into())
                } else if self.binary_missing {
                    Verdict::Unable("no such file".into())
                } else if character(hash) == Character::FailsValidation {
                    Verdict::Refused("unknown component".into())
                } else {
                    Verdict::Passed
                };
                self.later(2_000, Event::Validated { hash, verdict });
            }
            Action::Report(report) => {
                assert_eq!(*report, self.agent.report(), "{}: a report is of another time", self.seed);
                let out = self.pending.iter().filter(|(_, event)| matches!(event, Event::Reported(_))).count();
                assert_eq!(out, 0, "{}: a second report while one is out", self.seed);
                let result = if self.rounds.places[0].away {
                    Err(Failure::new(FailureKind::Status, "answered 503"))
                } else {
                    Ok(())
                };
                self.later(2_000, Event::Reported(result));
            }
            Action::Record { generation, record } => {
                let result = if self.disk_full { Err("no space left on device".into()) } else { Ok(()) };
                if result.is_ok() {
                    self.disk = record;
                    self.rounds.record();
                }
                self.later(300, Event::Recorded { generation, result });
            }
            Action::Spawn { config, without_engine, without_additions, only_known } => {
                if only_known && !self.binary_missing && self.asked != Some(self.program) {
                    self.pending.push((self.now, Event::Collector(CollectorEvent::Unknown)));
                } else {
                    self.spawn(config, without_engine, without_additions);
                }
            }
            Action::Learn => {
                let out = |(_, event): &(Instant, Event)| matches!(event, Event::Collector(CollectorEvent::Learned));
                assert!(!self.pending.iter().any(out), "{}: it is asked twice at a time", self.seed);
                self.ask_program();
                self.later(2_000, Event::Collector(CollectorEvent::Learned));
            }
            Action::LookAtProgram => {
                let used = self.processes.values().next().map(|process| (process.program, process.local));
                let of = match used {
                    Some((_, local)) if local != self.local => Some(Changed::Local),
                    Some((program, _)) if program != self.program => Some(Changed::Program),
                    Some(_) | None => None,
                };
                let number = self.program * 1_000 + self.local;
                let other = of.map(|of| Change { of, number });
                self.pending.push((self.now, Event::Collector(CollectorEvent::Looked(other))));
            }
            Action::TryProgram { config, change } => {
                assert_ne!(self.agent.report().candidate, Some(config), "{}: its probation is disturbed", self.seed);
                let trial = match self.ask_program() {
                    false => ProgramTrial::Unable("no such file".into()),
                    true if self.program % REFUSING == REFUSING - 1 => ProgramTrial::Refuses("unknown".into()),
                    true => ProgramTrial::Takes(String::new()),
                };
                self.later(2_000, Event::Collector(CollectorEvent::ProgramTried { change, trial }));
            }
            Action::EndQuestions => {
                self.pending.retain(|(_, event)| !matches!(event, Event::Collector(CollectorEvent::Learned)));
            }
            Action::Terminate(pid) => {
                let drain = self.millis(5_000);
                if self.processes.get(&pid).is_some_and(|process| !process.ignores_terminate && !process.stopped) {
                    self.end(pid, "code 0", drain);
                }
            }
            Action::Kill(pid) => {
                let early = self.gentle_until.is_some_and(|until| self.now < until);
                assert!(!early, "{}: {pid} is killed before its time", self.seed);
                self.end(pid, "signal 9", Duration::from_millis(1));
            }
            Action::Probe(pid) => {
                let probe = self.probe(pid);
                self.later(1_000, Event::Collector(CollectorEvent::Probed { pid, probe }));
            }
            Action::Quit => {
                assert!(self.processes.is_empty(), "{}: the agent quit and left a collector", self.seed);
                self.quit = true;
            }
            Action::Tell(Notice::Refused { hash, reason, .. } | Notice::RolledBack { from: hash, reason, .. }) => {
                assert!(!reason.contains(NO_ENGINE), "{}: {hash} is refused for want of an engine", self.seed);
                assert!(!reason.contains(BAD_ADDITIONS), "{}: {hash} is refused for its additions", self.seed);
                self.refused.insert(hash);
            }
            Action::Tell(Notice::CollectorHung { .. }) => {
                let starting = self.processes.values().find(|process| !process.known_healthy && !process.stopped);
                let early = starting.is_some_and(|process| self.now < process.since + START_TIMEOUT);
                assert!(!early, "{}: it is ended before its time to start is over", self.seed);
            }
            Action::Docker(what) => self.use_engine(what),
            Action::Check { generation, .. } => self.check(generation),
            Action::SignOfLife => self.last_sign = self.now,
            Action::Export => {
                let out = self.pending.iter().filter(|(_, event)| matches!(event, Event::Exported(_))).count();
                assert_eq!(out, 0, "{}: a second export while one is out", self.seed);
                let gone = self.agent.exports.to_collector() && self.agent.report().effective.is_none();
                assert!(!gone, "{}: an export to a collector that does not run", self.seed);
                let result = match self.rounds.places[0].away {
                    true => Err(Failure::new(FailureKind::Status, "answered 503")),
                    false => Ok(ExportOutcome { sent: 1, more: !self.quiet && self.below(3) == 0, trouble: None }),
                };
                self.later(3_000, Event::Exported(result));
            }
            Action::Tell(Notice::AlertFired { alert, .. }) => {
                let number = series_number(&alert.attributes);
                let bad_since = self.bad_since[number as usize];
                let bad_for = bad_since.map(|since| self.now - since);
                assert!(bad_for >= Some(LASTING), "{}: {number} fires after {bad_for:?}", self.seed);
                assert!(self.firing.insert(number), "{}: {number} fires twice", self.seed);
            }
            Action::Tell(Notice::AlertResolved { alert, .. }) => {
                let number = series_number(&alert.attributes);
                assert!(self.firing.remove(&number), "{}: {number} is resolved and did not fire", self.seed);
            }
            Action::Sample => {
                assert!(self.now <= self.sample_by, "{}: the host was not sampled for too long", self.seed);
                self.sample_by = self.now + self.sample_every;
                self.measure();
            }
            Action::KeepAlerts(memory) => {
                let out = self.pending.iter().filter(|(_, event)| matches!(event, Event::AlertsKept(_))).count();
                assert_eq!(out, 0, "{}: a second write of the alerts while one is out", self.seed);
                let result = if self.disk_full { Err("no space left on device".into()) } else { Ok(()) };
                if result.is_ok() {
                    self.kept_alerts = memory;
                }
                self.later(300, Event::AlertsKept(result));
            }
            Action::SendAlerts(batch) => {
                let out = self.pending.iter().filter(|(_, event)| matches!(event, Event::AlertsSent { .. })).count();
                assert_eq!(out, 0, "{}: a second batch while one is out", self.seed);
                assert!(!batch.is_empty(), "{}: an empty batch", self.seed);
                self.check_times(&batch);
                let result = match self.webhook_away {
                    true => Err(Failure::new(FailureKind::Status, "answered 503")),
                    false => Ok(()),
                };
                if result.is_ok() {
                    self.hear(batch);
                }
                let (ours, theirs) = (self.wall(), self.receivers_wall());
                let clocks = self.tells_date().then(|| Clocks { server: "a webhook".into(), theirs, ours });
                self.later(2_000, Event::AlertsSent { result, clocks });
            }
            Action::EndValidation | Action::Tell(_) | Action::Answer(_) => {}
        }
    }

    /// Checks a batch against the clock of a receiver that has shown it: firing alerts have not ended, and none begins
    /// in the future.
    fn check_times(&self, batch: &[AlertMessage]) {
        let theirs = self.receivers_wall();
        for one in batch.iter().filter(|_| self.told_ahead == Some(self.receiver_ahead)) {
            let number = one.labels.iter().find_map(|(name, value)| (name == "number").then(|| value.parse::<i64>()));
            let fires = self.firing.contains(&number.expect("a series has one").expect("it is a number"));
            let ended = one.ends_at <= theirs;
            assert!(!fires || !ended, "{}: what fires has ended by the receiver's clock: {one:?}", self.seed);
            let begun = one.starts_at <= theirs + ALIKE;
            assert!(begun, "{}: it has not begun by the receiver's clock, {theirs:?}: {one:?}", self.seed);
        }
    }

    fn hear(&mut self, batch: Vec<AlertMessage>) {
        for one in batch {
            let labels = format!("{:?}", one.labels);
            if one.ends_at > self.receivers_wall() {
                self.heard.insert(labels);
            } else {
                self.heard.remove(&labels);
            }
        }
    }

    /// Measures the gauges. The result follows as an event of its own.
    fn measure(&mut self) {
        let mut points = Vec::new();
        for (number, (value, measured)) in self.gauges.iter().enumerate() {
            if *measured {
                points.push(crate::telemetry::Point::new(&GAUGE, *value).with("number", number as i64));
            }
        }
        let snapshot = crate::telemetry::Snapshot { at: SystemTime::UNIX_EPOCH, points };
        self.pending.push((self.now, Event::Measured(std::sync::Arc::new(snapshot))));
    }

    /// Most checks return in time, some much later, some never.
    fn check(&mut self, generation: u64) {
        assert!(!self.checking.contains_key(&generation), "{}: check {generation} is under way twice", self.seed);
        let patience = CHECK_TIMEOUT + check::GRACE;
        let fresh = self.checking.values().filter(|since| self.now < **since + patience).count();
        assert!(fresh < check::MOST_AT_ONCE, "{}: {fresh} checks are under way already", self.seed);
        self.checking.insert(generation, self.now);
        let result = if self.below(3) == 0 { Err("refused".into()) } else { Ok(String::new()) };
        let outcome = CheckOutcome { result, took: Duration::ZERO };
        match self.below(20) {
            0 => {}
            1 => self.later(600_000, Event::Checked { generation, outcome }),
            _ => self.later(4_000, Event::Checked { generation, outcome }),
        }
    }

    pub(super) fn later(&mut self, most: u64, event: Event) {
        let delay = self.millis(most);
        self.pending.push((self.now + delay, event));
    }

    fn assert_not_barred(&self, hash: ConfigHash) {
        assert!(!self.refused.contains(&hash), "{}: {hash} was refused and is tried again", self.seed);
    }

    /// Whether the program on disk can be asked. Sometimes it cannot, though it could be started.
    fn ask_program(&mut self) -> bool {
        let answers = !self.binary_missing && (self.quiet || self.below(8) != 0);
        if answers {
            self.asked = Some(self.program);
        }
        answers
    }

    fn spawn(&mut self, config: ConfigHash, without_engine: bool, without_additions: bool) {
        self.assert_not_barred(config);
        assert!(self.processes.is_empty(), "{}: a second collector is started", self.seed);
        if let Some(last) = self.last_spawn {
            assert!(self.now >= last + collector::FIRST_DELAY, "{}: two starts within the first delay", self.seed);
        }
        self.last_spawn = Some(self.now);
        self.starts.push(self.now);
        if let Some(had_additions) = self.ended_at_start.take() {
            let same = without_additions != had_additions;
            assert!(!same, "{}: it ended at its start, additions {had_additions}, and starts the same way", self.seed);
        }
        if self.binary_missing || !self.rounds.bodies.contains(&config) {
            let failure = SpawnFailure { reason: "no such file".into() };
            self.pending.push((self.now, Event::Collector(CollectorEvent::Spawned(Err(failure)))));
            return;
        }
        let pid = self.next_pid;
        self.next_pid += 1;
        let engine = match (reads_engine(config), without_engine) {
            (false, _) => EngineUse::Unused,
            (true, false) => EngineUse::Read,
            (true, true) => EngineUse::LeftOut,
        };
        // An event that is still pending will reach the agent in this moment.
        let lacks_engine = engine == EngineUse::Read && self.engine_away && !self.agent.docker.is_watching();
        let additions = match (has_additions(config), without_additions) {
            (false, _) => Additions::Unused,
            (true, false) => Additions::Given,
            (true, true) => Additions::LeftOut,
        };
        let dies_of_additions = additions == Additions::Given && self.deadly_additions;
        let process = Process {
            config: Some(config),
            since: self.now,
            well_since: None,
            ignores_terminate: false,
            stopped: false,
            doomed: lacks_engine || dies_of_additions,
            additions,
            program: self.program,
            local: self.local,
            known_healthy: false,
        };
        self.processes.insert(pid, process);
        self.pending.push((
            self.now,
            Event::Collector(CollectorEvent::Spawned(Ok(Child {
                pid,
                program: String::new(),
                witness: Witness::HealthCheck,
                engine,
                additions,
            }))),
        ));
        if lacks_engine {
            let after = self.millis(500);
            self.end(pid, NO_ENGINE, after);
            return;
        }
        if dies_of_additions {
            let after = self.millis(500);
            self.end(pid, BAD_ADDITIONS, after);
            return;
        }
        match character(config) {
            Character::DiesAtStart => {
                let after = self.millis(500);
                self.end(pid, "code 1", after);
            }
            Character::DiesLater => {
                let after = self.millis(60_000);
                self.end(pid, "code 0", after);
            }
            _ => {
                if !self.quiet && self.below(10) == 0 {
                    let exit = Exit {
                        how: "code 1".into(),
                        last_words: "address in use".into(),
                        stolen_port: true,
                        ..Exit::default()
                    };
                    self.pending.push((
                        self.now + Duration::from_millis(20),
                        Event::Collector(CollectorEvent::Exited { pid, exit }),
                    ));
                }
            }
        }
    }

    /// The process ends after this time, unless it is about to end earlier anyway.
    pub(super) fn end(&mut self, pid: u32, how: &str, after: Duration) {
        let time = self.now + after;
        let known = self
            .pending
            .iter_mut()
            .find(|(_, event)| matches!(event, Event::Collector(CollectorEvent::Exited { pid: p, .. }) if *p == pid));
        match known {
            Some((when, _)) => *when = (*when).min(time),
            None if self.processes.contains_key(&pid) => {
                self.pending.push((
                    time,
                    Event::Collector(CollectorEvent::Exited { pid, exit: Exit { how: how.into(), ..Exit::default() } }),
                ));
            }
            None => {}
        }
    }

    fn probe(&mut self, pid: u32) -> Probe {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&pid) else {
            return Probe::Silent("connection refused".into());
        };
        let up = now - process.since;
        let character = process.config.map_or(Character::Good, character);
        let probe = match character {
            _ if process.stopped => Probe::Silent("stopped".into()),
            _ if process.doomed => Probe::Silent("connection refused".into()),
            Character::Slow if up < SLOW_START => Probe::Silent("connection refused".into()),
            Character::NeverReady => Probe::Silent("connection refused".into()),
            Character::Hangs if up > Duration::from_secs(5) => Probe::Silent("no answer".into()),
            Character::Sick if up > Duration::from_secs(5) => Probe::Unhealthy("answered 503".into()),
            _ => Probe::Healthy,
        };
        match probe {
            Probe::Healthy => {
                process.well_since.get_or_insert(now);
            }
            // One or two misses are forgiven, so they do not end the healthy time here either.
            Probe::Silent(_) | Probe::Unhealthy(_) => {}
        }
        probe
    }
}
