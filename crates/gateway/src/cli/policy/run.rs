//! From the command to its file.

use crate::cli::arguments::{Common, Policy};
use crate::cli::check;
use crate::cli::exit::Exit;
use crate::cli::policy::{backtest, explain, history, roll, tests_file, try_one};

pub(in crate::cli) async fn run(common: &Common, command: Policy) -> Result<(), Exit> {
    match command {
        Policy::Check(flags) => check::run(common, &flags).await,
        Policy::Test { files, offline } => tests_file::run(common, &files, offline).await,
        Policy::Try(flags) => try_one::run(common, &flags).await,
        // They block on the store, of whatever kind.
        Policy::Explain { call } => tokio::task::block_in_place(|| explain::run(common, &call)),
        Policy::Backtest(flags) => tokio::task::block_in_place(|| backtest::run(common, &flags)),
        Policy::History => tokio::task::block_in_place(|| history::list(common)),
        Policy::Versions { remote } => roll::versions(common, &remote).await,
        Policy::Rollback { digits, reason, remote } => roll::back(common, &remote, digits.as_deref(), &reason).await,
        Policy::Rollforward { reason, remote } => roll::forward(common, &remote, &reason).await,
        Policy::Show { digits } => tokio::task::block_in_place(|| history::show(common, &digits)),
    }
}
