//! What can be chosen on the command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::{calls::Scenario, peers::Peer};

/// Measures what a call costs through Portcullis with everything on, side by side with nginx and with no proxy at all.
#[derive(Parser, Serialize, Clone)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    #[serde(skip)]
    pub(crate) role: Option<Role>,
    /// Calls per second of the fixed-rate runs
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// Streams per second of the fixed-rate runs
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) stream_rate: u32,
    /// Length of one fixed-rate run; a peak run takes half of it
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// How often every peer has its turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) rounds: u64,
    /// How often a run that other processes disturbed is made again
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(crate) retries: u64,
    /// Keep-alive connections
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=512))]
    pub(crate) connections: u64,
    /// Gateway sessions the calls are spread over, in turn
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=9_999))]
    pub(crate) sessions: u64,
    /// Chunks with content in a stream
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) chunks: u16,
    /// Pause between the chunks of a stream; without one, what gathers while a proxy is busy is forwarded at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    pub(crate) chunk_gap_ms: u64,
    /// Only these kinds of calls
    #[arg(long, value_enum, value_delimiter = ',')]
    #[serde(skip)]
    pub(crate) only: Vec<Kind>,
    /// Only these peers
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["direct", "nginx", "hyper", "portcullis"])]
    pub(crate) peers: Vec<Peer>,
    /// Where the gateway keeps its journal: choose the kind of disk you would run it on [default: the folder for temporary files]
    #[arg(long)]
    #[serde(skip)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The gateway's store, as `postgres://…` with an empty database, whose server is not among what is measured [default: an embedded one in the data directory]
    #[arg(long)]
    #[serde(skip)]
    pub(crate) store: Option<String>,
    /// Print JSON instead of tables
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Clone)]
pub(crate) enum Role {
    /// The bare hyper proxy; started by the benchmark itself
    #[command(hide = true)]
    BareProxy { listen: SocketAddr, upstream: SocketAddr },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Chat,
    Stream,
    Mcp,
}

impl Options {
    pub(crate) fn scenarios(&self) -> impl Iterator<Item = Scenario> {
        let kind = |scenario| match scenario {
            Scenario::Chat => Kind::Chat,
            Scenario::Stream => Kind::Stream,
            Scenario::McpSession | Scenario::McpStateless => Kind::Mcp,
        };
        Scenario::ALL.into_iter().filter(move |scenario| self.only.is_empty() || self.only.contains(&kind(*scenario)))
    }

    pub(crate) fn rate_of(&self, scenario: Scenario) -> u32 {
        if scenario == Scenario::Stream { self.stream_rate } else { self.rate }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub(crate) fn chunk_gap(&self) -> Duration {
        Duration::from_millis(self.chunk_gap_ms)
    }
}
