//! The versions of the policies that were in force, as the control stream has them.

use portcullis_domain::event::Event;
use portcullis_domain::ids::Actor;
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::policy::event::{Activated, RolledBack};
use portcullis_domain::time::Timestamp;

use crate::journal::{Journal, StoreFault};
use crate::policy::made_of::MadeOf;

/// How many entries are in memory at a time.
const PAGE: usize = 1_000;

/// A version that was put in force.
#[derive(Debug, Clone)]
pub struct Put {
    /// The number of its entry in the stream.
    pub seq: u64,
    /// The number of its entry among all.
    pub position: u64,
    /// When.
    pub at: Timestamp,
    /// By whom: the gateway, where it was the configuration.
    pub by: Actor,
    /// What the journal says of it.
    pub event: Activated,
    /// Where rules of before were put back by it.
    pub back: Option<RolledBack>,
    /// Why, where somebody has said so.
    pub reason: Option<String>,
}

/// All of them, in the order in which they were put in force. One may stand there twice.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    all: Vec<Put>,
    /// What was said before the entry that puts it in force.
    announced: Option<(Option<RolledBack>, String)>,
}

impl Versions {
    /// All that the journal knows.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub async fn read(journal: &Journal) -> Result<Self, StoreFault> {
        let (mut versions, mut after) = (Self::default(), 0);
        loop {
            let page = journal.entries(&StreamId::Control, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(versions) };
            after = last.entry.seq;
            page.iter().for_each(|placed| versions.take(placed.position, &placed.entry));
        }
    }

    /// Takes in the next entry of the stream.
    pub fn take(&mut self, position: u64, entry: &Entry<Event>) {
        if let Event::PolicyRolledBack(event) = &entry.event {
            self.announced = Some((Some(event.clone()), event.reason.clone()));
        } else if let Event::PolicyRolledForward(event) = &entry.event {
            self.announced = Some((None, event.reason.clone()));
        } else if let Event::PolicyActivated(event) = &entry.event {
            let (back, reason) = self.announced.take().unwrap_or_default();
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            let (seq, at, by) = (entry.seq, entry.at, entry.actor.clone());
            self.all.push(Put { seq, position, at, by, event: event.clone(), back, reason });
        }
    }

    /// All, the oldest first.
    #[must_use]
    pub fn all(&self) -> &[Put] {
        &self.all
    }

    /// The newest time that the version with these first digits was put in force.
    ///
    /// # Errors
    ///
    /// A sentence when there is none or several begin so.
    pub fn find(&self, digits: &str) -> Result<&Put, String> {
        let mut found = self.all.iter().rev().filter(|put| put.event.version.to_string().starts_with(digits));
        let newest = found.next().ok_or_else(|| format!("there was no version `{digits}`"))?;
        if found.any(|other| other.event.version != newest.event.version) {
            return Err(format!("there are several versions that begin with `{digits}`"));
        }
        Ok(newest)
    }

    /// Those that were in force before the ones of now, the newest first. Where rules were put back, these are the ones before they were in force for the first time that was meant.
    pub fn before(&self, put_back: Option<u64>) -> impl Iterator<Item = &Put> {
        let newest = self.all.last().map(|put| put.seq);
        let start = put_back.or(newest).unwrap_or_default();
        self.all.iter().rev().filter(move |put| put.seq < start)
    }
}

/// All that the version was made of that the entry of that number in the control stream has put in force; none where the entry is older than that this is kept.
///
/// # Errors
///
/// When it can't be read.
pub async fn made_of(journal: &Journal, seq: u64) -> Result<Option<MadeOf>, StoreFault> {
    let found = journal.entries(&StreamId::Control, seq.saturating_sub(1), 1).await?;
    let Some(placed) = found.first().filter(|placed| placed.entry.seq == seq) else { return Ok(None) };
    let Some(body) = journal.body(&StreamId::Control, placed.position, 1).await? else { return Ok(None) };
    MadeOf::of_bytes(&body).map(Some).map_err(StoreFault::Damaged)
}
