//! Writing and deleting records of a session.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::{is_held, opening};
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::{RecordId, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::money::Nanodollars;
use crate::refusal::Refusal;
use crate::session::Origin;
use crate::session::event::{RecordDropped, RecordExtended, RecordPut};
use crate::time::Timestamp;
use crate::world::World;

/// Writes and deletes records, all of it or nothing; opens the session if there is none yet.
#[derive(Debug, Clone)]
pub struct KeepRecords {
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session; its owner is who writes.
    pub session: SessionId,
    /// Whether the owner named it.
    pub origin: Origin,
    /// What may be spent in the session in all, if it is opened by this.
    pub session_budget: Option<Nanodollars>,
    /// What is to be done, in order. No two of them are about the same record, but for its head and its first items.
    pub writes: Vec<Write>,
}

/// One thing to be done.
#[derive(Debug, Clone)]
pub enum Write {
    /// Writes the head of a record.
    Put {
        /// The record.
        id: RecordId,
        /// Whether it lasts until it is deleted.
        is_lasting: bool,
        /// The head.
        head: Body,
    },
    /// Adds items to a record.
    Extend {
        /// The record.
        id: RecordId,
        /// Their ids.
        items: Vec<RecordId>,
        /// The items, a list.
        body: Body,
    },
    /// Deletes a record, or one item of it.
    Drop {
        /// The record.
        id: RecordId,
        /// The item.
        item: Option<RecordId>,
    },
}

impl Command for KeepRecords {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self.check(world, at) {
            Ok(()) => {
                let mut drafts = opening(world, &self.authority, &self.session, self.session_budget);
                drafts.extend(self.writes.iter().map(|write| self.draft(write)));
                Verdict { answer: Ok(()), drafts }
            }
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl KeepRecords {
    fn check(&self, world: &World, at: Timestamp) -> Result<(), Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        world.session.enter(&self.session, self.origin)?;
        let is_put =
            |id: &RecordId| self.writes.iter().any(|write| matches!(write, Write::Put { id: put, .. } if put == id));
        let items = self.writes.iter().map(|write| match write {
            Write::Extend { items, .. } => items.len(),
            Write::Put { .. } | Write::Drop { .. } => 0,
        });
        let count = items.sum();
        if count > 0 {
            world.records.check_items(&self.session.owner, count)?;
        }
        for write in &self.writes {
            match write {
                Write::Put { id, is_lasting, .. } => world.records.check_put(&self.session, id, *is_lasting)?,
                Write::Extend { id, .. } if is_put(id) => {}
                Write::Extend { id, items, .. } => world.records.check_extend(&self.session, id, items.len())?,
                Write::Drop { id, item } => world.records.check_drop(&self.session, id, item.as_ref())?,
            }
        }
        Ok(())
    }

    fn draft(&self, write: &Write) -> Draft<Event> {
        let (event, body) = match write {
            Write::Put { id, is_lasting, head } => {
                (Event::RecordPut(RecordPut { id: id.clone(), is_lasting: *is_lasting }), Some(head))
            }
            Write::Extend { id, items, body } => {
                (Event::RecordExtended(RecordExtended { id: id.clone(), items: items.clone() }), Some(body))
            }
            Write::Drop { id, item } => {
                (Event::RecordDropped(RecordDropped { id: id.clone(), item: item.clone() }), None)
            }
        };
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event,
            bodies: body.into_iter().cloned().collect(),
        }
    }
}
