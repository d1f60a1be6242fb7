//! What goes wrong between us and the database, told apart by what is to be done about it.

use std::error::Error as _;
use std::time::Duration;

use crate::journal::fault::StoreFault;

/// How long the database may take for one step of a transaction. A gateway that stands still with the lock is ended by the server before that.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// Why a transaction did not come to its end.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// The database is away, or refuses for now: the next try may work.
    Away(String),
    /// No try will work: memory, the journal or the installation is not what it must be.
    Fatal(StoreFault),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Away(describe(&error))
    }
}

impl From<StoreFault> for Trouble {
    fn from(fault: StoreFault) -> Self {
        Self::Fatal(fault)
    }
}

impl From<tokio_postgres::Error> for StoreFault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Away(describe(&error))
    }
}

impl From<Trouble> for StoreFault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away(problem) => Self::Away(problem),
            Trouble::Fatal(fault) => fault,
        }
    }
}

/// The error with all that the server said about it.
#[must_use]
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", said.message(), said.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The answer of the database, or that it takes too long.
///
/// # Errors
///
/// What the future says, or [`Trouble::Away`] after `limit`.
pub async fn within<T, E: Into<Trouble>>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(Trouble::Away(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// The fault of a database that has fewer entries than it had acknowledged.
#[must_use]
pub fn behind(there: u64, acknowledged: u64) -> StoreFault {
    StoreFault::Damaged(format!(
        "the database has {there} entries and had acknowledged {acknowledged}: it was replaced by an older copy of itself"
    ))
}
