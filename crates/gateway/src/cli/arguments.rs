//! The commands, their flags, and the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

mod approval;
mod identity;
mod policy;

pub use approval::Approval;
pub use identity::{Identity, Key, Signing};
pub use policy::{Backtest, Policy, Try};

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
    /// A PEM file with the authorities that the gateway's certificate may be from [default: those of the web; for the gateway of the configuration, its certificate itself]
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// A PEM file with a certificate to come with and its key; then no key is sent unless `--key-file` names one
    #[arg(long, value_name = "FILE", env = "PORTCULLIS_CERTIFICATE_FILE")]
    pub certificate_file: Option<PathBuf>,
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
