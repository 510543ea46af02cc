//! The search language, the same in the box, in the address and in the API.
//!
//! Words match name, host, labels and trouble; `state:failed`, `config:edge@12`, `label:site=line-3`, `version:0.149`;
//! `not:` before a part turns it round. All parts must hold.

use super::AgentView;

/// A query.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<Part>);

#[derive(Debug, Clone)]
struct Part {
    not: bool,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Word(String),
    State(String),
    Config(String),
    Label(String, Option<String>),
    Version(String),
}

impl Query {
    /// Reads a query. Each text is one.
    pub fn new(text: &str) -> Self {
        Self(text.split_whitespace().map(part).collect())
    }

    /// Whether an agent matches.
    pub fn matches(&self, agent: &AgentView) -> bool {
        self.0.iter().all(|part| part.test.holds(agent) != part.not)
    }
}

fn part(text: &str) -> Part {
    let (not, text) = text.strip_prefix("not:").map_or((false, text), |rest| (true, rest));
    let test = match text.split_once(':') {
        Some(("state", state)) => Test::State(state.to_lowercase()),
        Some(("config", config)) => Test::Config(config.to_owned()),
        Some(("version", version)) => Test::Version(version.to_owned()),
        Some(("label", label)) => match label.split_once('=') {
            Some((name, value)) => Test::Label(name.to_owned(), Some(value.to_owned())),
            None => Test::Label(label.to_owned(), None),
        },
        _ => Test::Word(text.to_lowercase()),
    };
    Part { not, test }
}

impl Test {
    fn holds(&self, agent: &AgentView) -> bool {
        match self {
            Self::Word(word) => {
                let has = |text: &str| text.to_lowercase().contains(word);
                has(&agent.name)
                    || has(&agent.host)
                    || has(&agent.uid)
                    || agent.trouble.as_deref().is_some_and(has)
                    || agent.labels.iter().any(|(name, value)| has(name) || has(value))
            }
            // `state:failed` means `config failed`, `state:down` means `collector down`.
            Self::State(state) => agent.state.replace(' ', "-").contains(state),
            Self::Config(config) => {
                let is = |shown: &String| shown == config || shown.split('@').next() == Some(config);
                agent.config.as_ref().is_some_and(is) || agent.next.as_ref().is_some_and(is)
            }
            Self::Label(name, value) => {
                let found = agent.labels.get(name);
                found.is_some() && (value.is_none() || found == value.as_ref())
            }
            Self::Version(version) => {
                agent.agent_version.contains(version) || agent.collector_version.contains(version)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use otelet_hub_decide::{Agent, Fleet, Labels, Member, Target, Uid};

    use super::*;

    #[test]
    fn each_part_of_a_query_narrows_the_list() {
        let agent = Agent {
            host: "press-7".into(),
            heard: Some(1000),
            local: Labels::from([("site".into(), "line-3".into())]),
            agent_version: "otelet 0.3.0".into(),
            ..Agent::default()
        };
        let target = Target { config: "edge".into(), version: 12, hash: otelet_hub_decide::Hash([1; 32]) };
        let member = Member { agent, desired: Some(target), ..Member::default() };
        let view = super::super::view(&Fleet::default(), Uid([7; 16]), &member, 2000);
        for (query, expected) in [
            ("", true),
            ("press", true),
            ("PRESS line-3", true),
            ("oven", false),
            ("not:oven", true),
            ("state:rolling", true),
            ("state:healthy", false),
            ("config:edge", true),
            ("config:edge@12", true),
            ("config:edge@1", false),
            ("label:site=line-3", true),
            ("label:site", true),
            ("not:label:site", false),
            ("version:0.3", true),
        ] {
            assert_eq!(Query::new(query).matches(&view), expected, "{query}");
        }
    }
}
