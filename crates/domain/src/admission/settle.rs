//! What became of an admitted call.

use crate::admission::command::{Command, Verdict};
use crate::event::{CallSettled, Event, Judged, Outcome};
use crate::ids::{Actor, CallId, LabelName};
use crate::journal::{Body, Draft, StreamId};
use crate::ledger::{Account, Balance};
use crate::money::{Nanodollars, Tokens};
use crate::policy::Guarded;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;
use crate::world::World;

/// The end of a call, as the shell saw it.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The call.
    pub call: CallId,
    /// How it ended.
    pub outcome: Outcome,
    /// The tokens that were used, for models.
    pub tokens: Option<Tokens>,
    /// What it cost; none when that can't be known, and then the whole hold is charged.
    pub cost: Option<Nanodollars>,
    /// What the upstream answered, as far as it came.
    pub answer: Option<Body>,
    /// The tool calls inside the answer, with what policy said.
    pub judged: Vec<Judged>,
    /// What the answer marks the session with.
    pub labels: Vec<LabelName>,
    /// What guardrails did with the answer.
    pub guarded: Vec<Guarded>,
}

/// What settling came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What the call was charged.
    pub charged: Nanodollars,
    /// The session's account after it.
    pub session: Balance,
}

impl Command for Settle {
    type Answer = Result<Receipt, Refusal>;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<Self::Answer> {
        let Some(open) = world.open_calls.get(&self.call) else {
            let refusal = Refusal::new(Code::NotFound, format!("call {} is not open", self.call));
            return Verdict::unchanged(Err(refusal));
        };
        let charge = world.ledger.charge(self.call, self.cost);
        let mut session = world.ledger.balance(&Account::Session(open.session.clone()));
        session.held = session.held.minus(charge.released);
        session.spent = session.spent.plus(charge.charged);
        let event = CallSettled {
            call: self.call,
            outcome: self.outcome,
            tokens: self.tokens,
            charged: charge.charged,
            overrun: charge.overrun,
            judged: self.judged.clone(),
            labels: self.labels.clone(),
            guarded: self.guarded.clone(),
        };
        let draft = Draft {
            stream: StreamId::Session(open.session.clone()),
            actor: Actor::Principal(open.session.owner.clone()),
            event: Event::CallSettled(event),
            bodies: self.answer.iter().cloned().collect(),
        };
        Verdict { answer: Ok(Receipt { charged: charge.charged, session }), drafts: vec![draft] }
    }
}
