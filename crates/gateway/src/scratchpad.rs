//! The scratchpad of a session as its readers see it, whichever way they came in: keys in order, values as they were written.

use bytes::Bytes;
use portcullis_domain::admission::{Command, Verdict};
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::StreamId;
use portcullis_domain::session::StateKey;
use portcullis_domain::session::scratchpad::{Located, Scratchpad};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use serde::Serialize;

use crate::journal::handle::Placed;
use crate::journal::{Journal, StoreFault};

/// The most keys in one answer.
pub const PAGE_LIMIT: usize = 1_000;

/// A key, and what there is to know of its value.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The key.
    pub key: StateKey,
    /// The value's version.
    pub version: u64,
    /// How long it is.
    pub bytes: u64,
    /// From when on it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Some of the keys, in order.
#[derive(Debug, Default, Serialize)]
pub struct Page {
    /// The keys.
    pub values: Vec<Shown>,
    /// Where the next page begins; none when this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<StateKey>,
}

/// Which keys are asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What they begin with.
    pub prefix: String,
    /// The key before the first of them.
    pub after: Option<StateKey>,
    /// How many.
    pub limit: usize,
}

/// The keys of a session; none when there is no such session.
///
/// # Errors
///
/// When the store failed.
pub async fn page(journal: &Journal, session: &SessionId, wanted: Wanted) -> Result<Option<Page>, StoreFault> {
    let Wanted { prefix, after, limit } = wanted;
    let page = move |scratchpad: &Scratchpad, at| {
        let is_wanted =
            |key: &StateKey| key.as_str().starts_with(&prefix) && after.as_ref().is_none_or(|after| key > after);
        let found = scratchpad.all(at).filter(|(key, _)| is_wanted(key)).take(limit.saturating_add(1));
        let mut values: Vec<Shown> = found.map(|(key, located)| shown(key, located)).collect();
        let is_last = values.len() <= limit;
        values.truncate(limit);
        let next = values.last().filter(|_| !is_last).map(|value| value.key.clone());
        Page { values, next }
    };
    journal.execute(Look { session: session.clone(), question: page }).await
}

/// A value and what there is to know of it. The outer none says that there is no such session, the inner one that there is no such value.
///
/// # Errors
///
/// When the store failed.
pub async fn value(
    journal: &Journal,
    session: &SessionId,
    key: &StateKey,
) -> Result<Option<Option<(Shown, Bytes)>>, StoreFault> {
    let Some(found) = locate(journal, session, key).await? else { return Ok(None) };
    let Some(located) = found else { return Ok(Some(None)) };
    let found = read(journal, session, located).await?;
    Ok(Some(found.map(|(_, bytes)| (shown(key, &located), bytes))))
}

/// A value with the entry that wrote it; none when there is no such value.
///
/// # Errors
///
/// When the store failed.
pub async fn written(
    journal: &Journal,
    session: &SessionId,
    key: &StateKey,
) -> Result<Option<(Located, Placed, Bytes)>, StoreFault> {
    let Some(located) = locate(journal, session, key).await?.flatten() else { return Ok(None) };
    Ok(read(journal, session, located).await?.map(|(entry, bytes)| (located, entry, bytes)))
}

async fn locate(journal: &Journal, session: &SessionId, key: &StateKey) -> Result<Option<Option<Located>>, StoreFault> {
    let wanted = key.clone();
    let question = move |scratchpad: &Scratchpad, at| scratchpad.find(&wanted, at);
    journal.execute(Look { session: session.clone(), question }).await
}

async fn read(journal: &Journal, session: &SessionId, located: Located) -> Result<Option<(Placed, Bytes)>, StoreFault> {
    let stream = StreamId::Session(session.clone());
    let entry = journal.entries(&stream, located.seq.saturating_sub(1), 1).await?.into_iter().next();
    let Some(entry) = entry else { return Ok(None) };
    let bytes = journal.body(&stream, entry.position, 0).await?;
    Ok(bytes.map(|bytes| (entry, bytes)))
}

fn shown(key: &StateKey, located: &Located) -> Shown {
    let expires_at = located.expires_at.map(|expiry| expiry.to_string());
    Shown { key: key.clone(), version: located.version, bytes: located.bytes, expires_at }
}

/// A question to the scratchpad of a session. It comes with the time of the writer, so that what is over for a writer is over for a reader too.
struct Look<F> {
    session: SessionId,
    question: F,
}

impl<T: Send + 'static, F: Fn(&Scratchpad, Timestamp) -> T + Send + 'static> Command for Look<F> {
    type Answer = Option<T>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let session = world.session.find(&self.session);
        Verdict::unchanged(session.map(|session| (self.question)(&session.scratchpad, at)))
    }
}
