//! What a sample server was sent, kept for tests to look at: shown at `/__requests`, and appended to a file where one is named.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::request::Parts;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// The path under which a sample server shows its record (`GET`) or forgets it (`DELETE`).
pub(crate) const PATH: &str = "/__requests";

/// How many bodies of requests are kept together, in bytes; beyond it the oldest requests are forgotten.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;
/// How many requests are kept, however small they are.
const MAX_KEPT_REQUESTS: usize = 20_000;

/// The requests of one server.
pub(crate) struct Record {
    /// Locked for as long as it takes to add, change or write out entries, never across a wait.
    kept: Mutex<Kept>,
    file: Option<PathBuf>,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
    forgotten: u64,
    last_number: u64,
}

#[derive(Serialize)]
struct Entry {
    number: u64,
    method: String,
    /// With the query.
    path: String,
    /// Values of a header that came several times are joined with `, `.
    headers: BTreeMap<String, String>,
    /// As it came where it is JSON, else as a string.
    body: Box<RawValue>,
    outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// It has not ended.
    Pending,
    /// The whole answer was handed out.
    Answered,
    /// The client went away before, or the answer was broken off on purpose.
    Dropped,
}

impl Record {
    pub(crate) fn new(file: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), file })
    }

    /// Adds a request. It counts as dropped unless [`Arrived::answered`] is called.
    pub(crate) fn arrived(self: &Arc<Self>, parts: &Parts, body: &[u8]) -> Result<Arrived, String> {
        let mut kept = self.kept();
        kept.last_number += 1;
        let number = kept.last_number;
        let entry = Entry {
            number,
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string),
            headers: headers(parts),
            body: raw(body)?,
            outcome: Outcome::Pending,
        };
        if let Some(file) = &self.file {
            let line = serde_json::to_string(&entry).map_err(|error| format!("write the record: {error}"))?;
            let file = std::fs::File::options().append(true).create(true).open(file);
            let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
            written.map_err(|error| format!("append to the record: {error}"))?;
        }
        kept.add(entry);
        Ok(Arrived { record: Arc::clone(self), number, outcome: Outcome::Dropped })
    }

    /// All that is kept, as `{"requests":[…],"forgotten":n}`.
    pub(crate) fn shown(&self) -> String {
        #[derive(Serialize)]
        struct Shown<'a> {
            requests: &'a VecDeque<Entry>,
            forgotten: u64,
        }
        let kept = self.kept();
        serde_json::to_string(&Shown { requests: &kept.entries, forgotten: kept.forgotten }).unwrap_or_default()
    }

    /// Forgets all requests; numbers go on.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept();
        *kept = Kept { last_number: kept.last_number, ..Kept::default() };
    }

    /// A panic elsewhere leaves at worst one entry without its outcome.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, entry: Entry) {
        self.bytes += entry.body.get().len();
        self.entries.push_back(entry);
        while self.bytes > MAX_KEPT_BYTES || self.entries.len() > MAX_KEPT_REQUESTS {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.bytes -= oldest.body.get().len();
            self.forgotten += 1;
        }
    }
}

/// A request that is being answered.
pub(crate) struct Arrived {
    record: Arc<Record>,
    number: u64,
    outcome: Outcome,
}

impl Arrived {
    /// The whole answer was handed out.
    pub(crate) fn answered(mut self) {
        self.outcome = Outcome::Answered;
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let mut kept = self.record.kept();
        let entry = kept.entries.iter_mut().rev().find(|entry| entry.number == self.number);
        entry.into_iter().for_each(|entry| entry.outcome = self.outcome);
    }
}

fn headers(parts: &Parts) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let entry = headers.entry(name.to_string());
        entry.and_modify(|known| *known = format!("{known}, {value}")).or_insert_with(|| value.into_owned());
    }
    headers
}

fn raw(body: &[u8]) -> Result<Box<RawValue>, String> {
    serde_json::from_slice(body)
        .or_else(|_| to_raw_value(&String::from_utf8_lossy(body)))
        .map_err(|error| format!("keep a body: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        let request = http::Request::post("/v1/x?y=1").header("a", "1").header("a", "2").body(()).unwrap();
        request.into_parts().0
    }

    #[test]
    fn a_request_is_shown_as_it_came_and_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("record");
        let record = Record::new(Some(file.clone()));
        record.arrived(&parts(), b"{ \"n\": 1.50 }").unwrap().answered();
        drop(record.arrived(&parts(), b"no json").unwrap());
        let pending = record.arrived(&parts(), b"").unwrap();
        let one = |number: u64, body: &str, outcome: &str| {
            format!(
                r#"{{"number":{number},"method":"POST","path":"/v1/x?y=1","headers":{{"a":"1, 2"}},"body":{body},"outcome":"{outcome}"}}"#
            )
        };
        let expected =
            [one(1, "{ \"n\": 1.50 }", "answered"), one(2, "\"no json\"", "dropped"), one(3, "\"\"", "pending")];
        assert_eq!(record.shown(), format!("{{\"requests\":[{}],\"forgotten\":0}}", expected.join(",")));
        drop(pending);
        assert_eq!(crate::effects::lines(&file).unwrap().len(), 3);
        record.forget();
        assert_eq!(record.shown(), r#"{"requests":[],"forgotten":0}"#);
    }

    #[test]
    fn the_oldest_requests_are_forgotten_first() {
        let record = Record::new(None);
        for _ in 0..MAX_KEPT_REQUESTS + 5 {
            record.arrived(&parts(), b"1").unwrap().answered();
        }
        let body = format!("\"{}\"", "x".repeat(MAX_KEPT_BYTES / 2));
        for _ in 0..3 {
            record.arrived(&parts(), body.as_bytes()).unwrap().answered();
        }
        let kept = record.kept();
        assert_eq!(kept.entries.len(), 1);
        assert!(kept.bytes <= MAX_KEPT_BYTES);
        assert_eq!(kept.forgotten + 1, kept.last_number);
    }
}
