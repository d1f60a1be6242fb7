//! Rules of before, put back: who has ordered it, and what is to be journaled for it.
//!
//! A door orders ([`order`]); whoever puts the parts of the gateway together makes everything ready, so that no reload comes between; the door has it journaled, once for its
//! idempotency key, and says so ([`Ready::done`]). Only then it is put in force here. Others that share the journal learn of it from there.
//!
//! Start with [`versions`], which says what was in force and by whom.

pub mod versions;

use portcullis_domain::admission::{Command, RollBack, RollForward, Verdict};
use portcullis_domain::ids::Actor;
use portcullis_domain::policy::Version;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;
use tokio::sync::{mpsc, oneshot};

/// How many orders may wait.
pub const ORDERS_LIMIT: usize = 16;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The rules of that version, by its first digits; without any, those before the ones in force.
    Back(Option<String>),
    /// What the files say.
    Forward,
}

/// Somebody wants other rules in force.
#[derive(Debug)]
pub struct Order {
    /// What is wanted.
    pub wish: Wish,
    /// By whom.
    pub by: Actor,
    /// Why, for the record.
    pub reason: String,
    /// Where it is said that everything is ready, or why it can't be done.
    pub reply: oneshot::Sender<Result<Ready, Refusal>>,
}

/// Everything is ready: it only has to be journaled.
#[derive(Debug)]
pub struct Ready {
    /// What is to be journaled.
    pub turn: Turn,
    /// What will be in force.
    pub version: Version,
    /// The version of then, where rules are put back.
    pub restored: Option<Version>,
    /// What was in force.
    pub replaced: Version,
    /// Told, or dropped, when it was journaled or could not be.
    pub done: oneshot::Sender<()>,
    /// Told when it is in force at this gateway.
    pub in_force: oneshot::Receiver<()>,
}

/// Back or forward.
#[derive(Debug, Clone)]
pub enum Turn {
    /// Rules of before are put back.
    Back(RollBack),
    /// What the files say counts again.
    Forward(RollForward),
}

impl Command for Turn {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self {
            Self::Back(command) => command.decide(world, at),
            Self::Forward(command) => command.decide(world, at),
        }
    }
}

/// Orders other rules, and waits until everything is ready.
///
/// # Errors
///
/// Why it can't be done; [`Code::StoreUnavailable`] when the gateway is about to stop.
pub async fn order(orders: &mpsc::Sender<Order>, wish: Wish, by: Actor, reason: String) -> Result<Ready, Refusal> {
    let leaving = || Refusal::new(Code::StoreUnavailable, "the gateway is stopping; ask another one, or again later");
    let (reply, ready) = oneshot::channel();
    orders.send(Order { wish, by, reason, reply }).await.map_err(|_| leaving())?;
    ready.await.map_err(|_| leaving())?
}
