//! Measures what a call costs through Portcullis with everything on, side by side in one run with nginx, with a bare
//! hyper proxy and with no proxy at all. `README.md` says what the numbers mean.
//!
//! Start reading in `rounds.rs` (the order of the runs) and `load.rs` (how a run is made).
#![expect(clippy::print_stdout, reason = "the report is this program's output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock and sleeps until a call is due")]

mod calls;
mod child;
mod cpu;
mod failure;
mod figures;
mod goals;
mod histogram;
mod load;
mod machine;
mod options;
mod peers;
mod report;
mod rounds;
mod upstream;
mod wire;

use std::{fs, future::pending, path::Path, process::ExitCode};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    failure::Result,
    machine::{Durability, Machine},
    options::{Options, Role},
    peers::{Lane, Site},
    report::Report,
    rounds::Bench,
    upstream::Upstream,
};

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.role {
        Some(Role::BareProxy { listen, upstream }) => peers::serve_bare(listen, upstream),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<()> {
    let parent = options.data_dir.clone().unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&parent)?;
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir_in(parent)?;
    let machine = Machine::look();
    if let Err(error) = machine.pin_load() {
        eprintln!("load and proxies may share a core: {error}");
    }
    let durability = Durability::measure(folder.path())?;
    // Threads inherit where they may run, so nothing starts before the line above.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        tokio::select! {
            report = run(options, machine, durability, folder.path()) => report,
            () = interrupted() => Err("interrupted".into()),
        }
    })?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}

async fn run(options: &Options, machine: Machine, durability: Durability, folder: &Path) -> Result<Report> {
    let upstream = Upstream::start(usize::from(options.chunks), options.chunk_gap())?;
    let site =
        Site { upstream: upstream.address, cores: &machine.proxy_cores, store: options.store.as_deref(), folder };
    let mut lanes = Vec::new();
    for peer in &options.peers {
        match Lane::start(*peer, &site).await {
            Ok(lane) => lanes.push(lane),
            Err(error) => eprintln!("without {}: {error}", peer.name()),
        }
    }
    let bench = Bench { options, upstream: &upstream, lanes: &lanes };
    let mut results = Vec::new();
    for scenario in options.scenarios() {
        results.push((scenario, bench.run(scenario).await?));
    }
    Ok(Report::new(machine, durability, options.clone(), &results))
}

/// Returns when somebody wants an early end, so that the proxies are stopped and the folder is removed all the same.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        _ = terminate.recv() => (),
    }
}
