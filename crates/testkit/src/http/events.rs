//! Server-sent events, as the HTML standard defines them (section 9.2), without ids and reconnection.

/// More bytes than one line of an answer has.
const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// One event; events without data are not events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its `event:` field.
    pub name: Option<String>,
    /// Its `data:` lines, joined with line feeds.
    pub data: String,
}

/// Turns bytes, however they were cut, into events.
#[derive(Debug, Default)]
pub struct EventReader {
    line: Vec<u8>,
    name: Option<String>,
    data: Vec<String>,
}

impl EventReader {
    /// Takes the next bytes and returns the events that they complete.
    ///
    /// # Errors
    ///
    /// A sentence when a line is longer than any line should be.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.line.clear();
            events.extend(self.read(line.trim_end_matches('\r')));
        }
        if self.line.len() > MAX_LINE_BYTES {
            return Err(format!("read an event: a line has more than {MAX_LINE_BYTES} bytes"));
        }
        Ok(events)
    }

    fn read(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let (name, data) = (self.name.take(), std::mem::take(&mut self.data));
            let data = data.join("\n");
            return (!data.is_empty()).then_some(Event { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = Some(value.to_owned()),
            "data" => self.data.push(value.to_owned()),
            // A comment (its field is empty), `id`, `retry`, or what the standard says to ignore.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let text = ": hello\n\nevent: message\r\ndata: {\"a\":1}\r\n\r\nid: 7\ndata:\n\ndata:one\ndata:  two\nretry: 5\n\nevent: x\n\ndata: cut";
        let event = |name: Option<&str>, data: &str| Event { name: name.map(str::to_owned), data: data.to_owned() };
        let expected = [event(Some("message"), "{\"a\":1}"), event(None, "one\n two")];
        for size in [1, 2, 7, text.len()] {
            let mut reader = EventReader::default();
            let read = text.as_bytes().chunks(size).flat_map(|part| reader.push(part).unwrap());
            assert_eq!(read.collect::<Vec<_>>(), expected, "in parts of {size}");
        }
    }
}
