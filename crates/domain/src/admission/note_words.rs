//! Noting what the user has said.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::{is_held, opening};
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::SessionId;
use crate::journal::{Body, Draft, StreamId};
use crate::money::Nanodollars;
use crate::refusal::{Code, Refusal};
use crate::session::Origin;
use crate::session::event::UserSaid;
use crate::time::Timestamp;
use crate::world::World;

/// The most that is said at a time, in bytes.
pub const WORDS_LIMIT_BYTES: usize = 64 * 1024;

/// Notes what the user has said; opens the session if there is none yet. An agent does not say it for them.
#[derive(Debug, Clone)]
pub struct NoteWords {
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The session; its owner is who has said it.
    pub session: SessionId,
    /// What may be spent in the session in all, if it is opened by this.
    pub session_budget: Option<Nanodollars>,
    /// What was said.
    pub words: Body,
}

impl Command for NoteWords {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        if let Err(refusal) = self.ask(world, at) {
            return Verdict::unchanged(Err(refusal));
        }
        let mut drafts = opening(world, &self.authority, &self.session, self.session_budget);
        drafts.push(Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::UserSaid(UserSaid {}),
            bodies: vec![self.words.clone()],
        });
        Verdict { answer: Ok(()), drafts }
    }
}

impl NoteWords {
    fn ask(&self, world: &World, at: Timestamp) -> Result<(), Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        if !self.authority.through.is_empty() {
            return Err(Refusal::new(Code::Forbidden, "an agent can't say what the user has said"));
        }
        let length = self.words.bytes().len();
        if length == 0 || length > WORDS_LIMIT_BYTES {
            let message = format!("what is said has 1 to {WORDS_LIMIT_BYTES} bytes, not {length}");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        world.session.enter(&self.session, Origin::Named).map(|_| ())
    }
}
