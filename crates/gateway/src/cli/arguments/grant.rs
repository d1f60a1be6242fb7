//! `portcullis session grant …`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::cli::arguments::Remote;

/// Commands on what sessions are granted.
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Say in sentences what may be done in a session, and what was used of it
    Show {
        /// `owner:name`, or a name of one's own
        id: String,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Narrow it: from here on, calls must be within this grant too
    Narrow {
        /// `owner:name`, or a name of one's own
        id: String,
        /// A file with a grant, in YAML or JSON
        file: PathBuf,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Put this grant in the place of all that there are; what was used stays counted
    Replace {
        /// `owner:name`, or a name of one's own
        id: String,
        /// A file with a grant, in YAML or JSON
        file: PathBuf,
        /// The gateway.
        #[command(flatten)]
        remote: Remote,
    },
    /// Check a file with a grant, and say in sentences what it allows
    Check {
        /// The file, in YAML or JSON
        file: PathBuf,
    },
    /// Print the JSON Schema of such files
    Schema,
}
