//! Disks that do what real ones do at the worst moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::journal::fault::StoreFault;
use crate::journal::sequencer::{Batch, Disk};
use crate::journal::sqlite::engine::Wrap;

/// A disk that takes its time: what is to be written waits while the gate is shut.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<GateState>,
    turned: Condvar,
}

#[derive(Default)]
struct GateState {
    is_shut: bool,
    waiting: usize,
    passed: usize,
}

impl Gate {
    pub(super) fn wrap(self: &Arc<Self>) -> Wrap {
        let gate = self.clone();
        Box::new(move |inner| Box::new(Gated { inner, gate }))
    }

    pub(super) fn shut(&self) {
        self.state.lock().unwrap().is_shut = true;
    }

    pub(super) fn open(&self) {
        self.state.lock().unwrap().is_shut = false;
        self.turned.notify_all();
    }

    /// Whether a batch stands before the gate.
    pub(super) fn is_waited_at(&self) -> bool {
        self.state.lock().unwrap().waiting > 0
    }

    /// How many batches have gone through.
    pub(super) fn passed(&self) -> usize {
        self.state.lock().unwrap().passed
    }
}

struct Gated {
    inner: Box<dyn Disk>,
    gate: Arc<Gate>,
}

impl Disk for Gated {
    fn append(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        let mut state = self.gate.state.lock().unwrap();
        state.waiting += 1;
        let mut state = self.gate.turned.wait_while(state, |state| state.is_shut).unwrap();
        state.waiting -= 1;
        state.passed += 1;
        drop(state);
        self.inner.append(batch)
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing is written, and the disk says so.
    Refused,
    /// All is written, and the disk says that it failed.
    WrittenAndDenied,
    /// Nothing is written, and the writer ends on the spot.
    Ended,
    /// All is written, and the writer ends before it can tell anybody.
    WrittenAndEnded,
}

impl Failure {
    pub(super) const ALL: [Self; 4] = [Self::Refused, Self::WrittenAndDenied, Self::Ended, Self::WrittenAndEnded];

    pub(super) fn is_written(self) -> bool {
        matches!(self, Self::WrittenAndDenied | Self::WrittenAndEnded)
    }
}

/// A disk that fails once, at the batch of that number.
pub(super) struct Faulty {
    pub(super) failure: Failure,
    pub(super) at: usize,
    pub(super) appended: AtomicUsize,
}

impl Faulty {
    pub(super) fn new(failure: Failure, at: usize) -> Arc<Self> {
        Arc::new(Self { failure, at, appended: AtomicUsize::new(0) })
    }

    pub(super) fn wrap(self: &Arc<Self>) -> Wrap {
        let faulty = self.clone();
        Box::new(move |inner| Box::new(FaultyDisk { inner, faulty }))
    }

    /// Whether it has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.appended.load(Ordering::SeqCst) >= self.at
    }
}

struct FaultyDisk {
    inner: Box<dyn Disk>,
    faulty: Arc<Faulty>,
}

impl Disk for FaultyDisk {
    fn append(&mut self, batch: &Batch) -> Result<(), StoreFault> {
        let number = self.faulty.appended.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(number <= self.faulty.at, "nothing is written after a failure");
        if number < self.faulty.at || self.faulty.failure.is_written() {
            self.inner.append(batch)?;
        }
        match self.faulty.failure {
            _ if number < self.faulty.at => Ok(()),
            Failure::Refused | Failure::WrittenAndDenied => {
                Err(StoreFault::Failed("no space left on device".to_owned()))
            }
            Failure::Ended | Failure::WrittenAndEnded => panic!("the writer is killed (a test wants it)"),
        }
    }
}
