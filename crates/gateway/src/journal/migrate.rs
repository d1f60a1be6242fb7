//! Bringing a store's tables to the version that is known here. A gateway does it at its start; doing it before tells whether it works.

use std::path::Path;

use serde::Serialize;

use crate::journal::fault::StoreFault;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::schema as database;
use crate::journal::sqlite::schema as embedded;
use crate::journal::table::Store;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The version that was there; none where there was no journal.
    pub from: Option<u64>,
    /// The version that is there now.
    pub to: Option<u64>,
}

/// Brings the tables of the store, whose data directory this is, forward. Tables are made in an empty database, and not in an empty directory: an embedded store
/// begins with its first start. It blocks.
///
/// # Errors
///
/// When the tables are newer than what is known here, or the store can't be reached. Then nothing has changed.
pub fn migrate(store: &Store, directory: &Path) -> Result<Migrated, StoreFault> {
    match store {
        Store::Sqlite(_) => {
            let file = directory.join(embedded::FILE);
            if !file.exists() {
                return Ok(Migrated { from: None, to: None });
            }
            // There is one version so far: it is this one, or opening refuses.
            drop(embedded::open_reader(&file)?);
            let version = u64::try_from(embedded::VERSION).ok();
            Ok(Migrated { from: version, to: version })
        }
        Store::Postgres(address) => migrate_database(address),
    }
}

fn migrate_database(address: &Address) -> Result<Migrated, StoreFault> {
    let connector = Connector::new(address.clone())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreFault::Unusable(format!("can't start: {error}")))?;
    let from = runtime.block_on(async {
        let connected = connector.connect(None).await?;
        database::lock(&connected.client).await?;
        let from = database::migrate(&connected.client).await?;
        database::unlock(&connected.client).await?;
        Ok::<_, crate::journal::postgres::trouble::Trouble>(from)
    })?;
    let number = |version: usize| u64::try_from(version).ok().filter(|version| *version > 0);
    Ok(Migrated { from: number(from), to: number(database::VERSION) })
}
