//! The beginning of a protected connection: who the client is, and which HTTP it speaks.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::identity::certificates::Peer;
use crate::tls::HTTP2;

/// How long a handshake may take, the wait for a place included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many may be under way at a time. Each costs signatures, and a client can leave one unfinished.
const HANDSHAKES_LIMIT: usize = 1_024;
/// What every TLS connection begins with: a record of a handshake (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// What a client reads that speaks HTTP in clear.
const NOT_IN_CLEAR: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 38\r\nconnection: close\r\n\r\nthis port speaks TLS: call it https://";

/// A connection whose client has proved who it is, as far as it wanted to.
pub struct Protected {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// The client, if it has shown a certificate.
    pub peer: Option<Peer>,
    /// Whether it speaks HTTP/2.
    pub is_http2: bool,
}

/// The handshakes that are under way.
pub struct Handshakes(Semaphore);

impl Default for Handshakes {
    fn default() -> Self {
        Self(Semaphore::new(HANDSHAKES_LIMIT))
    }
}

impl Handshakes {
    /// Makes a connection a protected one.
    ///
    /// # Errors
    ///
    /// When the client leaves, takes too long, or is not taken.
    pub async fn accept(&self, socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Protected> {
        let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.made(socket, config)).await;
        accepted.unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "the handshake took too long")))
    }

    async fn made(&self, mut socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Protected> {
        let mut first = [0];
        // Nothing is done for a client that has not said anything yet: it takes no place.
        if socket.peek(&mut first).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if first != [HANDSHAKE_RECORD] {
            socket.write_all(NOT_IN_CLEAR).await?;
            socket.shutdown().await?;
            return Err(io::Error::new(ErrorKind::InvalidData, "the client speaks in clear"));
        }
        let _place = self.0.acquire().await.map_err(io::Error::other)?;
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        let (_, session) = stream.get_ref();
        let peer = session.peer_certificates().and_then(Peer::new);
        let is_http2 = session.alpn_protocol() == Some(HTTP2);
        Ok(Protected { stream, peer, is_http2 })
    }
}
