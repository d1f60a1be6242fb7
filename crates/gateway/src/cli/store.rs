//! `portcullis store migrate|copy`: what is done to a store while no gateway runs on it.

use std::path::PathBuf;

use crate::assemble::ADMIN_KEY_FILE;
use crate::cli::api::data_directory;
use crate::cli::arguments::{Common, Store};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::read;
use crate::journal::StoreFault;
use crate::journal::copy::{Copied, Site, copy};
use crate::journal::migrate::{Migrated, migrate};
use crate::journal::postgres::address::Address;
use crate::journal::table;

pub(super) fn run(common: &Common, command: Store) -> Result<(), Exit> {
    match command {
        Store::Migrate { store } => {
            let site = site(common, store.as_deref(), None)?;
            tell_migrated(common, migrate(&site.store, &site.directory).map_err(explain)?);
            Ok(())
        }
        Store::Copy { from, to, directory } => {
            let sites = (site(common, from.as_deref(), directory.clone())?, site(common, to.as_deref(), directory)?);
            tell_copied(common, &copy(&sites.0, &sites.1, &[ADMIN_KEY_FILE]).map_err(explain)?);
            Ok(())
        }
    }
}

/// What must not be used, or is broken, is an answer to what was asked; everything else went wrong on the way.
fn explain(fault: StoreFault) -> Exit {
    match fault {
        StoreFault::Unusable(_) | StoreFault::Damaged(_) => Exit::negative(fault.to_string()),
        StoreFault::Failed(_) | StoreFault::Closed | StoreFault::Busy | StoreFault::Away(_) => fault.into(),
    }
}

/// The store that was named, or the one of the configuration.
fn site(common: &Common, named: Option<&str>, directory: Option<PathBuf>) -> Result<Site, Exit> {
    let configured = || read::find(&common.config).map_err(|problem| Exit::config(problem.to_string()));
    let Some(named) = named else {
        let place = configured()?;
        let directory = directory.filter(|_| matches!(place.journal.store, table::Store::Postgres(_)));
        let directory = directory.unwrap_or_else(|| data_directory(&place));
        return Ok(Site { store: place.journal.store, directory });
    };
    if Address::is_meant(named) {
        let address = Address::parse(named).map_err(Exit::negative)?;
        let directory = match directory {
            Some(directory) => directory,
            None => data_directory(&configured()?),
        };
        return Ok(Site { store: table::Store::Postgres(Box::new(address)), directory });
    }
    let directory = PathBuf::from(named.strip_prefix("sqlite:").unwrap_or(named));
    Ok(Site { store: table::Store::Sqlite(directory.clone()), directory })
}

fn tell_migrated(common: &Common, migrated: Migrated) {
    if common.json {
        return print::json(&serde_json::to_value(migrated).unwrap_or_default());
    }
    print::line(&match (migrated.from, migrated.to) {
        (_, None) => "there is no journal yet; the first start of a gateway makes it".to_owned(),
        (None, Some(to)) => format!("the tables were made, in version {to}"),
        (Some(from), Some(to)) if from == to => format!("the tables have version {to} already; nothing was done"),
        (Some(from), Some(to)) => format!("the tables were brought from version {from} to version {to}"),
    });
}

fn tell_copied(common: &Common, copied: &Copied) {
    if common.json {
        return print::json(&serde_json::to_value(copied).unwrap_or_default());
    }
    let report = &copied.report;
    print::line(&format!(
        "{} entries in {} streams ({} sessions), {} bodies and {} signed checkpoints were copied",
        report.entries, report.streams, report.sessions, report.bodies, report.checkpoints
    ));
    print::line(&format!("root {}", report.root));
    if !copied.files.is_empty() {
        print::line(&format!("and the files {}", copied.files.join(", ")));
    }
    print::line("both journals are whole and the same");
}
