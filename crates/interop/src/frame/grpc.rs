//! What gRPC puts around messages over HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>): the prefix of each message, the status at the end, and what is said in headers.
//!
//! Messages are never compressed: one that is gets refused, with what is accepted.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The media type.
pub const MEDIA_TYPE: &str = "application/grpc";
/// How long the client waits for the whole answer.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Which ways to compress are understood.
pub const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
/// The only way to compress that is understood: not at all.
pub const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// The flag of a frame that has the trailers in it, as gRPC-Web writes them. Within the gateway it ends a stream of frames; on the wire there are real trailers.
const TRAILERS: u8 = 0x80;
/// Of a longer sentence or more details no client would read the headers: many take 8 KiB of them.
const SENTENCE_LIMIT_CHARS: usize = 1_000;
const DETAILS_LIMIT_BYTES: usize = 4_000;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// The names of `google.rpc.Code`, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The number of a code of that name.
#[must_use]
pub fn code(name: &str) -> u32 {
    let place = CODES.iter().position(|known| *known == name).unwrap_or(2);
    u32::try_from(place).unwrap_or_default()
}

/// How a call has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The number of the code.
    pub code: u32,
    /// A sentence.
    pub message: String,
    /// A `google.rpc.Status` with more about it, in its bytes.
    pub details: Option<Vec<u8>>,
}

impl Status {
    /// All went well.
    pub const OK: Self = Self { code: 0, message: String::new(), details: None };

    /// A status of the code of that name.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        Self { code: code(name), message: sentence(&message.into()), details: None }
    }

    /// The name of the code.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let place = usize::try_from(self.code).ok();
        place.and_then(|place| CODES.get(place)).copied().unwrap_or("UNKNOWN")
    }

    /// The status in these headers or trailers, if there is one.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let code = text(STATUS)?.trim().parse().unwrap_or(2);
        let details = text(DETAILS).and_then(|text| BASE64.decode(text.split(',').next().unwrap_or_default()).ok());
        Some(Self { code, message: percent_decoded(text(MESSAGE).unwrap_or_default()), details })
    }

    /// The status as trailers, or as headers of an answer without messages.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, HeaderValue::from(self.code));
        if let Ok(message) = HeaderValue::from_str(&percent_encoded(&self.message))
            && !message.is_empty()
        {
            headers.insert(MESSAGE, message);
        }
        let details = self.details.as_ref().filter(|details| details.len() <= DETAILS_LIMIT_BYTES);
        if let Some(Ok(details)) = details.map(|details| HeaderValue::from_str(&BASE64.encode(details))) {
            headers.insert(DETAILS, details);
        }
        headers
    }

    /// The same as lines of text.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.headers() {
            let _ = write!(lines, "{name}:{}\r\n", value.to_str().unwrap_or_default());
        }
        lines
    }

    /// The same as the last frame of a stream.
    #[must_use]
    pub fn frame(&self) -> Bytes {
        framed(TRAILERS, self.lines().as_bytes())
    }
}

/// A sentence that is short enough to be a header.
#[must_use]
pub fn sentence(text: &str) -> String {
    text.chars().take(SENTENCE_LIMIT_CHARS).collect()
}

/// The trailers that [`Status::lines`] wrote.
#[must_use]
pub fn read_lines(lines: &str) -> HeaderMap {
    let pairs = lines.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?)))
        .collect()
}

/// The trailers in a frame that [`Status::frame`] wrote; none when it is a message.
#[must_use]
pub fn read_trailers(frame: &[u8]) -> Option<HeaderMap> {
    let lines = frame.split_first().filter(|(flag, _)| **flag == TRAILERS)?.1.get(PREFIX_BYTES - 1..)?;
    std::str::from_utf8(lines).ok().map(read_lines)
}

/// A message with its prefix.
#[must_use]
pub fn frame(message: &[u8]) -> Bytes {
    framed(0, message)
}

fn framed(flag: u8, inner: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(PREFIX_BYTES + inner.len());
    out.push(flag);
    out.extend_from_slice(&u32::try_from(inner.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(inner);
    out.into()
}

/// Why frames can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// The message is compressed.
    Compressed,
    /// The message is longer than the limit.
    TooLarge,
    /// There is no message where one must be, or something behind it.
    Malformed,
}

/// Takes bytes as they come and gives messages.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    limit_bytes: usize,
}

impl Frames {
    /// Messages of at most so many bytes.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), limit_bytes }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message; none until more is fed.
    ///
    /// # Errors
    ///
    /// When it is one that is not read; nothing more can be then.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Unreadable> {
        let Some((&flag, &length)) =
            self.buffer.split_first().and_then(|(flag, rest)| Some((flag, rest.first_chunk::<4>()?)))
        else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Unreadable::TooLarge)?;
        match flag {
            0 if length > self.limit_bytes => return Err(Unreadable::TooLarge),
            0 => {}
            1 => return Err(Unreadable::Compressed),
            _ => return Err(Unreadable::Malformed),
        }
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether the last message is whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// The one message of a body.
///
/// # Errors
///
/// When it is not one.
pub fn only(body: &[u8]) -> Result<&[u8], Unreadable> {
    let Some((&[flag, length @ ..], message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Unreadable::Malformed);
    };
    match flag {
        0 if usize::try_from(u32::from_be_bytes(length)) == Ok(message.len()) => Ok(message),
        1 => Err(Unreadable::Compressed),
        _ => Err(Unreadable::Malformed),
    }
}

/// How long a client waits, by its `grpc-timeout`: at most eight digits and a unit.
#[must_use]
pub fn read_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The same, in whole seconds.
#[must_use]
pub fn timeout(duration: Duration) -> HeaderValue {
    let seconds = duration.as_secs().clamp(1, 99_999_999);
    HeaderValue::from_str(&format!("{seconds}S")).unwrap_or(IDENTITY)
}

fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// What is no proper code stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(place) = rest.find('%') {
        let (before, code) = rest.split_at(place);
        out.extend_from_slice(before.as_bytes());
        let byte = code.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(b'%'));
        rest = code.get(if byte.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_come() {
        let bytes = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for size in [1, 3, 100] {
            let mut frames = Frames::new(5);
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                assert!(!frames.is_empty() || frames.next_message() == Ok(None));
                frames.feed(piece);
                while let Some(message) = frames.next_message().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, ["one", "", "three"]);
            assert!(frames.is_empty());
        }
        for (bytes, problem) in [
            (&b"\0\0\0\0\x06"[..], Unreadable::TooLarge),
            (b"\x01\0\0\0\x01x", Unreadable::Compressed),
            (b"\x02\0\0\0\x01x", Unreadable::Malformed),
        ] {
            let mut frames = Frames::new(5);
            frames.feed(bytes);
            assert_eq!(frames.next_message(), Err(problem));
        }
    }

    #[test]
    fn a_request_is_one_message() {
        assert_eq!(only(&frame(b"one")), Ok(&b"one"[..]));
        assert_eq!(only(&frame(b"")), Ok(&b""[..]));
        for (body, problem) in [
            (&b""[..], Unreadable::Malformed),
            (b"\0\0\0\0", Unreadable::Malformed),
            (b"\0\0\0\0\x02x", Unreadable::Malformed),
            (b"\0\0\0\0\x01xy", Unreadable::Malformed),
            (b"\x01\0\0\0\x01x", Unreadable::Compressed),
        ] {
            assert_eq!(only(body), Err(problem));
        }
    }

    #[test]
    fn a_status_is_the_same_by_headers_and_by_a_frame() {
        let whole = Status { details: Some(vec![8, 5]), ..Status::new("NOT_FOUND", "100 % \u{fc}\nber") };
        assert_eq!(whole.headers().get("grpc-message").unwrap(), "100 %25 %C3%BC%0Aber");
        assert_eq!(whole.headers().get("grpc-status-details-bin").unwrap(), "CAU");
        for status in [whole, Status::OK] {
            assert_eq!(Status::read(&status.headers()).as_ref(), Some(&status));
            assert_eq!(read_trailers(&status.frame()), Some(status.headers()));
        }
        assert_eq!(read_trailers(&frame(b"grpc-status:0")), None);
        assert_eq!(Status::read(&HeaderMap::new()), None);
        let long = Status::new("INTERNAL", "x".repeat(5_000));
        assert_eq!((long.message.len(), long.name()), (1_000, "INTERNAL"));
        let padded: HeaderMap = [("grpc-status", "5"), ("grpc-message", "a%zz%2"), ("grpc-status-details-bin", "CAU=")]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect();
        let padded = Status::read(&padded).unwrap();
        assert_eq!((padded.message.as_str(), padded.details), ("a%zz%2", Some(vec![8, 5])));
    }

    #[test]
    fn a_deadline_has_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("", None),
            ("S", None),
            ("1", None),
            ("123456789S", None),
            ("-1S", None),
            ("1ü", None),
        ] {
            assert_eq!(read_timeout(text), expected, "{text}");
        }
        assert_eq!(timeout(Duration::from_secs(600)), "600S");
    }
}
