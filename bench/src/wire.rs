//! The client side of HTTP/1.1, as little as a load generator needs: its own processor time is taken from the upstream's.

use std::{io, net::SocketAddr, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// No answer of the mock upstream comes near it; a longer one is an error, not a larger buffer.
const ANSWER_LIMIT: usize = 1 << 20;
const READ_SIZE: usize = 16 << 10;

/// One keep-alive connection with at most one call in flight.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The body without its framing: a proxy may cut chunks anywhere, also within a word that is looked for.
    body: Vec<u8>,
}

/// A complete answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
    /// When the first byte of the body had arrived.
    pub(crate) first_byte: Instant,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ_SIZE), body: Vec::new() })
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.buffer.clear();
        self.body.clear();
        self.stream.write_all(request).await?;
        let mut frame = None;
        let mut first_byte = None;
        loop {
            self.buffer.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "connection closed before the end of the answer",
                ));
            }
            if self.buffer.len() > ANSWER_LIMIT {
                return Err(invalid("answer over the limit"));
            }
            if frame.is_none() {
                frame = Frame::read(&self.buffer)?;
            }
            let Some(frame) = &mut frame else { continue };
            if self.buffer.len() > frame.head {
                first_byte.get_or_insert_with(Instant::now);
            }
            if frame.is_complete(&self.buffer, &mut self.body)? {
                let head = self.buffer.get(..frame.head).unwrap_or_default();
                let first_byte = first_byte.unwrap_or_else(Instant::now);
                return Ok(Answer { status: frame.status, head, body: &self.body, first_byte });
            }
        }
    }
}

impl Answer<'_> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.body).unwrap_or_default()
    }
}

/// Where an answer ends, as far as its head says.
struct Frame {
    status: u16,
    /// Length of the head with its blank line.
    head: usize,
    end: End,
}

enum End {
    At(usize),
    /// The next chunk's size line starts here.
    Chunk(usize),
}

impl Frame {
    /// None until the head is complete.
    fn read(buffer: &[u8]) -> io::Result<Option<Self>> {
        let Some(blank) = find(buffer, b"\r\n\r\n") else { return Ok(None) };
        let head = blank + 4;
        let text = buffer.get(..head).unwrap_or_default();
        let status = text.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let status = status.ok_or_else(|| invalid("answer without a status"))?;
        let end = if header(text, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            End::Chunk(head)
        } else if let Some(length) = header(text, "content-length") {
            End::At(head.saturating_add(length.parse().map_err(|_| invalid("unreadable content-length"))?))
        } else if status == 204 || status == 304 {
            End::At(head)
        } else {
            return Err(invalid("answer without a length would end the connection"));
        };
        Ok(Some(Self { status, head, end }))
    }

    /// Moves what has arrived whole to the body.
    fn is_complete(&mut self, buffer: &[u8], body: &mut Vec<u8>) -> io::Result<bool> {
        loop {
            let next = match self.end {
                End::At(end) => {
                    let whole = buffer.get(self.head..end);
                    body.extend_from_slice(whole.unwrap_or_default());
                    return Ok(whole.is_some());
                }
                End::Chunk(next) => next,
            };
            let rest = buffer.get(next..).unwrap_or_default();
            let Some(line) = find(rest, b"\r\n") else { return Ok(false) };
            let size = chunk_size(rest.get(..line).unwrap_or_default())?;
            let end = line.saturating_add(2).saturating_add(size);
            let Some(chunk) = rest.get(line + 2..end) else { return Ok(false) };
            if rest.len() < end + 2 {
                return Ok(false);
            }
            if size == 0 {
                // Nobody measured here sends trailers.
                return Ok(true);
            }
            body.extend_from_slice(chunk);
            self.end = End::Chunk(next + end + 2);
        }
    }
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let line = std::str::from_utf8(line).unwrap_or_default();
    let digits = line.split(';').next().unwrap_or_default().trim();
    usize::from_str_radix(digits, 16).map_err(|_| invalid("unreadable chunk size"))
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let head = std::str::from_utf8(head).ok()?;
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: &str) {
        let (mut frame, mut body) = (None, Vec::new());
        for length in 1..=answer.len() {
            let part = &answer.as_bytes()[..length];
            if frame.is_none() {
                frame = Frame::read(part).expect("readable head");
            }
            let complete =
                frame.as_mut().is_some_and(|frame| frame.is_complete(part, &mut body).expect("readable body"));
            assert_eq!(complete, length == answer.len(), "after {length} bytes");
        }
        assert_eq!(String::from_utf8_lossy(&body), expected);
    }

    #[test]
    fn an_answer_ends_where_its_framing_says_however_it_is_cut() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello");
        check("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", "");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\na;x=1\r\n0123456789\r\n0\r\n\r\n",
            "hello0123456789",
        );
    }
}
