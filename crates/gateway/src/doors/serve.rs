//! The listener: connections, their limits, and the end of them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::doors::answer::{Answer, with_header};
use crate::doors::arrived::Doors;
use crate::doors::handshake::{Handshakes, Protected};
use crate::doors::opening;
use crate::doors::quiet::{Counted, Streams};
use crate::doors::router::route;
use crate::identity::certificates::Peer;
use crate::stop::stopped;

/// How many connections may be open at a time.
const CONNECTIONS_LIMIT: usize = 8_192;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// The same by HTTP/2.
const HEADERS_LIMIT_BYTES: u32 = 64 << 10;
/// How many calls one connection of HTTP/2 may have under way.
const STREAMS_LIMIT: u32 = 128;
/// How many streams that the client has taken back may wait to be noticed; with more the connection ends (CVE-2023-44487).
const RESETS_LIMIT: usize = 20;
/// How long a connection of HTTP/2 may be silent before it is asked for a sign of life, and how long that may take.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
const SIGN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection of HTTP/2 may have no stream. One of HTTP/1 is given [`HEAD_TIMEOUT`].
const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// The largest frame, in bytes, and how much may be on its way to us: on one stream, and on all of a connection. The least that HTTP/2 allows is 16 KiB and 64 KiB.
const FRAME_LIMIT_BYTES: u32 = 16 << 10;
const WINDOW_BYTES: u32 = 1 << 20;
/// How much of an answer may wait for a slow reader of a stream, in bytes.
const WAITING_LIMIT_BYTES: usize = 256 << 10;
/// How long to wait after the system refused a connection, as when there are no file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a stop takes at most.
pub struct Patience {
    /// For whoever sends connections here, to notice.
    pub unready: Duration,
    /// For the calls that are under way then.
    pub drain: Duration,
}

/// Serves until the gateway is asked to stop and whoever sends connections had time to notice; then takes no more and lets those that are open finish.
pub async fn serve(listener: TcpListener, doors: Arc<Doors>, patience: impl Fn() -> Patience) {
    let mut stop = doors.stop.clone();
    let mut is_over = pin!(async {
        stopped(&mut stop).await;
        tokio::time::sleep(patience().unready).await;
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    let graceful = GracefulShutdown::new();
    let handshakes = Arc::new(Handshakes::default());
    let (close, closing) = watch::channel(false);
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = &mut is_over => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut is_over => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        let (doors, watcher, mut closed) = (doors.clone(), graceful.watcher(), closing.clone());
        let handshakes = handshakes.clone();
        tokio::spawn(async move {
            let opened = tokio::select! {
                opened = open(socket, &doors, &handshakes) => opened,
                // Whoever has not said anything by then is not waited for.
                _ = closed.wait_for(|closed| *closed) => return,
            };
            let served = match opened {
                Ok(Opened::Clear(io, is_http2)) => serve_connection(io, is_http2, None, doors, watcher).await,
                Ok(Opened::Protected(made)) => {
                    let Protected { stream, peer, is_http2 } = *made;
                    serve_connection(stream, is_http2, peer, doors, watcher).await
                }
                Err(error) => Err(error.into()),
            };
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    close.send_replace(true);
    if tokio::time::timeout(patience().drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("calls were still under way when the time to drain was over");
    }
}

/// A connection that a request can come on.
enum Opened {
    Clear(opening::Opened, bool),
    Protected(Box<Protected>),
}

/// In clear, or protected as the configuration says now.
async fn open(socket: TcpStream, doors: &Doors, handshakes: &Handshakes) -> std::io::Result<Opened> {
    match doors.gate.tls.load_full() {
        Some(config) => handshakes.accept(socket, config).await.map(|made| Opened::Protected(Box::new(made))),
        None => opening::open(socket, HEAD_TIMEOUT).await.map(|(io, is_http2)| Opened::Clear(io, is_http2)),
    }
}

/// The answer; once the gateway is about to stop it asks for the next request to be sent on another connection, which will lead elsewhere. HTTP/2 has no such header (RFC 9113,
/// section 8.2.2) and says it when it shuts down.
async fn answer(doors: &Arc<Doors>, peer: Option<&Peer>, request: Request<Incoming>) -> Answer {
    let is_http1 = request.version() < Version::HTTP_2;
    let answer = route(doors, peer, request).await;
    if is_http1 && doors.is_leaving() { with_header(answer, CONNECTION, "close") } else { answer }
}

/// Serves one connection, in the HTTP that it speaks.
async fn serve_connection(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    peer: Option<Peer>,
    doors: Arc<Doors>,
    watcher: Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let peer = peer.map(Arc::new);
    if is_http2 {
        let streams = Streams::default();
        let counted = streams.clone();
        let service = service_fn(move |request| {
            let (doors, peer, stream) = (doors.clone(), peer.clone(), counted.begin());
            async move {
                let answer = answer(&doors, peer.as_deref(), request).await;
                Ok::<_, Infallible>(answer.map(|body| Counted { body, _stream: stream }))
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_LIMIT)
            .max_header_list_size(HEADERS_LIMIT_BYTES)
            .max_pending_accept_reset_streams(RESETS_LIMIT)
            .max_frame_size(FRAME_LIMIT_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_send_buf_size(WAITING_LIMIT_BYTES)
            .keep_alive_interval(SILENCE_LIMIT)
            .keep_alive_timeout(SIGN_TIMEOUT)
            .serve_connection(TokioIo::new(io), service);
        tokio::select! {
            ended = watcher.watch(connection) => ended?,
            () = streams.are_quiet(QUIET_LIMIT) => {}
        }
        return Ok(());
    }
    let service = service_fn(move |request| {
        let (doors, peer) = (doors.clone(), peer.clone());
        async move { Ok::<_, Infallible>(answer(&doors, peer.as_deref(), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .serve_connection(TokioIo::new(io), service);
    watcher.watch(connection).await?;
    Ok(())
}
