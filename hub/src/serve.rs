//! Accepts connections, with a clock on each part that a client could draw out, and a cap on their number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::Layer;

/// The most connections at once.
const CONNECTIONS: usize = 4096;

/// The time for a TLS handshake, and for the head of a request, counted from its first moment: silence is a slow head.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(10);

/// The most bytes of a head.
const HEAD_BYTES: usize = 64 << 10;

/// Serves until the future `end` is done, then lets what is under way finish.
///
/// # Errors
///
/// None: what goes wrong with one connection is that connection's end.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, end: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut end = std::pin::pin!(end);
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut end => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}; next try in 1s");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            connection(stream, peer, tls, router).await;
            drop(place);
        });
    }
    // Requests are short; standing connections end with the process.
    let all = u32::try_from(CONNECTIONS).expect("it is small");
    _ = timeout(Duration::from_secs(5), places.acquire_many(all)).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, router: Router) {
    _ = stream.set_nodelay(true);
    match tls {
        None => http(stream, peer, router).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await {
                http(stream, peer, router).await;
            }
        }
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr, router: Router) {
    let service = axum::Extension(ConnectInfo(peer)).layer(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("connection of {peer}: {error}");
    }
}
