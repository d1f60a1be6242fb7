//! The journal by itself, without a gateway around it: what a fault does to it, and what it costs.
//!
//! `write` makes entries and notes in a file outside of the data directory what was acknowledged; `check` says whether all of that is there and whether the whole
//! store is sound. A harness that fails system calls or kills the process in between finds out what the store survives. `speed` and `start` measure.

#![expect(clippy::print_stdout, reason = "this is a tool for a terminal")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "it ends at the first surprise, and says which")]

mod check;
mod speed;
mod work;
mod write;

use std::path::Path;
use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The allocator of the gateway, so that figures are its figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "journal write DATA ACKNOWLEDGED COUNT   make entries, note what was acknowledged
journal check DATA ACKNOWLEDGED         whether all that was acknowledged is there, and the store is sound
journal speed DATA RECORDS [BATCH]      processor time for each durable record, by batch size
journal cluster DATA RECORDS            the same on PostgreSQL, with the time of a batch
journal start DATA ENTRIES              how long a start, a verification and a reading of so many entries takes";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["write", data, acknowledged, count] => {
            write::write(Path::new(data), Path::new(acknowledged), count.parse().unwrap())
        }
        ["check", data, acknowledged] => check::check(Path::new(data), Path::new(acknowledged)),
        ["speed", data, records] => speed::speed(Path::new(data), records.parse().unwrap(), &[1, 8, 32, 128]),
        ["speed", data, records, batch] => {
            speed::speed(Path::new(data), records.parse().unwrap(), &[batch.parse().unwrap()])
        }
        ["cluster", data, records] => speed::cluster(Path::new(data), records.parse().unwrap(), &[1, 8, 32, 128]),
        ["start", data, entries] => speed::start(Path::new(data), entries.parse().unwrap()),
        _ => Err(USAGE.to_owned()),
    };
    if let Err(problem) = outcome {
        println!("{problem}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
