//! Copying a whole journal from one store into another: entries, bodies, checkpoints and the secrets that it was written with, byte for byte.
//!
//! Nothing half is ever there. A database gets everything in one transaction, a directory in a file that gets its name at the end; and before that the copy is read
//! back and must be a whole journal, with the same root, the same heads of its streams and the same world. So a copy that was killed is simply made again.
//!
//! The source is locked while it is read. Calls that were in flight when its gateway ended are its gateway's to settle: who counts them as lost depends on the
//! kind of the store, so they may not be carried from one kind to another.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::journal::audit::{Audit, Report};
use crate::journal::fault::StoreFault;
use crate::journal::files::{DataDirectory, SIGNER_FILE, VAULT_FILE};
use crate::journal::page::{Page, StreamRow};
use crate::journal::postgres::copy as database;
use crate::journal::sqlite::copy as embedded;
use crate::journal::table::Store;
use crate::journal::vault::Vault;
use crate::journal::verify;

/// A store, and the directory with its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What kind it is, and where.
    pub store: Store,
    /// The data directory; the embedded store lies in it.
    pub directory: PathBuf,
}

/// What was copied.
#[derive(Debug, Serialize)]
pub struct Copied {
    /// What was found when the copy was read back, which is what was found in the source.
    pub report: Report,
    /// The files with secrets that were copied too.
    pub files: Vec<String>,
}

/// Copies the journal of `from` into `to`, where none may be yet, with its secrets and with those of the files `more` that are there. It blocks.
///
/// # Errors
///
/// Why there is no copy; [`StoreFault::Unusable`] when there may be none. Then there is no part of one either.
pub fn copy(from: &Site, to: &Site, more: &[&str]) -> Result<Copied, StoreFault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StoreFault::Unusable(format!("can't start: {error}")))?;
    runtime.block_on(async {
        let (source, secrets) = Source::open(from).await?;
        // With a database on one side at least, both may use one directory.
        let is_same = is_same_directory(&from.directory, &to.directory);
        if is_same && matches!((&from.store, &to.store), (Store::Sqlite(_), Store::Sqlite(_))) {
            return Err(StoreFault::Unusable("that is the same store".to_owned()));
        }
        let directory = if is_same { secrets } else { DataDirectory::open(&to.directory)? };
        let mut target = Target::begin(to).await?;
        let origin = DataDirectory::look(&from.directory);
        let mut read = audit(&origin)?;
        transfer(&source, &mut target, &mut read).await?;
        let files = if is_same { Vec::new() } else { carry_secrets(&origin, &directory, more)? };
        let mut written = audit(&directory)?;
        target.finish(&directory, &read, &mut written).await?;
        let report = compare(read, written)?;
        target.commit().await?;
        Ok(Copied { report, files })
    })
}

fn is_same_directory(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        (_, _) => false,
    }
}

fn audit(directory: &DataDirectory) -> Result<Audit, StoreFault> {
    let vault = Vault::new(&directory.secret(VAULT_FILE)?);
    Ok(Audit::new(directory.signer()?.verifier(), Ok(vault)))
}

async fn transfer(source: &Source, target: &mut Target, audit: &mut Audit) -> Result<(), StoreFault> {
    let streams = source.streams().await?;
    for (number, name, salt) in &streams {
        audit.stream(*number, name, *salt);
    }
    target.add_streams(&streams).await?;
    let mut after = Some(0);
    while let Some(position) = after {
        let page = source.page(position).await?;
        after = page.last;
        page.clone().check(audit);
        target.add(page).await?;
    }
    // Those of a gateway that nobody knows any more would never end.
    let open = audit.world().open_calls.len() + audit.world().requests.all_open().count();
    if open > 0 {
        return Err(StoreFault::Unusable(format!(
            "{open} call(s) were in flight when the gateway of the source ended: start it once more and stop it, so that they are settled"
        )));
    }
    Ok(())
}

fn compare(read: Audit, written: Audit) -> Result<Report, StoreFault> {
    let is_same = read.is_same(&written);
    let (read, written) = (read.finish(), written.finish());
    for (which, report) in [("the source", &read), ("the copy", &written)] {
        if let Some(problem) = report.problems.first() {
            return Err(StoreFault::Damaged(format!("{which} is broken, so nothing was copied: {problem}")));
        }
    }
    if !is_same || read != written {
        let message = "the copy is another journal than the source, so it was not kept";
        return Err(StoreFault::Damaged(message.to_owned()));
    }
    Ok(written)
}

/// Secrets that lie there already must be the same: with others the journal could not be read.
fn carry_secrets(from: &DataDirectory, to: &DataDirectory, more: &[&str]) -> Result<Vec<String>, StoreFault> {
    let mut carried = Vec::new();
    for name in [VAULT_FILE, SIGNER_FILE].iter().chain(more) {
        let (origin, place) = (from.file(name), to.file(name));
        if !origin.exists() && more.contains(name) {
            continue;
        }
        let read = |path: &Path| {
            let bytes = std::fs::read(path);
            bytes.map_err(|error| StoreFault::Unusable(format!("can't read `{}`: {error}", path.display())))
        };
        let secret = read(&origin)?;
        if !place.exists() {
            to.keep(name, &secret)?;
        } else if read(&place)? != secret {
            let message = format!("`{}` is there and is not the one of the source", place.display());
            return Err(StoreFault::Unusable(message));
        }
        carried.push((*name).to_owned());
    }
    Ok(carried)
}

/// What is read.
enum Source {
    Embedded(embedded::Origin),
    Database(database::Origin),
}

impl Source {
    /// Opens it so that nobody writes meanwhile, with the lock of its directory.
    async fn open(site: &Site) -> Result<(Self, DataDirectory), StoreFault> {
        match &site.store {
            Store::Sqlite(_) => {
                embedded::expect(&site.directory)?;
                let directory = DataDirectory::open(&site.directory)?;
                Ok((Self::Embedded(embedded::Origin::open(&directory)?), directory))
            }
            Store::Postgres(address) => {
                let origin = database::Origin::open(address).await?;
                Ok((Self::Database(origin), DataDirectory::open(&site.directory)?))
            }
        }
    }

    async fn streams(&self) -> Result<Vec<StreamRow>, StoreFault> {
        match self {
            Self::Embedded(origin) => origin.streams(),
            Self::Database(origin) => Ok(origin.streams().await?),
        }
    }

    async fn page(&self, after: u64) -> Result<Page, StoreFault> {
        match self {
            Self::Embedded(origin) => origin.page(after),
            Self::Database(origin) => Ok(origin.page(after).await?),
        }
    }
}

/// What is written.
enum Target {
    Embedded(embedded::Target),
    Database(database::Target),
}

impl Target {
    async fn begin(site: &Site) -> Result<Self, StoreFault> {
        match &site.store {
            Store::Sqlite(_) => Ok(Self::Embedded(embedded::Target::begin(&site.directory)?)),
            Store::Postgres(address) => Ok(Self::Database(database::Target::begin(address).await?)),
        }
    }

    async fn add_streams(&mut self, streams: &[StreamRow]) -> Result<(), StoreFault> {
        match self {
            Self::Embedded(target) => target.add_streams(streams),
            Self::Database(target) => Ok(target.add_streams(streams).await?),
        }
    }

    async fn add(&mut self, page: Page) -> Result<(), StoreFault> {
        match self {
            Self::Embedded(target) => target.add(&page),
            Self::Database(target) => Ok(target.add(page).await?),
        }
    }

    /// Writes what only the end of the source tells, and reads everything back.
    async fn finish(&mut self, directory: &DataDirectory, read: &Audit, written: &mut Audit) -> Result<(), StoreFault> {
        match self {
            Self::Embedded(target) => {
                target.finish()?;
                verify::pass(target.connection(), written)
            }
            Self::Database(target) => Ok(target.finish(directory, read, written).await?),
        }
    }

    /// From here on it is there.
    async fn commit(self) -> Result<(), StoreFault> {
        match self {
            Self::Embedded(target) => target.commit(),
            Self::Database(target) => Ok(target.commit().await?),
        }
    }
}
