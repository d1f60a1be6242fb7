//! Entries in order, read and hashed by as many threads as there are processors.
//!
//! Reading JSON and hashing is most of what a start does, and needs to know nothing of other entries. So pages of rows go round to workers, and come back in the
//! same order.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, available_parallelism};

use rusqlite::{Connection, params};

use crate::journal::audit::Place;
use crate::journal::fault::StoreFault;
use crate::journal::replay::{Decoded, decode};
use crate::journal::sqlite::schema::{from_sql, to_sql};

/// How many rows go to a worker at a time.
const PAGE: usize = 256;
/// How many pages a worker has at most.
const PAGES_PER_WORKER: usize = 2;
/// The most workers: with more, the one thread that applies would be waited for anyway.
const WORKERS_LIMIT: usize = 8;

type Page = Vec<(Place, Vec<u8>)>;
type Done = Vec<Result<Decoded, StoreFault>>;

/// Gives the entries in that range of positions to `take`, one by one in their order.
///
/// Every page is a reading of its own: whoever writes meanwhile can begin the log anew between two of them.
///
/// # Errors
///
/// When the file can't be read, a row is no entry, or `take` says so; the first of these ends it.
pub fn each(
    connection: &Connection,
    mut range: RangeInclusive<u64>,
    take: &mut dyn FnMut(Decoded) -> Result<(), StoreFault>,
) -> Result<(), StoreFault> {
    let workers = available_parallelism().map_or(1, usize::from).min(WORKERS_LIMIT);
    std::thread::scope(|scope| {
        // The workers end when the lanes to them are gone, however this ends.
        let lanes: Vec<Lane> = (0..workers).map(|_| Lane::open(scope)).collect();
        let mut under_way = VecDeque::new();
        for lane in lanes.iter().cycle() {
            let page = read_page(connection, &range)?;
            let Some((last, _)) = page.last() else { break };
            range = last.position.saturating_add(1)..=*range.end();
            if under_way.len() == workers * PAGES_PER_WORKER {
                under_way.pop_front().map_or(Ok(()), |oldest: &Lane| oldest.finish(take))?;
            }
            lane.pages.send(page).map_err(|_| ended())?;
            under_way.push_back(lane);
        }
        under_way.into_iter().try_for_each(|lane| lane.finish(take))
    })
}

/// The way to a worker and back.
struct Lane {
    pages: SyncSender<Page>,
    done: Receiver<Done>,
}

impl Lane {
    fn open<'scope>(scope: &'scope Scope<'scope, '_>) -> Self {
        let (pages, waiting) = sync_channel::<Page>(PAGES_PER_WORKER);
        let (finished, done) = sync_channel::<Done>(PAGES_PER_WORKER);
        scope.spawn(move || {
            for page in waiting {
                if finished.send(page.into_iter().map(decode).collect()).is_err() {
                    break;
                }
            }
        });
        Self { pages, done }
    }

    fn finish(&self, take: &mut dyn FnMut(Decoded) -> Result<(), StoreFault>) -> Result<(), StoreFault> {
        let done = self.done.recv().map_err(|_| ended())?;
        done.into_iter().try_for_each(|decoded| take(decoded?))
    }
}

fn read_page(connection: &Connection, range: &RangeInclusive<u64>) -> Result<Page, StoreFault> {
    let mut statement = connection.prepare_cached(
        "SELECT position, stream, seq, bytes FROM entries WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT ?3",
    )?;
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![to_sql(*range.start()), to_sql(*range.end()), limit], |row| {
        let place =
            Place { position: from_sql(row.get(0)?), stream: from_sql(row.get(1)?), seq: from_sql(row.get(2)?) };
        Ok((place, row.get(3)?))
    })?;
    rows.collect::<Result<_, _>>().map_err(StoreFault::from)
}

fn ended() -> StoreFault {
    StoreFault::Failed("a thread that reads entries has ended".to_owned())
}
