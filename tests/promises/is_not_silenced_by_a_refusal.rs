//! A server or proxy that refuses one message does not silence the agent: what was left out counts as not said, and goes
//! out again.

use otelet_wire::opamp::{
    AgentConfigFile, AgentConfigMap, AgentRemoteConfig, AgentToServer, OfferStatus, ServerToAgent,
};
use prost::Message;

use super::host::{Host, config};
use super::server::{Answer, Request};

/// A host whose agent speaks OpAMP and polls ten times a second, with a server that has nothing to say.
fn managed() -> Host {
    let host = Host::new();
    host.set("config.protocol", "opamp");
    host.set("config.poll_every", "100ms");
    host.server.answer(nothing());
    host
}

fn nothing() -> Answer {
    Answer::Status(200, Vec::new(), ServerToAgent::default().encode_to_vec())
}

fn offer(body: &str) -> Answer {
    let file = AgentConfigFile { body: body.as_bytes().to_vec().into(), ..Default::default() };
    let config = AgentConfigMap { config_map: [(String::new(), file)].into() };
    let config = AgentRemoteConfig { config: Some(config), config_hash: b"hash".to_vec() };
    let message = ServerToAgent { remote_config: Some(config), ..ServerToAgent::default() };
    Answer::Status(200, Vec::new(), message.encode_to_vec())
}

fn message(asked: &Request) -> AgentToServer {
    AgentToServer::decode(&*asked.body).unwrap()
}

fn is_bare(message: &AgentToServer) -> bool {
    message.agent_description.is_none() && message.health.is_none() && message.remote_config_status.is_none()
}

fn has_applied(message: &AgentToServer) -> bool {
    message.remote_config_status.as_ref().is_some_and(|it| it.status == i32::from(OfferStatus::Applied))
}

/// The messages after this many requests.
fn after(asked: &[Request], count: usize) -> impl Iterator<Item = AgentToServer> {
    asked.iter().skip(count).map(message)
}

#[test]
fn everything_is_said_after_a_413() {
    let host = managed();
    host.server.answer_once(Answer::status(413));
    let agent = host.agent().start();

    let line = agent.logs("answered 413");
    assert!(line.contains("is too large for it, the next message will be shorter"), "{line}");
    let said = |asked: &[Request]| {
        let all: Vec<_> = after(asked, 1).collect();
        all.iter().any(|it| it.agent_description.is_some())
            && all.iter().any(|it| it.health.is_some())
            && all.iter().any(|it| it.remote_config_status.is_some())
    };
    let asked = host.server.wait_for("description, health and status", said);
    assert!(asked[1].body.len() < asked[0].body.len(), "never the same message again");

    let good = config("good");
    host.server.answer(offer(&good));
    host.server.wait_for("the config to be reported", |asked| after(asked, 1).any(|it| has_applied(&it)));
}

#[test]
fn a_proxy_that_refuses_a_poll_changes_nothing() {
    for status in [411, 413, 431, 403, 502] {
        let host = managed();
        let agent = host.agent().start();
        host.server.wait_for("a bare poll", |asked| asked.last().is_some_and(|last| is_bare(&message(last))));
        let page = b"<html><h1>no</h1></html>".to_vec();
        host.server.answer_once(Answer::Status(status, vec![("Content-Type".into(), "text/html".into())], page));
        agent.logs(&format!("answered {status}"));

        let good = config("good");
        host.server.answer(offer(&good));

        // Effective config, health and status of the new config, as from a server that never refused anything.
        host.server.wait_for("the config to be reported", |asked| {
            let all: Vec<_> = after(asked, 1).collect();
            let shown = |it: &AgentToServer| {
                let files = it.effective_config.as_ref().and_then(|it| it.config_map.as_ref());
                files.is_some_and(|map| map.config_map.values().any(|file| file.body == good.as_bytes()))
            };
            all.iter().any(has_applied)
                && all.iter().any(shown)
                && all.iter().any(|it| it.health.as_ref().is_some_and(|health| health.healthy))
        });
        agent.applied(&good);
    }
}
