//! Commands on rules.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::arguments::{Check, Remote};

/// Commands on policies. `check`, `test` and `try` ask the tool servers for their tools, as a start would; `versions`, `rollback` and `rollforward` speak to the running gateway; the others read the store.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Check configuration and policies, as `portcullis check` does: types, misspelt names, and rules that do nothing
    Check(Check),
    /// Run the tests that stand beside the policies, as `claims.test.yaml`; 1 when one fails
    Test {
        /// The files [default: all `*.test.yaml` in the directories of the policies]
        files: Vec<PathBuf>,
        /// Do not connect to tool servers: their tools are those that the journal knows
        #[arg(long)]
        offline: bool,
    },
    /// Ask one question: may they make this call? 1 unless it is allowed
    Try(Box<Try>),
    /// Say why a recorded call was allowed or refused, and whether the policies of then say so again; 1 when they do not
    Explain {
        /// The call, as `session show` and every answer's header name it
        call: String,
    },
    /// Judge all recorded calls by other policies and say what would change
    Backtest(Backtest),
    /// List the versions of the policies that were in force, the newest last
    History,
    /// List the versions that were in force as the running gateway knows them: when, by whom, why
    Versions {
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Put the rules of an earlier version back in force, on all gateways at once; what the files say does not count until they change, or until `rollforward`
    Rollback {
        /// The version, or its first digits [default: that of the rules before]
        #[arg(value_name = "VERSION")]
        digits: Option<String>,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Put in force again what the files say, after a rollback
    Rollforward {
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Print the policies of a version as text
    Show {
        /// The version, or its first digits
        #[arg(value_name = "VERSION")]
        digits: String,
    },
}

/// A question.
#[derive(Debug, Args)]
pub struct Try {
    /// What is called, as in `tool/claims__approve_payment`
    pub capability: String,
    /// The arguments as JSON
    pub arguments: Option<String>,
    /// Who asks
    #[arg(long = "as", value_name = "PRINCIPAL", required_unless_present = "issuer", conflicts_with = "issuer")]
    pub principal: Option<String>,
    /// Who vouches for whoever asks: one of `identity.issuers`, with `--claims`, or of `identity.certificates`, with `--certificate`
    #[arg(long, value_name = "NAME")]
    pub issuer: Option<String>,
    /// What their token says, as JSON
    #[arg(long, value_name = "JSON", requires = "issuer", conflicts_with = "certificate")]
    pub claims: Option<String>,
    /// The SPIFFE id or the DNS name in their certificate
    #[arg(long, value_name = "ID", requires = "issuer")]
    pub certificate: Option<String>,
    /// What the task, or the key, is for, as in `model/* tool/claims__*` [default: everything]
    #[arg(long)]
    pub scope: Option<String>,
    /// An agent that asks for them; again for one that asks through it
    #[arg(long, value_name = "PRINCIPAL")]
    pub through: Vec<String>,
    /// The name of the session
    #[arg(long, default_value = "try")]
    pub session: String,
    /// How many calls the session has made
    #[arg(long, default_value_t = 0)]
    pub calls: u64,
    /// How many calls were refused in it
    #[arg(long, default_value_t = 0)]
    pub refused: u64,
    /// What it is marked with
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// What the user has said in it
    #[arg(long, value_name = "TEXT")]
    pub words: Vec<String>,
    /// What it has spent, in dollars
    #[arg(long, default_value = "0")]
    pub spent: String,
    /// For how many seconds it has been open
    #[arg(long, default_value_t = 0)]
    pub age_s: u64,
    /// The time, as in `2026-11-22T09:30:00Z` [default: now]
    #[arg(long)]
    pub at: Option<String>,
    /// The language that it comes in by: `openai`, `mcp`, `a2a` or `http`
    #[arg(long, default_value = "mcp")]
    pub door: String,
    /// It stands in a model's answer
    #[arg(long)]
    pub in_answer: bool,
    /// Do not connect to tool servers: their tools are those that the journal knows
    #[arg(long)]
    pub offline: bool,
}

/// Flags of `policy backtest`.
#[derive(Debug, Args)]
pub struct Backtest {
    /// The policies to judge by
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub policies: Vec<PathBuf>,
    /// Only this stream, as `session/owner:name`
    #[arg(long)]
    pub stream: Option<String>,
    /// End with 1 when anything would change
    #[arg(long)]
    pub strict: bool,
}
