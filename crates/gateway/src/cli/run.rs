//! From the arguments to the exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::arguments::{Arguments, Command};
use crate::cli::exit::Exit;
use crate::cli::{approval, check, demo, identity, journal, policy, session, store, up};

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Guard { argv } = &arguments.command {
        return crate::upstreams::tool::guard::run(argv);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::system(format!("can't start: {error}")).report(),
    };
    let outcome = runtime.block_on(dispatch(arguments));
    // Tasks that still wait, as for a connection, don't keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => exit.report(),
    }
}

async fn dispatch(arguments: Arguments) -> Result<(), Exit> {
    let common = arguments.common;
    match arguments.command {
        Command::Up(up) => up::run(&common, &up).await,
        Command::Demo(demo) => demo::run(&common, &demo).await,
        Command::Check(check) => check::run(&common, &check).await,
        Command::Session { command } => session::run(&common, command).await,
        // It blocks on the store, of whatever kind.
        Command::Journal { command } => tokio::task::spawn_blocking(move || journal::run(&common, command))
            .await
            .unwrap_or_else(|error| Err(Exit::system(error.to_string()))),
        Command::Policy { command } => policy::run(&common, command).await,
        Command::Store { command } => tokio::task::spawn_blocking(move || store::run(&common, command))
            .await
            .unwrap_or_else(|error| Err(Exit::system(error.to_string()))),
        Command::Approval { command } => approval::run(&common, command).await,
        Command::Identity { command } => identity::run(&common, command).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "portcullis", &mut std::io::stdout());
            Ok(())
        }
        Command::Guard { .. } => Ok(()),
    }
}
