//! OpAMP by WebSocket, on the same path: an offer is sent at once.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use otelet_hub_decide::{Happened, Report, Uid};
use otelet_wire::opamp::ServerToAgent;
use prost::Message;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::{MESSAGE_LIMIT, holder, opamp};
use crate::hub::{Holder, Hub, Push, Refusal};

/// The first message must come within this time.
const FIRST: Duration = Duration::from_secs(10);

/// A ping is sent this often; a connection that does not answer two of them ends.
const PING: Duration = Duration::from_secs(30);

/// The time for one frame to the agent.
const SEND: Duration = Duration::from_secs(10);

/// Opens a standing connection.
pub async fn upgrade(State(hub): State<Arc<Hub>>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    let holder = match holder(&hub, &headers) {
        Ok(holder) => holder,
        Err(refusal) => return refusal.into_response(),
    };
    upgrade.max_message_size(MESSAGE_LIMIT).max_frame_size(MESSAGE_LIMIT).on_upgrade(move |mut socket| async move {
        // Why a connection ended is the agent's to see: it connects again.
        if let Err(why) = serve(&hub, holder, &mut socket).await {
            tracing::debug!("a standing connection ended: {why:?}");
        }
        // A connection that is gone already needs no goodbye.
        _ = timeout(SEND, socket.send(Frame::Close(None))).await;
    })
}

enum Next {
    Frame(Frame),
    Push(Push),
    Ping,
}

async fn serve(hub: &Arc<Hub>, holder: Holder, socket: &mut WebSocket) -> Result<(), Refusal> {
    let mut agent: Option<(Uid, u64, UnboundedReceiver<Push>)> = None;
    let opened = Instant::now();
    let (mut ping_at, mut unanswered) = (opened + PING, 0);
    loop {
        let deadline = if agent.is_some() { ping_at } else { opened + FIRST };
        let next = tokio::select! {
            frame = socket.recv() => match frame {
                Some(Ok(frame)) => Next::Frame(frame),
                Some(Err(_)) | None => return Ok(()),
            },
            push = next_push(&mut agent) => Next::Push(push),
            () = sleep_until(deadline) => Next::Ping,
        };
        match next {
            Next::Frame(Frame::Binary(bytes)) => {
                let Some((uid, message)) = unframe(&bytes).and_then(opamp::decode) else { return Ok(()) };
                let bound = agent.as_ref().map(|(uid, _, _)| *uid);
                if bound.is_some_and(|bound| bound != uid) {
                    return Err(Refusal::Forbidden("a connection belongs to one instance uid"));
                }
                let answer = opamp::exchange(hub, holder, uid, &message, "opamp-ws").await?;
                match &mut agent {
                    Some((_, capabilities, _)) if message.capabilities != 0 => *capabilities = message.capabilities,
                    Some(_) => {}
                    None => agent = Some((uid, message.capabilities, hub.connected(uid))),
                }
                if message.agent_disconnect.is_some() {
                    return Ok(());
                }
                if !send(socket, &answer).await {
                    return Ok(());
                }
            }
            Next::Frame(Frame::Pong(_)) => {
                unanswered = 0;
                if let Some((uid, _, _)) = &agent {
                    let uid = *uid;
                    hub.tell(Happened::Heard { uid, report: Report::default() }, vec![]).await?;
                }
            }
            Next::Frame(Frame::Ping(_)) => {}
            Next::Frame(Frame::Text(_) | Frame::Close(_)) => return Ok(()),
            Next::Push(Push::Close) => return Ok(()),
            Next::Push(Push::Look) => {
                let Some((uid, capabilities, _)) = &agent else { continue };
                let mut answer = ServerToAgent { instance_uid: uid.0.to_vec(), ..ServerToAgent::default() };
                if opamp::wishes(hub, *uid, *capabilities, &mut answer).await? && !send(socket, &answer).await {
                    return Ok(());
                }
            }
            Next::Ping if agent.is_none() || unanswered == 2 => return Ok(()),
            Next::Ping => {
                (ping_at, unanswered) = (Instant::now() + PING, unanswered + 1);
                if !matches!(timeout(SEND, socket.send(Frame::Ping(Bytes::new()))).await, Ok(Ok(()))) {
                    return Ok(());
                }
            }
        }
    }
}

async fn next_push(agent: &mut Option<(Uid, u64, UnboundedReceiver<Push>)>) -> Push {
    match agent {
        // A newer connection of the agent has taken this one's place.
        Some((_, _, pushes)) => pushes.recv().await.unwrap_or(Push::Close),
        None => std::future::pending().await,
    }
}

/// Takes off the header of a frame, a varint that is 0. The messages of older clients begin with the field of the uid.
fn unframe(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0, message @ ..] => Some(message),
        [0x0a, ..] => Some(bytes),
        _ => None,
    }
}

async fn send(socket: &mut WebSocket, answer: &ServerToAgent) -> bool {
    let mut frame = vec![0];
    answer.encode(&mut frame).expect("a vector has room");
    matches!(timeout(SEND, socket.send(Frame::Binary(frame.into()))).await, Ok(Ok(())))
}
