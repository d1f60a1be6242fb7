//! The writer of one gateway among several. A turn is one transaction: lock the head, take in what others wrote, decide, write, commit.
//!
//! Deciding runs ahead of the database by one batch. When the database goes away before that batch is known to be committed, it is kept as it is and nothing else
//! is decided: the next transaction waits for the lock that the lost one held, so that it learns for certain what became of it. It was committed, and is answered;
//! or nobody has written since, and it is written again as it is; or the world has moved on, and memory is read anew and the jobs are decided again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::admission::{Command as _, RecoverGateway};
use portcullis_domain::ids::GatewayId;
use portcullis_domain::journal::checkpoint::Verifier;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Interval, MissedTickBehavior};

use crate::clock::Clock;
use crate::doorway::Doorway;
use crate::journal::bookmark::Bookmarks;
use crate::journal::decider::{BATCH_LIMIT, Batch, Decider};
use crate::journal::engine::Job;
use crate::journal::fault::StoreFault;
use crate::journal::keeper::Keeper;
use crate::journal::postgres::connect::{Connector, Listener};
use crate::journal::postgres::follow::{catch_up, known, load};
use crate::journal::postgres::link::{Ending, Found, Link, LogHead};
use crate::journal::postgres::members::{Members, Seen};
use crate::journal::postgres::options::Options;
use crate::journal::postgres::renew::Renewal;
use crate::journal::postgres::trouble::{ANSWER_LIMIT, Trouble, behind, within};
use tokio::sync::watch;

/// How often a gateway without work looks, renews its lease and signs what has no checkpoint.
const BEAT: Duration = Duration::from_secs(1);
/// How many beats there are within a lease at least.
const BEATS_PER_LEASE: u32 = 3;
/// How long a gateway without work lets others write before it looks what.
const FOLLOW_PAUSE: Duration = Duration::from_millis(10);
/// How long is waited before the database is tried again, at first and at most.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How often jobs are decided in all when others write while it is not known what became of a batch.
const DECIDE_LIMIT: u32 = 4;

/// The writer with everything it owns. It lives on a thread of its own.
pub struct Writer {
    /// What decides.
    pub decider: Decider,
    /// Reaches the database.
    pub connector: Connector,
    /// How patient it is.
    pub options: Options,
    /// This run of this gateway.
    pub me: GatewayId,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Read by the doors; written here, after the entries that change it are durable.
    pub doorway: Arc<watch::Sender<Arc<Doorway>>>,
    /// What the last checkpoint is verified with when memory is read anew.
    pub verifier: Verifier,
    /// Told when others have written.
    pub changed: Arc<Notify>,
    /// Who else is alive.
    pub members: Members,
    /// The connection, while there is one and no transaction on it.
    pub link: Option<Link>,
    /// What runs ahead.
    pub ahead: Ahead,
    /// Where memory can be read from without all of the log.
    pub bookmarks: Arc<Bookmarks>,
    /// Makes bookmarks of the log.
    pub keeper: Keeper,
}

/// How memory stands to the database, between two turns.
#[derive(Default)]
pub struct Ahead {
    /// A batch that is in memory and may be in the database or not.
    unsure: Option<Unsure>,
    /// Whether the keys in memory are others than those that the doors have.
    doorway_changed: bool,
    /// Whether the database was given up for now: jobs are refused until it answers again.
    is_away: bool,
    /// Whether entries were found without a checkpoint a beat ago already. Who wrote them had its chance.
    is_unsealed: bool,
    /// How often the jobs at hand were decided.
    decided: u32,
}

struct Unsure {
    before: LogHead,
    after: LogHead,
    batch: Batch,
    /// The gateways whose calls it settles.
    lost: Vec<GatewayId>,
    /// Whether its callers were refused meanwhile. Then it must not be written any more.
    is_refused: bool,
}

/// What became of a batch.
enum Fate {
    /// There was none in doubt, or it was not written and memory is as if it had not been decided.
    None,
    /// It is durable.
    Written { was_refused: bool },
}

/// Why the writer wakes.
enum Wake {
    Jobs(Vec<Box<dyn Job>>),
    Changed,
    Beat,
    End,
}

impl Writer {
    /// Works until nobody is left who could want something.
    ///
    /// # Errors
    ///
    /// When memory or the database is not what it must be. Then nothing more is decided.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>, stop: Arc<Notify>) -> Result<(), StoreFault> {
        let mut beat = tokio::time::interval(BEAT.min(self.options.lease / BEATS_PER_LEASE));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.wait(&mut queue, &stop, &mut beat).await {
                Wake::Jobs(jobs) if self.ahead.is_away => {
                    let fault = StoreFault::Away("it did not answer and is tried again all the time".to_owned());
                    finish(jobs, &Err(fault));
                }
                Wake::Jobs(jobs) => self.work(jobs, false).await?,
                Wake::Beat => self.work(Vec::new(), false).await?,
                Wake::Changed => self.follow().await?,
                Wake::End => {
                    self.work(Vec::new(), true).await?;
                    self.end();
                    return Ok(());
                }
            }
            self.keeper.reached(&self.decider.memory);
        }
    }

    /// Keeps for the next start what is in memory, unless a part of it may not be in the database.
    fn end(self) {
        drop(self.keeper);
        if self.ahead.unsure.is_none() {
            self.bookmarks.keep_if_worth(&self.decider.memory);
        }
    }

    async fn wait(&self, queue: &mut mpsc::Receiver<Box<dyn Job>>, stop: &Notify, beat: &mut Interval) -> Wake {
        let changed = async {
            self.changed.notified().await;
            tokio::time::sleep(FOLLOW_PAUSE).await;
        };
        let first = tokio::select! {
            job = queue.recv() => job,
            () = stop.notified() => {
                // What waits is still done; nothing more comes in.
                queue.close();
                queue.recv().await
            }
            () = changed => return Wake::Changed,
            _ = beat.tick() => return Wake::Beat,
        };
        let Some(first) = first else { return Wake::End };
        let mut jobs = vec![first];
        while jobs.len() < BATCH_LIMIT
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        Wake::Jobs(jobs)
    }

    /// Does jobs, and does them again while the database is away, until patience ends.
    async fn work(&mut self, mut jobs: Vec<Box<dyn Job>>, is_last: bool) -> Result<(), StoreFault> {
        self.ahead.decided = 0;
        let mut patience = pin!(tokio::time::sleep(self.options.outage));
        let mut pause = RETRY_PAUSE.0;
        loop {
            let problem = match self.turn(&mut jobs, is_last).await {
                Ok(()) => {
                    self.ahead.is_away = false;
                    finish(jobs, &Ok(()));
                    return Ok(());
                }
                Err(Trouble::Fatal(fault)) => {
                    finish(jobs, &Err(fault.clone()));
                    return Err(fault);
                }
                Err(Trouble::Away(problem)) => problem,
            };
            tracing::warn!(%problem, jobs = jobs.len(), "the journal's database did not do what it was asked");
            if self.ahead.is_away || self.ahead.decided >= DECIDE_LIMIT || patience.is_elapsed() {
                self.give_up(jobs, problem);
                return Ok(());
            }
            tokio::select! {
                () = &mut patience => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_PAUSE.1);
        }
    }

    fn give_up(&mut self, jobs: Vec<Box<dyn Job>>, problem: String) {
        self.ahead.is_away = true;
        let fault = match &mut self.ahead.unsure {
            Some(unsure) if !unsure.is_refused => {
                unsure.is_refused = true;
                let doubt = "what was being written is there or not, which the database will tell when it is back";
                StoreFault::Failed(format!("{problem}; {doubt}"))
            }
            Some(_) | None => StoreFault::Away(problem),
        };
        finish(jobs, &Err(fault));
    }

    /// One transaction. After an error the connection is gone, and with it whatever was open on it.
    async fn turn(&mut self, jobs: &mut [Box<dyn Job>], is_last: bool) -> Result<(), Trouble> {
        let mut link = self.linked().await?;
        match self.resolve(&mut link).await? {
            Fate::Written { was_refused: false } => {}
            Fate::Written { was_refused: true } | Fate::None => self.decide(&link, jobs, is_last).await?,
        }
        self.link = Some(link);
        Ok(())
    }

    async fn linked(&mut self) -> Result<Link, Trouble> {
        if let Some(link) = self.link.take() {
            return Ok(link);
        }
        let listener = Listener { me: self.me.clone(), changed: self.changed.clone() };
        let link = within(ANSWER_LIMIT, Link::open(&self.connector, listener)).await?;
        self.members.look_away();
        // What was written meanwhile may be much: it is read before anybody is kept waiting for the lock.
        self.renewal().during(self.look(&link)).await?;
        Ok(link)
    }

    fn renewal(&self) -> Renewal {
        Renewal { connector: self.connector.clone(), me: self.me.clone(), lease: self.options.lease }
    }

    async fn decide(&mut self, link: &Link, jobs: &mut [Box<dyn Job>], is_last: bool) -> Result<(), Trouble> {
        let found = within(ANSWER_LIMIT, link.lock(known(&self.decider.memory))).await?;
        let Found { head: before, news, members } = found;
        let seen = self.members.look(&members);
        if seen.is_fenced {
            return Err(fenced());
        }
        catch_up(link, &mut self.decider.memory, before, news, &mut self.ahead.doorway_changed).await?;
        self.publish();
        let now = self.clock.now();
        let mut batch = Batch::default();
        self.recover(&seen, &mut batch)?;
        self.ahead.decided += 1;
        self.decider.decide(jobs, now, &mut batch)?;
        let is_beat = jobs.is_empty();
        self.seal(is_beat, is_last, &mut batch);
        if batch.is_empty() && seen.lost.is_empty() && !is_beat {
            return within(ANSWER_LIMIT, link.end()).await;
        }
        self.commit(link, before, batch, &seen, is_last).await
    }

    /// Calls that were in flight in a gateway that died: nobody knows what became of them.
    fn recover(&mut self, seen: &Seen, batch: &mut Batch) -> Result<(), StoreFault> {
        let at = self.decider.at(self.clock.now());
        for gateway in &seen.lost {
            let verdict = RecoverGateway { gateway: gateway.clone() }.decide(&self.decider.memory.world, at);
            tracing::warn!(%gateway, calls = verdict.answer, "a gateway has died; the outcome of its calls is not known and their hold is charged");
            self.decider.take(verdict.drafts, at, batch)?;
        }
        Ok(())
    }

    /// Whoever writes signs, at most a second later. What others have left without a checkpoint is signed a beat after it was first seen so.
    fn seal(&mut self, is_beat: bool, is_last: bool, batch: &mut Batch) {
        let is_left = self.ahead.is_unsealed;
        self.decider.seal(self.clock.now(), is_last || (is_beat && is_left), batch);
        if is_beat {
            self.ahead.is_unsealed = batch.checkpoint.is_none() && self.decider.unsealed() > 0;
        }
    }

    async fn commit(
        &mut self,
        link: &Link,
        before: LogHead,
        batch: Batch,
        seen: &Seen,
        is_last: bool,
    ) -> Result<(), Trouble> {
        let memory = &self.decider.memory;
        let sealed = batch.checkpoint.as_ref().map_or(before.sealed, |(size, _)| *size);
        let after = LogHead { position: memory.tree.size(), root: memory.tree.root(), sealed };
        // Calls of its own that are still open are settled by others, once the lease has run out.
        let is_own = |gateway: Option<&GatewayId>| gateway == Some(&self.me);
        let has_call = memory.world.open_calls.values().any(|call| is_own(call.gateway.as_ref()));
        let has_request = memory.world.requests.all_open().any(|(_, open)| is_own(open.gateway.as_ref()));
        let is_last = is_last && !has_call && !has_request;
        let lease = self.options.lease;
        let ending = Ending { head: after, lease, lost: &seen.lost, is_heard: seen.is_heard, is_last };
        if batch.entries.is_empty() {
            within(ANSWER_LIMIT, link.commit(&batch, &ending)).await?;
            self.decider.was_written(&batch);
            return Ok(());
        }
        let lost = seen.lost.clone();
        let unsure = self.ahead.unsure.insert(Unsure { before, after, batch, lost, is_refused: false });
        within(ANSWER_LIMIT, link.commit(&unsure.batch, &ending)).await?;
        self.was_written();
        Ok(())
    }

    /// Finds out what became of a batch that was in doubt. The lock is granted once the transaction that may have written it has ended, either way.
    async fn resolve(&mut self, link: &mut Link) -> Result<Fate, Trouble> {
        let Some(unsure) = &self.ahead.unsure else { return Ok(Fate::None) };
        let found = within(ANSWER_LIMIT, link.lock(known(&self.decider.memory))).await?;
        let seen = self.members.look(&found.members);
        let was_refused = unsure.is_refused;
        if seen.written_to == unsure.after.position {
            within(ANSWER_LIMIT, link.end()).await?;
            self.was_written();
            return Ok(Fate::Written { was_refused });
        }
        if seen.is_fenced {
            return Err(fenced());
        }
        let is_untouched = (found.head.position, found.head.root) == (unsure.before.position, unsure.before.root);
        if is_untouched && !was_refused {
            let sealed = unsure.batch.checkpoint.as_ref().map_or(found.head.sealed, |(size, _)| *size);
            let head = LogHead { sealed, ..unsure.after };
            let lease = self.options.lease;
            let ending = Ending { head, lease, lost: &unsure.lost, is_heard: seen.is_heard, is_last: false };
            within(ANSWER_LIMIT, link.commit(&unsure.batch, &ending)).await?;
            self.was_written();
            return Ok(Fate::Written { was_refused });
        }
        if found.head.position < unsure.before.position {
            let there = unsure.before.position;
            return Err(Trouble::Fatal(behind(found.head.position, there)));
        }
        within(ANSWER_LIMIT, link.end()).await?;
        tracing::warn!("the log has gone on without a batch that was decided here; memory is read anew");
        self.decider.memory = self.renewal().during(load(link, &self.verifier, &self.bookmarks, &|| false)).await?;
        self.decider.keyring.clear();
        self.ahead.unsure = None;
        self.ahead.doorway_changed = true;
        Ok(Fate::None)
    }

    /// Takes in that the batch in doubt is durable.
    fn was_written(&mut self) {
        if let Some(unsure) = self.ahead.unsure.take() {
            self.decider.was_written(&unsure.batch);
            self.ahead.doorway_changed |= unsure.batch.changes_doorway;
            self.publish();
        }
    }

    /// Hands the keys in memory to the doors. Everything in memory must be durable.
    fn publish(&mut self) {
        if std::mem::take(&mut self.ahead.doorway_changed) {
            self.doorway.send_replace(Arc::new(Doorway::of(&self.decider.memory.world)));
        }
    }

    /// Takes in what others have written, without keeping anybody from writing.
    async fn follow(&mut self) -> Result<(), StoreFault> {
        let Some(link) = self.link.take() else { return Ok(()) };
        match self.look(&link).await {
            Ok(()) => self.link = Some(link),
            Err(Trouble::Fatal(fault)) => return Err(fault),
            // The next turn connects anew.
            Err(Trouble::Away(problem)) => tracing::warn!(%problem, "the journal's database can't be followed"),
        }
        Ok(())
    }

    async fn look(&mut self, link: &Link) -> Result<(), Trouble> {
        if self.ahead.unsure.is_some() {
            return Ok(());
        }
        let (head, news) = within(ANSWER_LIMIT, link.look(known(&self.decider.memory))).await?;
        catch_up(link, &mut self.decider.memory, head, news, &mut self.ahead.doorway_changed).await?;
        within(ANSWER_LIMIT, link.end()).await?;
        self.publish();
        Ok(())
    }
}

fn finish(jobs: Vec<Box<dyn Job>>, outcome: &Result<(), StoreFault>) {
    for job in jobs {
        job.finish(outcome.clone());
    }
}

fn fenced() -> Trouble {
    Trouble::Fatal(StoreFault::Unusable(
        "another gateway took this one for dead and has settled its calls, so it may not write any more".to_owned(),
    ))
}
