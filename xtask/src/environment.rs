//! What surrounds a chore: the checkout, the folder for everything built, and whether a person is watching.

use std::path::PathBuf;

/// Read once at the start and handed on, so that a chore can be understood from its arguments.
pub(crate) struct Environment {
    /// The folder with the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, absolute. Tools and client libraries lie in it too, so that they survive the checkout where
    /// the target folder does.
    pub(crate) target: PathBuf,
    /// The cargo that runs us, so that `cargo +nightly xtask` stays on one toolchain.
    pub(crate) cargo: String,
    /// Nobody is watching: a missing tool is a failure, the lock file may not change.
    pub(crate) ci: bool,
    /// What the person said about colours, for the programs we start too: their output is a pipe even on a terminal.
    pub(crate) color: Option<String>,
}

impl Environment {
    pub(crate) fn read() -> Self {
        // `cargo run` sets the manifest folder anew for every run; what was compiled in could be another checkout's.
        let package = variable("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = PathBuf::from(package).parent().map_or_else(PathBuf::new, PathBuf::from);
        let target = root.join(variable("CARGO_TARGET_DIR").unwrap_or_else(|| "target".to_owned()));
        Self {
            root,
            target,
            cargo: variable("CARGO").unwrap_or_else(|| "cargo".to_owned()),
            ci: variable("CI").is_some_and(|value| value != "false"),
            color: variable("CARGO_TERM_COLOR"),
        }
    }

    /// Where client libraries are installed: `mcp1`, `mcp2`, … (Python environments), `ts` and `servers` (with `node_modules`).
    pub(crate) fn clients(&self) -> PathBuf {
        self.target.join("clients")
    }

    /// Where cargo tools are installed that the machine does not have.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
