//! Names the events between two looks at an agent.

use serde::{Deserialize, Serialize};

use crate::agent::{Agent, OfferState, State};
use crate::ids::{Hash, Millis};

/// An event on the timeline of an agent, derived from what it told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The kind of event, in dotted words.
    pub name: &'static str,
    /// The severity.
    pub severity: Severity,
    /// In one line.
    pub text: String,
}

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the timeline.
    Info,
    /// Something failed, and somebody deals with it.
    Warn,
    /// Somebody has to look.
    Error,
}

impl Severity {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Compares two looks at one agent, each with its time. Two equal looks at one time give nothing.
pub fn derive(before: (&Agent, Option<Hash>, Millis), after: (&Agent, Option<Hash>, Millis)) -> Vec<Event> {
    let mut events = Vec::new();
    let mut say = |name, severity, text: String| events.push(Event { name, severity, text });
    let ((was, _, _), (is, desired, now)) = (before, after);
    let (state, old) = (is.state(desired, now), was.state(before.1, before.2));

    match (old, state) {
        (State::New | State::Carried, State::New | State::Carried) => {}
        (State::New | State::Carried, _) => {
            say("agent.first_heard", Severity::Info, "was heard for the first time".into())
        }
        (State::Silent | State::Gone, State::Silent | State::Gone) => {}
        (State::Silent | State::Gone, _) => say("agent.back", Severity::Info, "is heard again".into()),
        (_, State::Silent) => say("agent.silent", Severity::Error, "is silent".into()),
        (_, State::Gone) => say("agent.gone", Severity::Info, "said goodbye".into()),
        _ => {}
    }
    for (name, who, old, new) in [
        ("agent.version", "agent", &was.agent_version, &is.agent_version),
        ("collector.version", "collector", &was.collector_version, &is.collector_version),
    ] {
        if !old.is_empty() && old != new {
            say(name, Severity::Info, format!("{who} changed from {old} to {new}"));
        }
    }
    if is.offer != was.offer
        && let Some(offer) = &is.offer
        && was.offer.as_ref().map(|old| (old.hash, old.state)) != Some((offer.hash, offer.state))
    {
        let config = offer.hash.short();
        match offer.state {
            OfferState::Fetched => say("config.fetched", Severity::Info, format!("config {config} was fetched")),
            OfferState::Applying => say("config.applying", Severity::Info, format!("config {config} is being tried")),
            OfferState::Applied => say("config.applied", Severity::Info, format!("config {config} is in use")),
            OfferState::Failed => {
                say("config.failed", Severity::Error, format!("config {config} failed: {}", offer.message));
            }
        }
    }
    if was.restarts < is.restarts && was.heard.is_some() {
        let times = is.restarts - was.restarts;
        let exit = is.last_exit.as_deref().map(|exit| format!(": {exit}")).unwrap_or_default();
        let text = if times == 1 {
            format!("collector was restarted{exit}")
        } else {
            format!("collector was restarted {times} times{exit}")
        };
        say("collector.restarted", Severity::Warn, text);
    }
    let well = |agent: &Agent| agent.health.as_ref().map(|health| health.healthy);
    match (well(was), well(is)) {
        (Some(true), Some(false)) => {
            let why = is.health.as_ref().map(|health| health.trouble.as_str()).unwrap_or_default();
            say("collector.unhealthy", Severity::Warn, format!("collector is not healthy: {why}"));
        }
        (Some(false), Some(true)) => say("collector.healthy", Severity::Info, "collector is healthy".into()),
        (None | Some(_), None | Some(_)) => {}
    }
    for alert in is.alerts.iter().filter(|alert| !was.alerts.contains(alert)) {
        say("alert.firing", Severity::Error, alert.clone());
    }
    for alert in was.alerts.iter().filter(|alert| !is.alerts.contains(alert)) {
        say("alert.resolved", Severity::Info, alert.clone());
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Health, Report};

    const HASH: Hash = Hash([7; 32]);

    fn names(events: &[Event]) -> Vec<&'static str> {
        events.iter().map(|event| event.name).collect()
    }

    fn heard() -> Agent {
        let mut agent = Agent::default();
        let health = Some(Health { up: true, healthy: true, trouble: String::new() });
        agent.hear(&Report { health, agent_version: Some("0.1.0".into()), ..Report::default() }, 1000);
        agent
    }

    #[test]
    fn equal_looks_give_no_event() {
        assert_eq!(derive((&heard(), None, 1000), (&heard(), None, 1000)), []);
    }

    #[test]
    fn coming_and_going_are_told_once() {
        let new = Agent::default();
        assert_eq!(names(&derive((&new, None, 0), (&heard(), None, 1000))), ["agent.first_heard"]);
        assert_eq!(names(&derive((&heard(), None, 1000), (&heard(), None, 200_000))), ["agent.silent"]);
        assert_eq!(derive((&heard(), None, 200_000), (&heard(), None, 300_000)), []);
        let mut back = heard();
        back.hear(&Report::default(), 300_000);
        assert_eq!(names(&derive((&heard(), None, 299_999), (&back, None, 300_000))), ["agent.back"]);
        back.hear(&Report { goodbye: true, ..Report::default() }, 300_001);
        assert_eq!(names(&derive((&heard(), None, 1000), (&back, None, 300_001))), ["agent.gone"]);
    }

    #[test]
    fn a_failed_config_is_told_in_the_collectors_words() {
        let mut after = heard();
        after.hear(
            &Report { offer: Some((HASH, OfferState::Failed, "unknown type \"x\"".into())), ..Report::default() },
            1000,
        );
        let events = derive((&heard(), None, 1000), (&after, None, 1000));
        assert_eq!(events[0].text, "config 07070707 failed: unknown type \"x\"");
        assert_eq!(events[0].severity, Severity::Error);
    }

    #[test]
    fn restarts_health_versions_and_alerts_are_told() {
        let mut after = heard();
        after.hear(
            &Report {
                restarts: Some(2),
                last_exit: Some(Some("signal 9 after 12s".into())),
                health: Some(Health { up: false, healthy: false, trouble: "it will be started again".into() }),
                agent_version: Some("0.2.0".into()),
                alerts: Some(vec!["disk-full: 97 %".into()]),
                ..Report::default()
            },
            1000,
        );
        let events = derive((&heard(), None, 1000), (&after, None, 1000));
        assert_eq!(names(&events), ["agent.version", "collector.restarted", "collector.unhealthy", "alert.firing"]);
        assert_eq!(events[1].text, "collector was restarted 2 times: signal 9 after 12s");
        let back = derive((&after, None, 1000), (&heard(), None, 1000));
        assert_eq!(names(&back), ["agent.version", "collector.healthy", "alert.resolved"]);
    }
}
