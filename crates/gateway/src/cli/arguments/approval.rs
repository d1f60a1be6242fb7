//! Commands on what rules ask of people.

use clap::Subcommand;

use crate::cli::arguments::Remote;

/// Commands on approvals.
#[derive(Debug, Subcommand)]
pub enum Approval {
    /// List what waits for an answer of the key's owner
    List {
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one: who asks through whom, for which call with which arguments, and why
    Show {
        /// The approval
        id: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Say yes: exactly this call may be made once
    Approve {
        /// The approval
        id: String,
        /// Why, for the record
        #[arg(long)]
        comment: Option<String>,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Say no
    Deny {
        /// The approval
        id: String,
        /// Why, which the agent reads
        #[arg(long)]
        comment: Option<String>,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
}
