//! The end of a collector: on request, by a crash, and of everything that it had started.

use std::time::Instant;

use super::{Collector, KILL_AGAIN, Phase, Run, RunFailure};
use crate::decide::action::Action;
use crate::decide::data::collector::{Additions, CollectorEvent, EngineUse, Exit, LastExit};
use crate::decide::data::hash::ConfigHash;
use crate::decide::data::time::Moment;
use crate::decide::docker::Presence;
use crate::decide::notice::Notice;

/// This many starts in a row may fail because another program took the port that the agent had picked. The next one
/// counts as a crash.
const STOLEN_PORTS: u32 = 3;

impl Collector {
    /// Waits for the end of what an ended process has left. Only then does its end count as a crash.
    pub(super) fn ending(
        &mut self,
        run: Run,
        ended: Instant,
        kill_at: Instant,
        input: CollectorEvent,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> (Phase, Option<RunFailure>) {
        let kill_at = match input {
            CollectorEvent::Exited { pid, exit } if pid == run.pid => return self.crash(run, exit, ended, at, out),
            CollectorEvent::Due if at.now >= kill_at => {
                out.push(Action::Tell(Notice::CollectorKilled { pid: run.pid, after: self.stop_timeout }));
                out.push(Action::Kill(run.pid));
                at.now + KILL_AGAIN
            }
            CollectorEvent::Hurry => {
                out.push(Action::Kill(run.pid));
                at.now + KILL_AGAIN
            }
            CollectorEvent::Due
            | CollectorEvent::LeaderEnded { .. }
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Spawned(_)
            | CollectorEvent::Unknown
            | CollectorEvent::Learned
            | CollectorEvent::Looked(_)
            | CollectorEvent::ProgramTried { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Restart => kill_at,
        };
        (Phase::Ending { run, ended, kill_at }, None)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one phase")]
    pub(super) fn stopping(
        &mut self,
        pid: u32,
        config: Option<ConfigHash>,
        kill_at: Instant,
        hung: Option<String>,
        input: CollectorEvent,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> Phase {
        let same = Phase::Stopping { pid, config, kill_at, hung: hung.clone() };
        match input {
            CollectorEvent::Exited { pid: ended, exit } if ended == pid => {
                out.push(Action::Tell(Notice::CollectorStopped { pid, exit }));
                match (self.wanted, hung) {
                    (None, _) => Phase::Idle,
                    (Some(wanted), Some(_)) if self.crashed == Some(wanted) => {
                        self.restarts += 1;
                        self.wait(at, out)
                    }
                    (Some(_), _) => Phase::Waiting { until: self.earliest(at.now) },
                }
            }
            CollectorEvent::Due if at.now >= kill_at => {
                out.push(Action::Tell(Notice::CollectorKilled { pid, after: self.stop_timeout }));
                out.push(Action::Kill(pid));
                Phase::Stopping { pid, config, kill_at: at.now + KILL_AGAIN, hung }
            }
            CollectorEvent::Hurry => self.hurry(same, at.now, out),
            CollectorEvent::Due
            | CollectorEvent::LeaderEnded { .. }
            | CollectorEvent::Exited { .. }
            | CollectorEvent::Spawned(_)
            | CollectorEvent::Unknown
            | CollectorEvent::Learned
            | CollectorEvent::Looked(_)
            | CollectorEvent::ProgramTried { .. }
            | CollectorEvent::Probed { .. }
            | CollectorEvent::Restart => same,
        }
    }

    /// Handles an end that was not asked for, whatever the exit code: the Collector ends with 0 after a fatal error of
    /// a component. `ended` is the time of the end; what it had started may have taken longer.
    pub(super) fn crash(
        &mut self,
        run: Run,
        exit: Exit,
        ended: Instant,
        at: Moment,
        out: &mut Vec<Action>,
    ) -> (Phase, Option<RunFailure>) {
        let config = run.config;
        if exit.stolen_port && self.stolen_ports < STOLEN_PORTS {
            self.stolen_ports += 1;
            out.push(Action::Tell(Notice::PortStolen));
            return (Phase::Waiting { until: self.earliest(at.now) }, None);
        }
        // The engine was or may have been absent, so this end says nothing about the config.
        let absent = |presence| matches!(presence, Presence::Away | Presence::Unknown);
        let bereft = run.engine == EngineUse::Read
            && (absent(self.engine) || absent(self.engine_at_start) || self.engine_at_start == Presence::Coming)
            && run.health.healthy_since().is_none();
        if !bereft {
            self.count_failure(&run, ended);
        }
        self.restarts += 1;
        let lived = ended - run.since;
        self.last_exit = Some(LastExit { how: exit.how.clone(), last_words: exit.last_words.clone(), at: at.wall });
        let reason = match exit.last_words.is_empty() {
            true => format!("collector exited: {} after {}", exit.how, crate::units::seconds(lived)),
            false => exit.last_words.clone(),
        };
        let (pid, crashes) = (run.pid, self.crashes);
        let until = if bereft { self.earliest(at.now) } else { self.next_start(at) };
        out.push(Action::Tell(Notice::CollectorExited { pid, exit, lived, crashes, delay: until - at.now }));
        if bereft {
            return (Phase::Waiting { until }, None);
        }
        // With additions the config has not failed yet: the next start shows which of the two did.
        let guilty = !self.blames_additions(&run, out);
        (self.wait(at, out), guilty.then_some(RunFailure { config, reason }))
    }

    /// Decides whether the additions caused the end of this run. A valid file may still not work, so a collector that
    /// ends before it was healthy is started again without the additions. If that start fails too, the cause lies
    /// elsewhere, and the next one has the additions again.
    pub(super) fn blames_additions(&mut self, run: &Run, out: &mut Vec<Action>) -> bool {
        if run.health.healthy_since().is_some() {
            return false;
        }
        match run.additions {
            Additions::Unused => {}
            Additions::Given => {
                self.without_additions = true;
                out.push(Action::Tell(Notice::AdditionsLeftOut { config: run.config }));
            }
            Additions::LeftOut => self.without_additions = false,
        }
        run.additions == Additions::Given
    }
}
