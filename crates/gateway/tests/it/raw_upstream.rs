//! An upstream whose every byte the test chooses, for what no well-behaved server would send.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portcullis_testkit::process::{listen, wait_until};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::gateway::LIMIT;

/// Between two pieces, so that they do not arrive as one.
const PAUSE: Duration = Duration::from_millis(1);

/// A piece that stands for silence: nothing more is written, and the connection stays open until the client closes it.
pub(crate) const SILENCE: &[u8] = b"\0silence";

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// In lower case.
    pub(crate) head: String,
    /// As it came.
    pub(crate) raw_head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

type Reply = Arc<dyn Fn(&Received) -> Vec<Vec<u8>> + Send + Sync>;

/// The upstream.
pub(crate) struct RawUpstream {
    pub(crate) url: String,
    /// Locked to add and to read, never across a wait.
    received: Arc<Mutex<Vec<Received>>>,
    /// How many clients left while there was silence.
    left: Arc<AtomicUsize>,
}

impl RawUpstream {
    /// Answers every request with the pieces that `reply` gives, one write for each. Where the head does not say how long the body is, its end is the connection's.
    pub(crate) async fn start(reply: impl Fn(&Received) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (listener, url) = listen().await.unwrap();
        Self::start_at(listener, url, reply)
    }

    /// The same, at a listener that is there.
    pub(crate) fn start_at(
        listener: TcpListener,
        url: String,
        reply: impl Fn(&Received) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(listener, url, None, reply)
    }

    /// The same, under TLS where there is something to prove its name with.
    pub(crate) fn start_with(
        listener: TcpListener,
        url: String,
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Received) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let upstream = Self { url, received: Arc::default(), left: Arc::default() };
        let (reply, kept, left): (Reply, _, _) = (Arc::new(reply), upstream.received.clone(), upstream.left.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let (tls, reply, kept, left) = (tls.clone(), reply.clone(), kept.clone(), left.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, reply, kept, left).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, reply, kept, left).await;
                            }
                        }
                    }
                });
            }
        });
        upstream
    }

    /// Answers every request with this body.
    pub(crate) async fn of_body(status: u16, headers: &str, body: &str) -> Self {
        let answer = whole(status, headers, body);
        Self::start(move |_| vec![answer.clone()]).await
    }

    /// Everything that has come.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many clients have left while there was silence.
    pub(crate) async fn wait_for_leavers(&self, count: usize) {
        let have_left = || async { self.left.load(Ordering::SeqCst) >= count };
        wait_until(&format!("{count} clients have left"), LIMIT, have_left).await.unwrap();
    }
}

/// A whole answer; `headers` are lines that end with a line break each.
pub(crate) fn whole(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let type_line =
        if headers.to_lowercase().contains("content-type") { "" } else { "content-type: application/json\r\n" };
    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{type_line}{headers}\r\n{body}").into_bytes()
}

/// The head of an event stream that ends with the connection.
pub(crate) fn event_head() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec()
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: S,
    reply: Reply,
    received: Arc<Mutex<Vec<Received>>>,
    left: Arc<AtomicUsize>,
) {
    while let Some(request) = read(&mut socket).await {
        received.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let pieces = reply(&request);
        let is_last =
            pieces.first().is_none_or(|head| !String::from_utf8_lossy(head).to_lowercase().contains("content-length"));
        for piece in pieces {
            if piece == SILENCE {
                while matches!(socket.read(&mut [0; 64]).await, Ok(1..)) {}
                left.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if socket.write_all(&piece).await.is_err() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if is_last {
            let _ = socket.shutdown().await;
            return;
        }
    }
}

async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
        }
    };
    let mut body = bytes.split_off(end);
    let raw_head = String::from_utf8_lossy(&bytes).into_owned();
    let head = raw_head.to_lowercase();
    let length =
        head.split_once("content-length:").map_or(0, |(_, rest)| rest.lines().next().unwrap().trim().parse().unwrap());
    while body.len() < length {
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => body.extend_from_slice(&buffer[..length]),
        }
    }
    Some(Received { head, raw_head, body })
}
