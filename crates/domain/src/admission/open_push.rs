//! A client wants news of a task of an agent.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held;
use crate::authority::Authority;
use crate::call::Capability;
use crate::digest::Digest;
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::session::Origin;
use crate::session::event::{PushClosed, PushOpened};
use crate::session::push::{ID_LIMIT_BYTES, PushName};
use crate::time::Timestamp;
use crate::world::World;

/// Opens a place for news, before the agent hears of it. The call that asks for them was admitted, so there is the session. Places of it that no agent will take any more
/// are closed.
#[derive(Debug, Clone)]
pub struct OpenPush {
    /// The session; its owner is who wants news.
    pub session: SessionId,
    /// On whose authority it is asked.
    pub authority: Authority,
    /// The place's name.
    pub push: PushName,
    /// The agent.
    pub agent: Capability,
    /// The task, as the agent calls it, where there is one already.
    pub task: Option<String>,
    /// What the client calls the place.
    pub id: Option<String>,
    /// The version of the client's language.
    pub form: String,
    /// Of the secret that the agent must show.
    pub secret: Digest,
    /// Where news go, with the client's credential for it.
    pub place: Body,
}

impl Command for OpenPush {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self.check(world, at) {
            Ok(()) => {
                let abandoned = world.pushes.of(&self.session).filter(|(_, push)| push.is_abandoned(at));
                let mut drafts: Vec<Draft<Event>> = abandoned.map(|(name, _)| self.closed(name)).collect();
                drafts.push(self.draft());
                Verdict { answer: Ok(()), drafts }
            }
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl OpenPush {
    fn check(&self, world: &World, at: Timestamp) -> Result<(), Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        if world.session.enter(&self.session, Origin::Named)?.is_none() {
            return Err(Refusal::new(Code::SessionNotFound, format!("there is no session `{}`", self.session.name)));
        }
        if self.id.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_LIMIT_BYTES) {
            let message = format!("the id of a place for news has 1 to {ID_LIMIT_BYTES} bytes");
            return Err(Refusal::new(Code::InvalidRequest, message).about("id"));
        }
        world.pushes.check(&self.session, &self.push, at)
    }

    fn closed(&self, push: &PushName) -> Draft<Event> {
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Gateway,
            event: Event::PushClosed(PushClosed { push: push.clone() }),
            bodies: Vec::new(),
        }
    }

    fn draft(&self) -> Draft<Event> {
        let opened = PushOpened {
            push: self.push.clone(),
            agent: self.agent.clone(),
            task: self.task.clone(),
            id: self.id.clone(),
            form: self.form.clone(),
            secret: self.secret,
            authority: self.authority.lasting(),
        };
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::PushOpened(opened),
            bodies: vec![self.place.clone()],
        }
    }
}
