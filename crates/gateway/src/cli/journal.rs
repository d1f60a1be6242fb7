//! `portcullis journal verify|head|show`: they read the store itself, so that nobody has to believe a running gateway.

use std::path::Path;

use portcullis_domain::event::Event;
use portcullis_domain::journal::{Entry, StreamId};
use serde_json::{Value, json};

use crate::cli::api::{data_directory, text};
use crate::cli::arguments::{Common, Journal};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::read;
use crate::journal::Report;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::outside::{self, Outside};
use crate::journal::show::{Entries, Reader, Selection, Source};
use crate::journal::table::Store;
use crate::journal::verify_against;

/// The journal of the configuration, for reading.
pub(super) fn open(common: &Common) -> Result<Box<dyn Source>, Exit> {
    let place = read::find(&common.config).map_err(|problem| Exit::config(problem.to_string()))?;
    let directory = data_directory(&place);
    match &place.journal.store {
        Store::Sqlite(_) => source(None, &directory),
        Store::Postgres(address) => source(Some(address), &directory),
    }
}

pub(super) fn run(common: &Common, command: Journal) -> Result<(), Exit> {
    let place = read::find(&common.config).map_err(|problem| Exit::config(problem.to_string()))?;
    let directory = data_directory(&place);
    let database = match &place.journal.store {
        Store::Sqlite(_) => None,
        Store::Postgres(address) => Some(address.as_ref()),
    };
    match command {
        Journal::Verify { head } => {
            let head = head.as_deref().map(read_head).transpose()?;
            let report = match database {
                Some(address) => outside::verify(address, &directory, head.as_deref())?,
                None => verify_against(&directory, head.as_deref())?,
            };
            check(common, &report)
        }
        Journal::Head => print_head(common, source(database, &directory)?.as_ref()),
        Journal::Show { stream, after, limit, bodies } => {
            let stream: Option<StreamId> = stream.map(|stream| stream.parse()).transpose().map_err(Exit::negative)?;
            let wanted = Selection { stream, from: after.saturating_add(1), limit };
            show(common, source(database, &directory)?.as_ref(), wanted, bodies)
        }
    }
}

/// The note in a file, or the note itself. A shell takes the last line break away.
fn read_head(head: &str) -> Result<String, Exit> {
    let text = if head.contains('\n') {
        head.to_owned()
    } else {
        std::fs::read_to_string(head).map_err(|error| Exit::io(format!("the head `{head}` can't be read: {error}")))?
    };
    Ok(format!("{}\n", text.trim_end()))
}

fn print_head(common: &Common, source: &dyn Source) -> Result<(), Exit> {
    let note = source.head()?.ok_or_else(|| Exit::negative("no head is signed yet"))?;
    if common.json {
        print::json(&json!({"head": note}));
    } else {
        print::line(note.trim_end());
    }
    Ok(())
}

fn source(database: Option<&Address>, directory: &Path) -> Result<Box<dyn Source>, Exit> {
    Ok(match database {
        Some(address) => Box::new(Outside::open(address, directory)?),
        None => Box::new(Reader::open(directory)?),
    })
}

fn check(common: &Common, report: &Report) -> Result<(), Exit> {
    if common.json {
        print::json(&serde_json::to_value(report).unwrap_or_default());
    } else {
        print::line(&format!(
            "{} entries in {} streams ({} sessions), {} bodies, {} signed checkpoints, {} entries not yet covered",
            report.entries, report.streams, report.sessions, report.bodies, report.checkpoints, report.unsealed
        ));
        print::line(&format!("root {}", report.root));
        print::line(&format!("verifier {}", report.verifier));
        if let Some(size) = report.head {
            print::line(&format!("the given head of {size} entries is contained"));
        }
        for note in &report.notes {
            print::line(&format!("note: {note}"));
        }
    }
    if report.problems.is_empty() {
        if !common.json {
            print::line("the journal is whole");
        }
        return Ok(());
    }
    for problem in report.problems.iter().filter(|_| !common.json) {
        print::error_line(problem);
    }
    Err(Exit::negative(format!("the journal is broken: {} problem(s)", report.problems.len())))
}

fn show(common: &Common, source: &dyn Source, wanted: Selection, with_bodies: bool) -> Result<(), Exit> {
    for stored in Entries::of(source, wanted) {
        let stored = stored?;
        let entry = Entry::<Event>::decode(&stored.bytes)
            .map_err(|problem| Exit::io(format!("entry {}: {problem}", stored.position)))?;
        let bodies = if with_bodies { bodies(source, &entry, stored.position)? } else { Vec::new() };
        if common.json {
            let value: Value = serde_json::from_slice(&stored.bytes).unwrap_or_default();
            // One entry a line, so that programs can read them as they come.
            print::line(&json!({"position": stored.position, "entry": value, "bodies": bodies}).to_string());
            continue;
        }
        print_entry(&entry, stored.position, &stored.bytes);
        for body in bodies {
            print::line(&format!("        {body}"));
        }
    }
    Ok(())
}

fn print_entry(entry: &Entry<Event>, position: u64, bytes: &[u8]) {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let data = value.pointer("/event/data").map(Value::to_string).unwrap_or_default();
    print::line(&format!("{position:>6}  {}  {}  {}  {data}", entry.at, entry.stream, text(&value, "/event/type")));
}

fn bodies(source: &dyn Source, entry: &Entry<Event>, position: u64) -> Result<Vec<String>, Exit> {
    let mut bodies = Vec::new();
    for index in 0..entry.bodies.len() {
        let body = source.body(&entry.stream, position, index)?;
        bodies.push(body.map_or_else(|| "(erased)".to_owned(), |body| String::from_utf8_lossy(&body).into_owned()));
    }
    Ok(bodies)
}
