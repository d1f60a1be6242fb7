//! The one writer of the embedded engine. It takes all that waits, decides in order on the world in memory, writes one transaction, and answers all.
//!
//! Deciding runs ahead of the disk within one batch only: the second decision of a batch sees the first, and neither answer leaves before both are durable. If the
//! write fails, nobody can know whether it is there, so the sequencer ends with everything it has in memory.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::clock::Clock;
use crate::doorway::Doorway;
use crate::journal::decider::{BATCH_LIMIT, Decider, SEAL_INTERVAL_US};
use crate::journal::engine::Job;
use crate::journal::fault::StoreFault;
use crate::journal::keeper::Keeper;
use tokio::sync::watch;

pub use crate::journal::decider::{BODIES_LIMIT, Batch, Memory};

/// Where batches go.
pub trait Disk: Send {
    /// Writes all of it durably, or fails. After a failure it may be there or not.
    ///
    /// # Errors
    ///
    /// What went wrong.
    fn append(&mut self, batch: &Batch) -> Result<(), StoreFault>;
}

/// The writer with everything it owns. It lives on a thread of its own.
pub struct Sequencer {
    /// What decides.
    pub decider: Decider,
    /// Where entries go.
    pub disk: Box<dyn Disk>,
    /// Makes bookmarks of what was written.
    pub keeper: Keeper,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Read by the doors; written here, after the entries that change it are durable.
    pub doorway: Arc<watch::Sender<Arc<Doorway>>>,
}

/// What comes to the writer.
pub enum Message {
    /// A decision to be made.
    Job(Box<dyn Job>),
    /// The end, once everything before it is written.
    Stop,
}

impl Sequencer {
    /// Works until it is told to stop or nobody is left to tell it, and gives back what is in memory then, all of which is durable.
    ///
    /// # Errors
    ///
    /// When the disk failed. Memory may then differ from it, so nothing more is decided.
    pub fn run(mut self, queue: &Receiver<Message>) -> Result<Memory, StoreFault> {
        loop {
            let (mut jobs, is_last) = self.wait(queue);
            let outcome = self.write(&mut jobs, is_last);
            for job in jobs {
                job.finish(outcome.clone());
            }
            outcome?;
            if is_last {
                return Ok(self.decider.memory);
            }
        }
    }

    /// All that waits, and whether it is the last; nothing when a checkpoint is due.
    fn wait(&self, queue: &Receiver<Message>) -> (Vec<Box<dyn Job>>, bool) {
        let mut jobs = Vec::new();
        match queue.recv_timeout(self.patience()) {
            Ok(Message::Job(job)) => jobs.push(job),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return (jobs, true),
            Err(RecvTimeoutError::Timeout) => return (jobs, false),
        }
        while jobs.len() < BATCH_LIMIT {
            match queue.try_recv() {
                Ok(Message::Job(job)) => jobs.push(job),
                Ok(Message::Stop) => return (jobs, true),
                Err(_) => break,
            }
        }
        (jobs, false)
    }

    /// How long nothing needs to be done if nothing comes.
    fn patience(&self) -> Duration {
        if self.decider.unsealed() == 0 {
            return Duration::from_secs(3_600);
        }
        let passed = self.decider.since_seal_us(self.clock.now()).unwrap_or(SEAL_INTERVAL_US);
        Duration::from_micros(SEAL_INTERVAL_US.saturating_sub(passed))
    }

    fn write(&mut self, jobs: &mut [Box<dyn Job>], is_last: bool) -> Result<(), StoreFault> {
        let now = self.clock.now();
        let mut batch = Batch::default();
        let is_idle = jobs.is_empty();
        self.decider.decide(jobs, now, &mut batch)?;
        self.decider.seal(now, is_last || is_idle, &mut batch);
        if !batch.is_empty() {
            self.disk.append(&batch)?;
        }
        self.decider.was_written(&batch);
        self.keeper.reached(&self.decider.memory);
        if batch.changes_doorway {
            self.doorway.send_replace(Arc::new(Doorway::of(&self.decider.memory.world)));
        }
        Ok(())
    }
}
