//! After a start: what became of the calls that were in flight is not known.

use crate::admission::command::{Command, Verdict};
use crate::event::{CallSettled, Event, Outcome};
use crate::ids::{Actor, CallId};
use crate::journal::{Draft, StreamId};
use crate::time::Timestamp;
use crate::world::{OpenCall, World};

/// Settles every open call as *unknown* and charges its whole hold: the upstream may have done and billed all of it.
#[derive(Debug, Clone, Copy)]
pub struct Recover;

impl Command for Recover {
    /// How many calls were open.
    type Answer = usize;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<usize> {
        let settle = |(call, open): (&CallId, &OpenCall)| Draft {
            stream: StreamId::Session(open.session.clone()),
            actor: Actor::Gateway,
            event: Event::CallSettled(CallSettled {
                call: *call,
                outcome: Outcome::Unknown,
                tokens: None,
                charged: world.ledger.charge(*call, None).charged,
                overrun: crate::money::Nanodollars::ZERO,
                judged: Vec::new(),
            }),
            bodies: Vec::new(),
        };
        Verdict { answer: world.open_calls.len(), drafts: world.open_calls.iter().map(settle).collect() }
    }
}
