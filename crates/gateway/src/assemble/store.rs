//! Opening the store that the configuration names.

use std::path::Path;
use std::sync::Arc;

use portcullis_domain::admission::Recover;
use portcullis_domain::ids::GatewayId;

use crate::clock::Clock;
use crate::journal::engine::OnFault;
use crate::journal::leases::{Alone, Leases};
use crate::journal::postgres::{Options, PostgresEngine};
use crate::journal::sqlite::SqliteEngine;
use crate::journal::table::Store;
use crate::journal::{Journal, StoreFault};

/// A store that is open.
#[derive(Clone)]
pub enum Opened {
    /// The embedded one.
    Sqlite(Arc<SqliteEngine>),
    /// The one that gateways share.
    Postgres(Arc<PostgresEngine>),
}

impl Opened {
    /// What callers see of it.
    #[must_use]
    pub fn journal(&self) -> Journal {
        match self {
            Self::Sqlite(engine) => Journal::new(engine.clone()),
            Self::Postgres(engine) => Journal::new(engine.clone()),
        }
    }

    /// Who gives it the leases of sessions.
    #[must_use]
    pub fn leases(&self) -> Leases {
        match self {
            Self::Sqlite(_) => Leases::new(Arc::new(Alone)),
            Self::Postgres(engine) => Leases::new(engine.clone()),
        }
    }

    /// This run of this gateway, where others may write to it too.
    #[must_use]
    pub fn gateway(&self) -> Option<GatewayId> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(engine) => Some(engine.gateway().clone()),
        }
    }

    /// Whether other gateways may write to it too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Writes what waits and ends the writer. It blocks until that is done.
    pub fn close(&self) {
        match self {
            Self::Sqlite(engine) => engine.close(),
            Self::Postgres(engine) => engine.close(),
        }
    }
}

/// Opens the store; with a database that may take its time.
pub(super) async fn open(
    store: &Store,
    directory: &Path,
    clock: Arc<dyn Clock>,
    on_fault: OnFault,
) -> Result<Opened, StoreFault> {
    let (store, directory) = (store.clone(), directory.to_owned());
    let open = move || match store {
        Store::Sqlite(_) => {
            SqliteEngine::open(&directory, clock, on_fault).map(|engine| Opened::Sqlite(Arc::new(engine)))
        }
        Store::Postgres(address) => PostgresEngine::open(&address, &directory, Options::default(), clock, on_fault)
            .map(|engine| Opened::Postgres(Arc::new(engine))),
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.unwrap_or_else(|error| Err(StoreFault::Failed(error.to_string())))
}

/// Nobody else forwards calls of an embedded store, so those that are open were in flight when it ended. Where it is shared, whoever sees a gateway's lease
/// run out settles that gateway's calls.
pub(super) async fn recover(journal: &Journal) -> Result<(), StoreFault> {
    let open = journal.execute(Recover).await?;
    if open > 0 {
        tracing::warn!(
            calls = open,
            "calls were in flight when the gateway ended; their outcome is not known and their hold is charged"
        );
    }
    Ok(())
}
