//! Taking what others have written into memory, through the same checks as at a start; and all of it at a start itself.

use std::thread::available_parallelism;
use std::time::Duration;

use portcullis_domain::journal::checkpoint::{Checkpoint, Verifier};

use crate::doorway::Doorway;
use crate::journal::audit::Place;
use crate::journal::bookmark::{Bookmark, Bookmarks};
use crate::journal::decider::Memory;
use crate::journal::fault::StoreFault;
use crate::journal::page::StreamRow;
use crate::journal::postgres::link::{Known, Link, LogHead, News, PAGE};
use crate::journal::postgres::trouble::{ANSWER_LIMIT, Trouble, behind, within};
use crate::journal::replay::{Decoded, decode, is_sealed, open_checkpoint, take};
use crate::journal::streams::Streams;

/// With fewer entries than this it is not worth to wake another processor.
const SHARE: usize = 128;
/// How often another connection is tried, one after the other, when nothing could be read by the last.
const TRIES_LIMIT: u32 = 20;
/// Between two of them.
const TRY_PAUSE: Duration = Duration::from_millis(500);
/// The most threads that read entries.
const WORKERS_LIMIT: usize = 8;

/// Where memory ends.
#[must_use]
pub fn known(memory: &Memory) -> Known {
    Known { entries: memory.tree.size(), streams: memory.streams.count() }
}

/// Takes in what was found, and within the same transaction what did not fit into the first answer. Then memory is what the head says. Says in
/// `doorway_changed` if they have, whatever happens after.
///
/// # Errors
///
/// When the log does not go on from what is in memory.
pub async fn catch_up(
    link: &Link,
    memory: &mut Memory,
    head: LogHead,
    news: News,
    doorway_changed: &mut bool,
) -> Result<(), Trouble> {
    let there = memory.tree.size();
    if head.position < there {
        return Err(Trouble::Fatal(behind(head.position, there)));
    }
    add_streams(&mut memory.streams, news.streams)?;
    let mut page = news.entries;
    loop {
        let is_last = page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        *doorway_changed |= add_entries(memory, page, &mut |_| Ok(()))?;
        if is_last {
            break;
        }
        page = within(ANSWER_LIMIT, link.more(memory.tree.size())).await?;
    }
    agree(memory, head)?;
    memory.sealed = head.sealed;
    Ok(())
}

/// Reads the log into new memory: what comes after the bookmark, if there is one that the log goes on from, and all of it otherwise. What has been read is kept when the connection is lost,
/// and read on by another one. Gives up with [`StoreFault::Closed`] once `is_over` says so.
///
/// # Errors
///
/// When an entry is missing or altered, the journal differs from its last checkpoint, or the database stays away.
pub async fn load(
    link: &mut Link,
    verifier: &Verifier,
    bookmarks: &Bookmarks,
    is_over: &dyn Fn() -> bool,
) -> Result<Memory, Trouble> {
    if let Some(bookmark) = bookmarks.read() {
        match replay(link, verifier, Some(bookmark), is_over).await {
            Err(Trouble::Fatal(fault)) if !matches!(fault, StoreFault::Closed) => {
                // Whether it is the bookmark or the log that is wrong only the whole log can tell.
                bookmarks.discard(&fault.to_string());
                within(ANSWER_LIMIT, link.end()).await?;
            }
            replayed => return replayed,
        }
    }
    replay(link, verifier, None, is_over).await
}

async fn replay(
    link: &mut Link,
    verifier: &Verifier,
    bookmark: Option<Bookmark>,
    is_over: &dyn Fn() -> bool,
) -> Result<Memory, Trouble> {
    let mut reading = Reading { memory: Memory::default(), bookmark, sealed: None };
    let mut tries = 0;
    loop {
        let there = reading.memory.tree.size();
        let problem = match reading.read_on(link, verifier, is_over).await {
            Ok(()) => return Ok(reading.memory),
            Err(Trouble::Away(problem)) => problem,
            Err(fatal) => return Err(fatal),
        };
        tries = if reading.memory.tree.size() > there { 0 } else { tries + 1 };
        reconnect(link, &mut tries, problem).await?;
    }
}

/// Another connection, unless there have been enough in which nothing was read.
async fn reconnect(link: &mut Link, tries: &mut u32, mut problem: String) -> Result<(), Trouble> {
    while *tries < TRIES_LIMIT {
        tracing::warn!(%problem, "the journal's database was lost while the journal was read; it is read on");
        tokio::time::sleep(TRY_PAUSE).await;
        match within(ANSWER_LIMIT, link.open_again()).await {
            Err(Trouble::Away(another)) => problem = another,
            opened => return opened,
        }
        *tries += 1;
    }
    Err(Trouble::Away(problem))
}

/// Memory while it is read from the log.
struct Reading {
    memory: Memory,
    /// What it begins with, until that has been found in the log.
    bookmark: Option<Bookmark>,
    /// The checkpoint that was the last one when it began, or a later one of entries that were not read by then.
    sealed: Option<Checkpoint>,
}

impl Reading {
    /// Reads to the end of the log, from where it is.
    async fn read_on(&mut self, link: &Link, verifier: &Verifier, is_over: &dyn Fn() -> bool) -> Result<(), Trouble> {
        let (head, news) = within(ANSWER_LIMIT, link.look(self.known())).await?;
        if let Some((size, note)) = within(ANSWER_LIMIT, link.last_checkpoint()).await? {
            let checkpoint = open_checkpoint(verifier, size, &note)?;
            if self.sealed.is_none() || checkpoint.size >= self.memory.tree.size() {
                self.sealed = Some(checkpoint);
            }
        }
        add_streams(&mut self.memory.streams, news.streams)?;
        let mut page = news.entries;
        if let Some(bookmark) = self.bookmark.take() {
            let last = (!page.is_empty()).then(|| page.remove(0));
            self.memory = bookmark.open(std::mem::take(&mut self.memory.streams), last)?;
        }
        let sealed = self.sealed;
        is_sealed(&self.memory, sealed)?;
        while !page.is_empty() {
            add_entries(&mut self.memory, page, &mut |memory| is_sealed(memory, sealed))?;
            if is_over() {
                return Err(Trouble::Fatal(StoreFault::Closed));
            }
            page = within(ANSWER_LIMIT, link.more(self.memory.tree.size())).await?;
        }
        within(ANSWER_LIMIT, link.end()).await?;
        self.finish(head)
    }

    /// What is there already. Of what the bookmark has, the entry that it ends with comes once more.
    fn known(&self) -> Known {
        match &self.bookmark {
            Some(bookmark) => Known { entries: bookmark.position().saturating_sub(1), streams: 0 },
            None => known(&self.memory),
        }
    }

    fn finish(&mut self, head: LogHead) -> Result<(), Trouble> {
        let size = self.sealed.map_or(0, |checkpoint| checkpoint.size);
        let there = self.memory.tree.size();
        if there < size {
            let fault = format!("{size} entries were signed, and {there} are there");
            return Err(Trouble::Fatal(StoreFault::Damaged(fault)));
        }
        agree(&self.memory, head)?;
        self.memory.sealed = size;
        Ok(())
    }
}

/// The head says how many entries there are and what the root over them is: with another root somebody has gone on from another past.
fn agree(memory: &Memory, head: LogHead) -> Result<(), Trouble> {
    let (size, root) = (memory.tree.size(), memory.tree.root());
    if (size, root) == (head.position, head.root) {
        return Ok(());
    }
    Err(Trouble::Fatal(StoreFault::Damaged(format!(
        "the log in the database has {} entries with root {}, and what was read of it {size} with root {root}",
        head.position, head.root
    ))))
}

fn add_streams(streams: &mut Streams, rows: Vec<StreamRow>) -> Result<(), StoreFault> {
    for (number, name, salt) in rows {
        let stream = streams.begin(name.parse().map_err(StoreFault::Damaged)?, salt);
        if stream.number != number {
            return Err(StoreFault::Damaged(format!("stream {} is missing", stream.number)));
        }
    }
    Ok(())
}

type Rows = Vec<(Place, Vec<u8>)>;

/// Takes entries in one by one; `judge` sees memory after each. Whether keys have changed.
fn add_entries(
    memory: &mut Memory,
    rows: Rows,
    judge: &mut dyn FnMut(&Memory) -> Result<(), StoreFault>,
) -> Result<bool, StoreFault> {
    let mut doorway_changed = false;
    for decoded in decode_all(rows)? {
        doorway_changed |= Doorway::changes_by(&decoded.entry.event);
        take(memory, decoded)?;
        judge(memory)?;
    }
    Ok(doorway_changed)
}

/// Reading and hashing needs to know nothing of other entries, so that all processors share it.
fn decode_all(mut rows: Rows) -> Result<Vec<Decoded>, StoreFault> {
    let workers = available_parallelism().map_or(1, usize::from).min(WORKERS_LIMIT).min(rows.len() / SHARE);
    if workers < 2 {
        return rows.into_iter().map(decode).collect();
    }
    let share = rows.len().div_ceil(workers);
    std::thread::scope(|scope| {
        let mut shares = Vec::new();
        while !rows.is_empty() {
            let rest = rows.split_off(share.min(rows.len()));
            let rows = std::mem::replace(&mut rows, rest);
            shares.push(scope.spawn(move || rows.into_iter().map(decode).collect::<Result<Vec<_>, _>>()));
        }
        let mut decoded = Vec::new();
        for share in shares {
            let ended = |_| StoreFault::Failed("a thread that reads entries has ended".to_owned());
            decoded.extend(share.join().map_err(ended)??);
        }
        Ok(decoded)
    })
}
