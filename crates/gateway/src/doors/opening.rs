//! The beginning of a connection: by its first bytes a client says whether it speaks HTTP/2.

use std::io::{self, Cursor, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, Chain, Join, join};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What a connection of HTTP/2 begins with (RFC 9113, section 3.4). In HTTP/1 there is no such method.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read at first, in bytes: the head of most requests.
const FIRST_READ_BYTES: usize = 4 << 10;

/// A connection, with what was read of it before the rest.
pub type Opened = Join<Chain<Cursor<Bytes>, OwnedReadHalf>, OwnedWriteHalf>;

/// Waits until the client has said what it speaks: the connection, and whether it is HTTP/2.
///
/// # Errors
///
/// When it leaves or takes too long.
pub async fn open(socket: TcpStream, limit: Duration) -> io::Result<(Opened, bool)> {
    let (mut read, write) = socket.into_split();
    let mut first = BytesMut::with_capacity(FIRST_READ_BYTES);
    let said = async {
        loop {
            if read.read_buf(&mut first).await? == 0 {
                return Err(io::Error::from(ErrorKind::UnexpectedEof));
            }
            if let Some(is_http2) = is_http2(&first) {
                return Ok(is_http2);
            }
        }
    };
    let is_http2 = tokio::time::timeout(limit, said).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
    Ok((join(Cursor::new(first.freeze()).chain(read), write), is_http2))
}

/// Whether these first bytes are of HTTP/2; none as long as they may be either.
fn is_http2(first: &[u8]) -> Option<bool> {
    let common = first.len().min(PREFACE.len());
    match first.get(..common) == PREFACE.get(..common) {
        false => Some(false),
        true if common == PREFACE.len() => Some(true),
        true => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_which_http_it_is() {
        for (first, expected) in [
            (&b"POST / HTTP/1.1"[..], Some(false)),
            (b"G", Some(false)),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", None),
            (b"PRI * HTTP/1.1\r\n", Some(false)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Some(true)),
        ] {
            assert_eq!(is_http2(first), expected, "{first:?}");
        }
    }
}
