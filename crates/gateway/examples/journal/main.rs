//! The journal by itself, without a gateway around it: what a fault does to it, and what it costs.
//!
//! `write` makes entries and notes in a file outside of the data directory what was acknowledged; `check` says whether all of that is there and whether the whole
//! store is sound. A harness that fails system calls or kills the process in between finds out what the store survives. `speed`, `fill`, `start` and `read` measure.

#![expect(clippy::print_stdout, reason = "this is a tool for a terminal")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "it ends at the first surprise, and says which")]

mod check;
mod speed;
mod work;
mod write;

use std::path::Path;
use std::process::ExitCode;

use mimalloc::MiMalloc;
use portcullis::journal::bookmark::Pace;

/// The allocator of the gateway, so that figures are its figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "journal write DATA ACKNOWLEDGED COUNT   make entries, note what was acknowledged
journal check DATA ACKNOWLEDGED         whether all that was acknowledged is there, and the store is sound
journal speed DATA RECORDS [BATCH]      processor time for each durable record, by batch size
journal cluster DATA RECORDS            the same on PostgreSQL, with the time of a batch
journal fill DATA ENTRIES CALLS [never] make so many entries, with so many calls in a session; without bookmarks on the way and at the end
journal start DATA                      how long a start takes, from a bookmark if there is one
journal read DATA                       how long a verification and a reading of all takes";

/// No bookmark is ever made.
const NEVER: Pace = Pace { every: u64::MAX, worth: u64::MAX };

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
        ["fill", data, entries, calls] => {
            speed::fill(Path::new(data), entries.parse().unwrap(), calls.parse().unwrap(), Pace::USUAL)
        }
        ["fill", data, entries, calls, "never"] => {
            speed::fill(Path::new(data), entries.parse().unwrap(), calls.parse().unwrap(), NEVER)
        }
        ["start", data] => speed::start(Path::new(data)),
        ["read", data] => speed::read(Path::new(data)),
        _ => Err(USAGE.to_owned()),
    };
    if let Err(problem) = outcome {
        println!("{problem}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
