//! A session begins to wait for something.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::{is_held, opening};
use crate::authority::Authority;
use crate::event::Event;
use crate::ids::{AgentName, SessionId};
use crate::journal::{Draft, StreamId};
use crate::money::Nanodollars;
use crate::policy::approval::{WAIT_PREFIX, is_wait_of_approval};
use crate::refusal::{Code, Refusal};
use crate::session::Origin;
use crate::session::event::WaitOpened;
use crate::session::wait::{Deliver, WHAT_LIMIT_BYTES, WaitName};
use crate::time::Timestamp;
use crate::world::World;

/// Opens a wait.
#[derive(Debug, Clone)]
pub struct OpenWait {
    /// The session; its owner is who waits.
    pub session: SessionId,
    /// On whose authority it is asked.
    pub authority: Authority,
    /// What may be spent in the session in all, if it is opened by this.
    pub session_budget: Option<Nanodollars>,
    /// The wait's name.
    pub name: WaitName,
    /// What is waited for.
    pub what: String,
    /// When it expires.
    pub until: Timestamp,
    /// The agent and the path that its end is posted to.
    pub deliver: Option<(AgentName, String)>,
}

impl Command for OpenWait {
    type Answer = Result<(), Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self.check(world, at) {
            Ok(()) => {
                let mut drafts = opening(world, &self.authority, &self.session, self.session_budget);
                drafts.push(self.draft());
                Verdict { answer: Ok(()), drafts }
            }
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl OpenWait {
    fn check(&self, world: &World, at: Timestamp) -> Result<(), Refusal> {
        is_held(world, &self.authority, &self.session, at)?;
        world.session.enter(&self.session, Origin::Named)?;
        let invalid = |message: String, parameter: &str| Refusal::new(Code::InvalidRequest, message).about(parameter);
        if self.what.is_empty() || self.what.len() > WHAT_LIMIT_BYTES {
            return Err(invalid(format!("what is waited for has 1 to {WHAT_LIMIT_BYTES} bytes"), "for"));
        }
        if is_wait_of_approval(&self.name) {
            return Err(invalid(format!("names that begin with `{WAIT_PREFIX}` are the gateway's own"), "name"));
        }
        if self.until <= at {
            return Err(invalid(format!("{} is over", self.until), "until"));
        }
        world.waits.check(&self.session, &self.name)
    }

    fn draft(&self) -> Draft<Event> {
        let deliver =
            self.deliver.clone().map(|(agent, path)| Deliver { agent, path, authority: self.authority.lasting() });
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.authority.actor(&self.session.owner),
            event: Event::WaitOpened(WaitOpened {
                name: self.name.clone(),
                what: self.what.clone(),
                until: self.until,
                deliver,
            }),
            bodies: Vec::new(),
        }
    }
}
