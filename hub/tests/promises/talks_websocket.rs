//! OpAMP by WebSocket on the same path: an offer is there at once, a revoked agent is cut off.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use otelet_hub_decide::Uid;
use otelet_wire::opamp::ServerToAgent;
use prost::Message;
use tokio_tungstenite::tungstenite::{self, Message as Frame, WebSocket};

use crate::kit::{Agent, CONFIG, TestHub, audit};

fn connect(hub: &TestHub, token: &str) -> Result<WebSocket<TcpStream>, u16> {
    let stream = TcpStream::connect(hub.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = tungstenite::http::Request::builder()
        .uri(format!("ws://{}/v1/opamp", hub.address))
        .header("Host", hub.address.to_string())
        .header("Authorization", format!("Bearer {token}"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key())
        .body(())
        .unwrap();
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => Err(answer.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn say(socket: &mut WebSocket<TcpStream>, agent: &Agent) {
    let mut frame = vec![0];
    agent.says().encode(&mut frame).unwrap();
    socket.send(Frame::Binary(frame.into())).unwrap();
}

fn hear(socket: &mut WebSocket<TcpStream>) -> Option<ServerToAgent> {
    loop {
        match socket.read() {
            Ok(Frame::Binary(bytes)) => {
                assert_eq!(bytes[0], 0, "a frame begins with the header");
                return Some(ServerToAgent::decode(&bytes[1..]).unwrap());
            }
            Ok(Frame::Ping(_) | Frame::Pong(_)) => {}
            Ok(Frame::Close(_)) | Err(_) => return None,
            Ok(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_offer_and_a_restart_come_at_once() {
    let hub = TestHub::new();
    hub.save("edge", 0, CONFIG);
    let agent = Agent::new(1, &hub.enrolment(1));
    let mut socket = connect(&hub, &agent.token).unwrap();
    say(&mut socket, &agent);
    assert!(hear(&mut socket).unwrap().connection_settings.is_some());
    let begun = Instant::now();
    hub.assign(&[("", "edge", 1)]);
    let pushed = hear(&mut socket).unwrap();
    assert_eq!(pushed.remote_config.unwrap().config.unwrap().config_map[""].body, CONFIG);
    hub.run(hub.hub.ask_restart(agent.uid, "anna", audit())).unwrap();
    assert!(hear(&mut socket).unwrap().command.is_some());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(hub.member(agent.uid).agent.protocol, "opamp-ws");
}

#[test]
fn a_revoked_agent_is_cut_off_and_a_wrong_token_never_connects() {
    let hub = TestHub::new();
    let agent = Agent::new(1, &hub.enrolment(1));
    assert_eq!(connect(&hub, "agent_guess").err(), Some(401));
    let mut socket = connect(&hub, &agent.token).unwrap();
    say(&mut socket, &agent);
    hear(&mut socket).unwrap();
    hub.run(hub.hub.forget(agent.uid, audit())).unwrap();
    assert_eq!(hear(&mut socket), None);
}

#[test]
fn a_connection_belongs_to_one_agent() {
    let hub = TestHub::new();
    let agent = Agent::new(1, &hub.enrolment(2));
    let mut socket = connect(&hub, &agent.token).unwrap();
    say(&mut socket, &agent);
    hear(&mut socket).unwrap();
    say(&mut socket, &Agent { uid: Uid([2; 16]), ..agent });
    assert_eq!(hear(&mut socket), None);
}

#[test]
fn a_connection_that_says_nothing_ends() {
    let hub = TestHub::new();
    let mut socket = connect(&hub, &hub.enrolment(1)).unwrap();
    let begun = Instant::now();
    assert_eq!(hear(&mut socket), None);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
