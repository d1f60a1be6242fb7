//! What became of the calls that were in flight in a gateway that has ended is not known.

use crate::admission::command::{Command, Verdict};
use crate::admission::request::answered;
use crate::event::{CallSettled, Event, Outcome};
use crate::ids::{Actor, CallId, GatewayId};
use crate::journal::{Draft, StreamId};
use crate::time::Timestamp;
use crate::world::{OpenCall, World};

/// Settles every open call as *unknown* and charges its whole hold: the upstream may have done and billed all of it. Requests that were not answered yet are unknown too. For a start, where nobody else shares
/// the journal.
#[derive(Debug, Clone, Copy)]
pub struct Recover;

/// The same for the calls of one gateway, by another one that shares its journal.
#[derive(Debug, Clone)]
pub struct RecoverGateway {
    /// The gateway that has ended.
    pub gateway: GatewayId,
}

impl Command for Recover {
    /// How many calls were open.
    type Answer = usize;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<usize> {
        settle(world, |_| true)
    }
}

impl Command for RecoverGateway {
    /// How many calls were open.
    type Answer = usize;

    fn decide(&self, world: &World, _: Timestamp) -> Verdict<usize> {
        settle(world, |gateway| gateway == Some(&self.gateway))
    }
}

fn settle(world: &World, is_lost: impl Fn(Option<&GatewayId>) -> bool) -> Verdict<usize> {
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
            labels: Vec::new(),
            guarded: Vec::new(),
        }),
        bodies: Vec::new(),
    };
    let calls = world.open_calls.iter().filter(|(_, open)| is_lost(open.gateway.as_ref()));
    let mut drafts: Vec<_> = calls.map(settle).collect();
    let count = drafts.len();
    let requests = world.requests.all_open().filter(|(_, open)| is_lost(open.gateway.as_ref()));
    drafts.extend(
        requests
            .map(|(request, open)| answered(request, &open.actor, &open.requester, open.mark, Outcome::Unknown, None)),
    );
    Verdict { answer: count, drafts }
}
