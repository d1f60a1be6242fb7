//! Commands on who may come in.

use clap::Subcommand;

use crate::cli::arguments::Remote;

/// Commands on identity.
#[derive(Debug, Subcommand)]
pub enum Identity {
    /// Keys
    Key {
        /// What to do.
        #[command(subcommand)]
        command: Key,
    },
    /// The keys that the gateway itself signs with
    Signing {
        /// What to do.
        #[command(subcommand)]
        command: Signing,
    },
    /// Stop somebody at once, on every gateway: a key is taken back; a principal, or the one that an agent is, may not act any more, and what is under way for them is cancelled
    Disable {
        /// A principal, an agent or a key's id
        name: String,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Let a principal or an agent act again
    Enable {
        /// The principal or the agent
        name: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// List those who are disabled
    Disabled {
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Commands on the keys that the gateway itself signs with.
#[derive(Debug, Subcommand)]
pub enum Signing {
    /// Sign with another key from now on; what the one before has signed counts until it runs out, and what the one before that has signed does not
    Rotate {
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
}

/// Commands on keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Issue a key for a principal of the configuration; it is shown this once
    Create {
        /// The principal
        principal: String,
        /// How many days it is valid [default: until it is revoked]
        #[arg(long)]
        days: Option<u64>,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// List keys, without their secrets
    List {
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a key back; it opens nothing from then on
    Revoke {
        /// The key's id
        id: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
}
