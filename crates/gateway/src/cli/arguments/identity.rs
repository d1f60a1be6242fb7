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
        /// A door that it may be shown at: openai, mcp, a2a, http or api; may be given several times [default: all]
        #[arg(long = "door")]
        doors: Vec<String>,
        /// What may be called with it, as in `model/*` or `tool/claims__list`; may be given several times [default: everything]
        #[arg(long = "capability")]
        capabilities: Vec<String>,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Make a key for the configuration, `identity.keys`, and say its digest; nothing is issued, and no gateway is asked
    Generate {
        /// A name of your own for it, without `_`
        name: String,
        /// Whose it will be
        #[arg(long, default_value = "PRINCIPAL")]
        principal: String,
    },
    /// Issue a new key in the place of another one, which ends by itself; the new one is shown this once
    Rotate {
        /// The key's id
        id: String,
        /// How long the old key is still valid, as in 30m, 12h or 7d
        #[arg(long, default_value = "1h", value_parser = seconds)]
        overlap: u64,
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

/// A time as in `90s`, `30m`, `12h` or `7d`, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = found.unwrap_or((text, 1));
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| format!("`{text}` is no time as in 30m, 12h or 7d"))
}
