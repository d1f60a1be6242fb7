//! A wait ends: what was waited for has come, its time has come, or it is called off.

use crate::admission::command::{Command, Verdict};
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::policy::approval::is_wait_of_approval;
use crate::refusal::{Code, Refusal};
use crate::session::event::WaitEnded;
use crate::session::state::Status;
use crate::session::wait::{EVENT_ID_LIMIT_BYTES, EVENT_LIMIT_BYTES, End, Wait, WaitName};
use crate::time::Timestamp;
use crate::world::World;

/// Ends a wait. The time of an event is the time of its entry: one that comes when the wait has expired is late, whether anybody has noticed that or not.
#[derive(Debug, Clone)]
pub struct EndWait {
    /// The session.
    pub session: SessionId,
    /// The wait.
    pub name: WaitName,
    /// Who says so.
    pub by: Actor,
    /// How it ends.
    pub end: End,
    /// The event.
    pub event: Option<(Option<String>, Body)>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It has ended now.
    Now,
    /// It had ended by the same event before, or in the same way.
    Before,
}

impl Command for EndWait {
    type Answer = Result<Ended, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        match self.check(world, at) {
            Ok(Ended::Before) => Verdict::unchanged(Ok(Ended::Before)),
            Ok(Ended::Now) => Verdict { answer: Ok(Ended::Now), drafts: vec![self.draft()] },
            Err(refusal) => Verdict::unchanged(Err(refusal)),
        }
    }
}

impl EndWait {
    fn check(&self, world: &World, at: Timestamp) -> Result<Ended, Refusal> {
        let none = || Refusal::new(Code::NotFound, format!("there is no wait `{}`", self.name));
        let session = world.session.find(&self.session).ok_or_else(none)?;
        let wait = world.waits.find(&self.session, &self.name).ok_or_else(none)?;
        if session.status == Status::Closed {
            return Err(Refusal::new(Code::SessionClosed, format!("session `{}` is closed", self.session.name)));
        }
        if is_wait_of_approval(&self.name) && self.by != Actor::Gateway {
            let message = format!("only the gateway says how wait `{}` ends", self.name);
            return Err(Refusal::new(Code::Forbidden, message));
        }
        self.check_event()?;
        let is_due = wait.until <= at;
        match (&wait.end, &self.end) {
            (Some((end, _)), asked) if end == asked => Ok(Ended::Before),
            (Some(_), _) => Err(self.over(wait)),
            (None, End::Expired) if !is_due => Err(Refusal::new(Code::Conflict, "its time has not come yet")),
            (None, End::Event(_)) if is_due => Err(self.over(wait)),
            (None, End::Expired | End::Event(_) | End::Cancelled) => Ok(Ended::Now),
        }
    }

    fn check_event(&self) -> Result<(), Refusal> {
        if let End::Event(id) = &self.end
            && (id.is_empty() || id.len() > EVENT_ID_LIMIT_BYTES)
        {
            let message = format!("an event's id has 1 to {EVENT_ID_LIMIT_BYTES} bytes");
            return Err(Refusal::new(Code::InvalidRequest, message).about("webhook-id"));
        }
        match &self.event {
            Some((_, body)) if body.bytes().len() > EVENT_LIMIT_BYTES => {
                Err(Refusal::new(Code::TooLarge, format!("an event is larger than {EVENT_LIMIT_BYTES} bytes")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The refusal of what comes too late.
    fn over(&self, wait: &Wait) -> Refusal {
        let how = match &wait.end {
            Some((End::Event(id), _)) => format!("has ended by event `{id}`"),
            Some((End::Cancelled, _)) => "was called off".to_owned(),
            Some((End::Expired, _)) | None => format!("expired at {}", wait.until),
        };
        Refusal::new(Code::WaitOver, format!("wait `{}` {how}", self.name))
    }

    fn draft(&self) -> Draft<Event> {
        let content_type = self.event.as_ref().and_then(|(media, _)| media.clone());
        Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: self.by.clone(),
            event: Event::WaitEnded(WaitEnded { name: self.name.clone(), end: self.end.clone(), content_type }),
            bodies: self.event.iter().map(|(_, body)| body.clone()).collect(),
        }
    }
}
