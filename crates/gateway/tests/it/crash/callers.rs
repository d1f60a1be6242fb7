//! The load: callers that each do one kind of work, one call after the other and without a pause, until the gateway is gone or they are told to stop.
//!
//! They hold the gateway to what it says: an answer that is not the one to be expected is a fault, and so is a connection that is lost while nobody
//! kills. No call is ever made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use portcullis_domain::ids::SessionId;
use portcullis_testkit::http::{Client, Failure};
use tokio::task::JoinSet;

use super::chance::Chance;
use super::notes::Shared;
use super::site::PRINCIPALS;
use super::{chats, chores, tools, values};

/// How many callers there are of each kind.
const LOAD: [(Work, u64); 8] = [
    (Work::Whole, 6),
    (Work::Stream, 8),
    (Work::LegacyTool, 6),
    (Work::ModernTool, 6),
    (Work::OwnValue, 4),
    (Work::SharedValue, 6),
    (Work::Chores, 2),
    (Work::Watch, 1),
];

/// What a caller does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Completions as a whole.
    Whole,
    /// Completions in pieces.
    Stream,
    /// Tools, in the older way: it does not mean anything when the caller leaves.
    LegacyTool,
    /// Tools, in the modern way.
    ModernTool,
    /// A value that nobody else writes.
    OwnValue,
    /// A value that several write.
    SharedValue,
    /// Keys are issued and taken back, sessions opened and closed.
    Chores,
    /// Balances are looked at.
    Watch,
}

/// A caller with all that it works with.
pub(super) struct Caller {
    /// With its key and without a session.
    pub(super) http: Client,
    pub(super) admin: Client,
    pub(super) principal: &'static str,
    /// Nobody else has it in any round.
    pub(super) name: String,
    /// Its number among those of its kind, the same in every round.
    pub(super) place: u64,
    pub(super) round: u64,
    pub(super) chance: Chance,
    pub(super) notes: Shared,
    calls: u64,
}

/// Why a caller ends.
pub(super) enum End {
    /// The connection is lost.
    Lost(String),
    /// The gateway said what it must not say.
    Wrong(String),
}

/// What callers may expect.
#[derive(Clone, Default)]
pub(super) struct Phase(Arc<AtomicU8>);

const STOPPING: u8 = 1;
const DOOMED: u8 = 2;

impl Phase {
    /// From now on connections may be lost.
    pub(super) fn doom(&self) {
        self.0.store(DOOMED, Ordering::SeqCst);
    }

    /// Callers finish their call and begin no other.
    pub(super) fn stop(&self) {
        self.0.store(STOPPING, Ordering::SeqCst);
    }
}

/// All callers of a round.
pub(super) struct Load(JoinSet<()>);

impl Load {
    /// `clients` has one with a key for each of [`PRINCIPALS`].
    pub(super) fn begin(
        clients: &[Client],
        admin: &Client,
        round: u64,
        chance: &mut Chance,
        notes: &Shared,
        phase: &Phase,
    ) -> Self {
        let mut callers = JoinSet::new();
        for (work, count) in LOAD {
            for place in 0..count {
                let who = usize::try_from(place).unwrap() % PRINCIPALS.len();
                let caller = Caller {
                    http: clients[who].clone(),
                    admin: admin.clone(),
                    principal: PRINCIPALS[who],
                    name: format!("r{round}-{work:?}-{place}"),
                    place,
                    round,
                    chance: chance.fork(),
                    notes: notes.clone(),
                    calls: 0,
                };
                callers.spawn(caller.run(work, phase.clone()));
            }
        }
        Self(callers)
    }

    /// Waits until all have ended.
    pub(super) async fn end(self) {
        self.0.join_all().await;
    }
}

impl Caller {
    async fn run(mut self, work: Work, phase: Phase) {
        let mut state = values::Known::default();
        while phase.0.load(Ordering::SeqCst) == 0 {
            let done = match work {
                Work::Whole => chats::whole(&mut self).await,
                Work::Stream => chats::stream(&mut self).await,
                Work::LegacyTool => tools::legacy(&mut self).await,
                Work::ModernTool => tools::modern(&mut self).await,
                Work::OwnValue => values::own(&mut self, &mut state).await,
                Work::SharedValue => values::shared(&mut self, &mut state).await,
                Work::Chores => chores::work(&mut self).await,
                Work::Watch => chores::watch(&self).await,
            };
            match done {
                Ok(()) => {}
                Err(End::Lost(_)) if phase.0.load(Ordering::SeqCst) == DOOMED => return,
                Err(End::Lost(problem) | End::Wrong(problem)) => {
                    self.notes.lock().wrong.push(format!("{} ({}): {problem}", self.name, self.principal));
                    return;
                }
            }
        }
    }

    /// A name for the next call that no other call has.
    pub(super) fn next(&mut self) -> String {
        self.calls += 1;
        format!("{}-{}", self.name, self.calls)
    }

    /// The session that all callers of the principal share, or one of this caller alone.
    pub(super) fn session(&mut self) -> SessionId {
        let name = if self.chance.one_in(3) { format!("common-{}", self.place % 2) } else { self.name.clone() };
        self.session_named(&name)
    }

    pub(super) fn session_named(&self, name: &str) -> SessionId {
        SessionId { owner: self.principal.parse().unwrap(), name: name.parse().unwrap() }
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(problem) => Self::Lost(problem),
            Failure::Refused { .. } | Failure::Invalid(_) => Self::Wrong(failure.to_string()),
        }
    }
}
