//! Server-Sent Events, decoded as they come (WHATWG HTML, section 9.2.6 "Interpreting an event stream").
//!
//! Every byte that goes in comes out again in the `raw` of exactly one block, so that what needs no change can be passed on
//! byte for byte. Blocks without data (comments that keep a connection alive) are handed out too, for the same reason.
//!
//! Where the input is cut makes no difference. For that, a carriage return at the end of the input waits for the byte behind it,
//! unless the line before ended with a lone carriage return: then this stream writes its lines so and nothing would come.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use portcullis_domain::refusal::{Code, Refusal};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// JSON as the data of an event without a name, on one line: a line break in JSON is mere space, and some clients do not join
/// the lines of an event.
pub(crate) fn event(json: &str) -> String {
    format!("data: {}\n\n", json.trim().replace(['\n', '\r'], " "))
}

/// One block of the stream, up to and with the empty line that ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The block as it was sent.
    pub raw: Bytes,
    /// The value of the last `event` field; empty when there is none, which means `message`.
    pub name: Bytes,
    /// The `data` lines, joined by line feeds; none when the block has no such line and thus is no event.
    pub data: Option<Bytes>,
    /// The value of the last `id` field.
    pub id: Option<Bytes>,
}

/// Takes bytes in pieces of any size and gives events.
#[derive(Debug)]
pub struct Decoder {
    limit_bytes: usize,
    /// The block that has begun, and what was fed behind it.
    pending: BytesMut,
    is_first_block: bool,
    /// Where the search for the next end of a line goes on.
    cursor: usize,
    line_start: usize,
    /// Whether the last line of this block ended with a carriage return alone.
    has_lone_return: bool,
    fields: Fields,
}

/// Where the values of a block's fields stand in it.
#[derive(Debug, Default)]
struct Fields {
    name: Range<usize>,
    id: Option<Range<usize>>,
    data: Vec<Range<usize>>,
}

impl Decoder {
    /// A decoder for one stream that refuses blocks larger than `limit_bytes`.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            pending: BytesMut::new(),
            is_first_block: true,
            cursor: 0,
            line_start: 0,
            has_lone_return: false,
            fields: Fields::default(),
        }
    }

    /// Takes the next piece of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next complete block; none until more is fed.
    ///
    /// # Errors
    ///
    /// [`Code::TooLarge`] when a block is over the limit; the stream can't be read any further.
    pub fn next_event(&mut self) -> Result<Option<Event>, Refusal> {
        let end = self.next_end();
        if end.unwrap_or(self.pending.len()) > self.limit_bytes {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("an event of the stream is larger than {} bytes", self.limit_bytes),
            ));
        }
        let Some(end) = end else { return Ok(None) };
        let raw = self.pending.split_to(end).freeze();
        let fields = std::mem::take(&mut self.fields);
        self.is_first_block = false;
        (self.cursor, self.line_start, self.has_lone_return) = (0, 0, false);
        Ok(Some(Event {
            name: raw.slice(fields.name),
            id: fields.id.map(|range| raw.slice(range)),
            data: match fields.data.as_slice() {
                [] => None,
                [one] => Some(raw.slice(one.clone())),
                several => Some(joined(&raw, several)),
            },
            raw,
        }))
    }

    /// What stands behind the blocks that were handed out. At the end it is no event by the standard, however complete it looks.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.pending
    }

    /// Where the block that has begun ends.
    fn next_end(&mut self) -> Option<usize> {
        loop {
            let rest = self.pending.get(self.cursor..)?;
            let Some(found) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.cursor = self.pending.len();
                return None;
            };
            let line_end = self.cursor + found;
            if self.line_start == 0 && self.is_first_block && self.pending.starts_with(BYTE_ORDER_MARK) {
                self.line_start = BYTE_ORDER_MARK.len();
            }
            let is_blank = line_end == self.line_start;
            let is_return = self.pending.get(line_end) == Some(&b'\r');
            if is_return && is_blank && self.has_lone_return {
                return Some(line_end + 1);
            }
            let after = self.pending.get(line_end + 1);
            if is_return && after.is_none() {
                self.cursor = line_end;
                return None;
            }
            self.has_lone_return = is_return && after != Some(&b'\n');
            let next = if is_return && !self.has_lone_return { line_end + 2 } else { line_end + 1 };
            if is_blank {
                return Some(next);
            }
            self.take_line(self.line_start..line_end);
            (self.cursor, self.line_start) = (next, next);
        }
    }

    fn take_line(&mut self, line: Range<usize>) {
        let text = self.pending.get(line.clone()).unwrap_or_default();
        let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
        let has_space = text.get(colon + 1) == Some(&b' ');
        let value_start = (line.start + colon + 1 + usize::from(has_space)).min(line.end);
        let value = value_start..line.end;
        match text.get(..colon) {
            Some(b"data") => self.fields.data.push(value),
            Some(b"event") => self.fields.name = value,
            Some(b"id") if !text.contains(&0) => self.fields.id = Some(value),
            Some(_) | None => {}
        }
    }
}

fn joined(raw: &[u8], lines: &[Range<usize>]) -> Bytes {
    let parts: Vec<&[u8]> = lines.iter().filter_map(|range| raw.get(range.clone())).collect();
    parts.join(&b'\n').into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A block in short: name, data, id.
    type Short<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

    fn decode(pieces: &[&[u8]]) -> (Vec<Event>, Bytes) {
        let mut decoder = Decoder::new(1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.feed(piece);
            while let Some(event) = decoder.next_event().unwrap() {
                events.push(event);
            }
        }
        (events, Bytes::copy_from_slice(decoder.rest()))
    }

    fn check(input: &str, expected: &[Short<'_>], rest: &str) {
        let (events, left) = decode(&[input.as_bytes()]);
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let shown: Vec<_> = events
            .iter()
            .map(|event| (text(&event.name), event.data.as_ref().map(text), event.id.as_ref().map(text)))
            .collect();
        let shown: Vec<Short<'_>> =
            shown.iter().map(|(name, data, id)| (name.as_str(), data.as_deref(), id.as_deref())).collect();
        assert_eq!(shown, expected, "{input:?}");
        assert_eq!(text(&left), rest, "{input:?}");
        let all: Vec<u8> = events.iter().flat_map(|event| event.raw.to_vec()).chain(left).collect();
        assert_eq!(all, input.as_bytes());
    }

    #[test]
    fn blocks_are_read_as_the_standard_says() {
        for (input, expected, rest) in [
            ("data: a\n\n", &[("", Some("a"), None)][..], ""),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &[("", Some("a"), None), ("", Some("b"), None)], ""),
            ("data: a\r\rdata:b\r\r", &[("", Some("a"), None), ("", Some("b"), None)], ""),
            ("data: a\r\r\ndata: b\n\n", &[("", Some("a"), None), ("", None, None), ("", Some("b"), None)], ""),
            ("\u{feff}data: a\n\n", &[("", Some("a"), None)], ""),
            ("\u{feff}\ndata: a\n\n", &[("", None, None), ("", Some("a"), None)], ""),
            ("data: a\n\n\u{feff}data: b\n\n", &[("", Some("a"), None), ("", None, None)], ""),
            ("event: x\ndata: 1\ndata:2\ndata\n\n", &[("x", Some("1\n2\n"), None)], ""),
            ("event: x\nevent:  y \nid: 7\ndata:\n\n", &[(" y ", Some(""), Some("7"))], ""),
            (": keep alive\n\n", &[("", None, None)], ""),
            ("id: a\0b\nretry: 5\nnonsense: x\n\n", &[("", None, None)], ""),
            ("data: a\n", &[], "data: a\n"),
            ("data: a\n\ndata: [DONE]", &[("", Some("a"), None)], "data: [DONE]"),
            ("data: a\r\n\r", &[], "data: a\r\n\r"),
        ] {
            check(input, expected, rest);
        }
    }

    #[test]
    fn json_with_line_breaks_is_one_line_of_an_event() {
        assert_eq!(event("{\r\n \"a\": \"\\n\"\n}\n"), "data: {   \"a\": \"\\n\" }\n\n");
    }

    #[test]
    fn a_block_over_the_limit_is_refused_whether_or_not_it_ends() {
        for input in ["data: 12345678", "data: 12345678\n\n", ": \n: \n: \n: \n"] {
            let mut decoder = Decoder::new(10);
            decoder.feed(input.as_bytes());
            assert_eq!(decoder.next_event().unwrap_err().code, Code::TooLarge);
        }
    }

    proptest! {
        #[test]
        fn where_the_input_is_cut_makes_no_difference(input in "(data|:|\u{feff}|a| |id|event|\r|\n|\r\n|\n\n|\r\r){0,40}", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let bytes = input.as_bytes();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&pieces), decode(&[bytes]));
        }
    }
}
