//! The commands, their flags, and the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// What stands below every help.
const AFTER: &str = "\
Exit codes: 0 done; 1 what was asked is not so (a problem, a refusal, a broken record); 2 wrong usage; 69 the gateway can't be reached;
70 a fault of the gateway; 74 reading or writing failed; 78 the configuration is wrong.

Try `portcullis demo` first: it plays a whole story on real processes and needs no configuration.";

/// An agent gateway: what agents may do, what it costs, and the record of it, outside of the agent.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = AFTER, propagate_version = true)]
pub struct Arguments {
    /// What all commands have in common.
    #[command(flatten)]
    pub common: Common,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands have in common.
#[derive(Debug, Args)]
pub struct Common {
    /// The configuration file
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        default_value = "portcullis.yaml",
        env = "PORTCULLIS_CONFIG"
    )]
    pub config: PathBuf,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// Where a running gateway is, and with which key it is asked.
#[derive(Debug, Args)]
pub struct Remote {
    /// The gateway's URL [default: where the configuration says that it listens]
    #[arg(long, value_name = "URL", env = "PORTCULLIS_URL")]
    pub url: Option<String>,
    /// A file with the key [default: the administrator's, in the data directory]
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway in the foreground; SIGHUP reloads, SIGTERM drains and stops
    Up(Up),
    /// Play the claims adjuster's story on real processes and explain every step
    Demo(Demo),
    /// Check configuration and policies, and say what is wrong with file, line and a suggestion
    Check(Check),
    /// Look at sessions of a running gateway, freeze them and let them go on
    Session {
        /// What to do.
        #[command(subcommand)]
        command: Session,
    },
    /// Look at the record, beside a running gateway or without one
    Journal {
        /// What to do.
        #[command(subcommand)]
        command: Journal,
    },
    /// Check, test and try policies, explain what they have decided, and judge recorded calls by others
    Policy {
        /// What to do.
        #[command(subcommand)]
        command: Policy,
    },
    /// Bring a store's tables forward, or copy its whole journal into another store
    Store {
        /// What to do.
        #[command(subcommand)]
        command: Store,
    },
    /// Answer what rules ask of people before an agent may act
    Approval {
        /// What to do.
        #[command(subcommand)]
        command: Approval,
    },
    /// Issue keys and take them back; rotate those that the gateway signs with; stop somebody at once
    Identity {
        /// What to do.
        #[command(subcommand)]
        command: Identity,
    },
    /// Print completions for a shell, as in `portcullis completions bash > /etc/bash_completion.d/portcullis`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Run a program so that it ends with its input, children included
    #[command(hide = true)]
    Guard {
        /// The program and its arguments
        #[arg(last = true, required = true)]
        argv: Vec<String>,
    },
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// What to log, as in `info,portcullis=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "PORTCULLIS_LOG")]
    pub log: String,
    /// Log in JSON
    #[arg(long)]
    pub log_json: bool,
}

/// Flags of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave everything running at the end and say what to try next
    #[arg(long)]
    pub keep: bool,
    /// Where to put the demo's files [default: a new temporary directory]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// One of the demo's own processes
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// The demo's own processes.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// One of the processes that the demo starts
    #[command(hide = true, subcommand)]
    Part(PartName),
}

/// Which one.
#[derive(Debug, Subcommand)]
pub enum PartName {
    /// The scripted model, an OpenAI-compatible API
    Model {
        /// The port to listen on
        #[arg(long)]
        port: u16,
        /// A file with the key that it asks for [default: it asks for none]
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// The claims server, MCP on standard input and output
    Claims {
        /// Where payments are written down
        #[arg(long, value_name = "FILE")]
        payments: PathBuf,
    },
    /// The agent, which continues where its session stands
    Agent(AgentPart),
    /// The agent as a service, one of the replicas that the gateway knows
    Replica(ReplicaPart),
    /// Any program, which is killed when the demo that started it has ended in any way
    Bound {
        /// The program and its arguments
        #[arg(last = true, required = true)]
        argv: Vec<String>,
    },
}

/// Flags of `demo part agent`.
#[derive(Debug, Args)]
pub struct AgentPart {
    /// The gateway
    #[arg(long)]
    pub url: String,
    /// The file with the agent's key
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// The session
    #[arg(long)]
    pub session: String,
    /// What the user says [default: nothing; what was begun is finished]
    #[arg(long)]
    pub say: Option<String>,
    /// Stop for good before this tool is called, so that the agent can be killed there
    #[arg(long, value_name = "TOOL")]
    pub hold_before: Option<String>,
    /// How long to rest after each step, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub pause_ms: u64,
}

/// Flags of `demo part replica`.
#[derive(Debug, Args)]
pub struct ReplicaPart {
    /// The port to listen on
    #[arg(long)]
    pub port: u16,
    /// The gateway
    #[arg(long)]
    pub url: String,
    /// The file with the agent's key
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Do not connect to tool servers; what they offer is then not known
    #[arg(long)]
    pub offline: bool,
    /// Print the Cedar schema that policies are checked against
    #[arg(long, conflicts_with = "config_schema")]
    pub policy_schema: bool,
    /// Print the JSON Schema of the configuration file
    #[arg(long)]
    pub config_schema: bool,
}

/// Commands on sessions.
#[derive(Debug, Subcommand)]
pub enum Session {
    /// List sessions
    List {
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Say what became of a call whose outcome is unknown, so that it may be answered or made again
    Resolve {
        /// `owner:name`, or a name of one's own
        id: String,
        /// The call, as `session show` lists it
        call: String,
        /// Whether it took effect
        #[arg(value_enum)]
        outcome: Resolution,
        /// A file with the result of `tools/call` that the caller is to get
        #[arg(long)]
        result: Option<PathBuf>,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Freeze a session: it takes no calls until an administrator lets it go on, and those under way are cancelled
    Freeze {
        /// `owner:name`, or a name of one's own
        id: String,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Note what the user has said, for rules that look at where arguments come from
    Say {
        /// A session of one's own
        id: String,
        /// What was said
        words: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Lift a label of a session: somebody has looked at what came into it
    Lift {
        /// `owner:name`, or a name of one's own
        id: String,
        /// The label
        label: String,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Let a frozen session go on
    Unfreeze {
        /// `owner:name`, or a name of one's own
        id: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one session: its state, its account and its conversation
    Show {
        /// `owner:name`, or a name of one's own
        id: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
}

/// What a person has found out about a call.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Resolution {
    /// It took effect
    Completed,
    /// It had no effect, and may be made again
    Failed,
}

/// Commands on the record.
#[derive(Debug, Subcommand)]
pub enum Journal {
    /// Check every chain, every signature and every body, offline
    Verify {
        /// A signed head that was kept elsewhere, as a file or as its text: the journal must contain all that it covers
        #[arg(long, value_name = "FILE|TEXT")]
        head: Option<String>,
    },
    /// Print the newest signed head, to be kept where nobody who can write the journal can reach it
    Head,
    /// Show entries in the order in which they were written
    Show {
        /// Only this stream: `control`, or `session/owner:name`
        #[arg(long)]
        stream: Option<String>,
        /// Begin after this position
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// The most entries
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Show bodies as well: prompts, arguments and results
        #[arg(long)]
        bodies: bool,
    },
}

/// Commands on policies. All but `explain`, `backtest`, `history` and `show` ask the tool servers for their tools, as a start would.
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
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub principal: String,
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

/// Commands on stores.
#[derive(Debug, Subcommand)]
pub enum Store {
    /// Bring the tables to the version of this gateway, and say which one they had
    Migrate {
        /// A data directory, or the URL of a database [default: the store that the configuration names]
        #[arg(long, value_name = "DIR|URL")]
        store: Option<String>,
    },
    /// Copy a whole journal into an empty store, with its secrets, and verify both; no gateway may run on either
    Copy {
        /// What to copy: a data directory, or the URL of a database [default: the store that the configuration names]
        #[arg(long, value_name = "DIR|URL", required_unless_present = "to")]
        from: Option<String>,
        /// Where to, likewise
        #[arg(long, value_name = "DIR|URL")]
        to: Option<String>,
        /// The data directory beside a database that was given as a URL [default: the one that the configuration names]
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

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
