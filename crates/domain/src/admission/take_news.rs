//! An agent has news of a task.

use crate::admission::command::{Command, Verdict};
use crate::admission::open_session::is_held;
use crate::digest::Digest;
use crate::event::Event;
use crate::ids::{Actor, SessionId};
use crate::journal::{Body, Draft, StreamId};
use crate::refusal::{Code, Refusal};
use crate::session::event::NewsCame;
use crate::session::push::{ID_LIMIT_BYTES, NEWS_LIMIT, Push, PushName, TASK_LIMIT_BYTES};
use crate::time::Timestamp;
use crate::world::World;

/// Takes news that came to the gateway's own place.
#[derive(Debug, Clone)]
pub struct TakeNews {
    /// The session.
    pub session: SessionId,
    /// The place.
    pub push: PushName,
    /// Of the secret that the agent has shown.
    pub secret: Digest,
    /// The task that they are of, as the agent calls it, where it says so.
    pub task: Option<String>,
    /// What tells repetitions of them from others.
    pub id: Option<String>,
    /// Whether the task is over with them.
    pub is_last: bool,
    /// What the client is told.
    pub news: Body,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// They are to be told.
    Now,
    /// They have come before.
    Before,
}

impl Command for TakeNews {
    type Answer = Result<Taken, Refusal>;

    fn decide(&self, world: &World, at: Timestamp) -> Verdict<Self::Answer> {
        let (push, task) = match self.check(world, at) {
            Ok(found) => found,
            Err(refusal) => return Verdict::unchanged(Err(refusal)),
        };
        if self.id.as_ref().is_some_and(|id| push.knows(id)) {
            return Verdict::unchanged(Ok(Taken::Before));
        }
        let came = NewsCame { push: self.push.clone(), task, id: self.id.clone(), is_last: self.is_last };
        let draft = Draft {
            stream: StreamId::Session(self.session.clone()),
            actor: Actor::Gateway,
            event: Event::NewsCame(came),
            bodies: vec![self.news.clone()],
        };
        Verdict { answer: Ok(Taken::Now), drafts: vec![draft] }
    }
}

impl TakeNews {
    /// The place and the task. Whoever shows a wrong secret, names another task, or comes when the client's key is not valid any more, learns only that there is nothing.
    fn check<'w>(&self, world: &'w World, at: Timestamp) -> Result<(&'w Push, String), Refusal> {
        let none = |why: &str| Refusal::new(Code::NotFound, "there is no such place for news").because(why);
        let push = world.pushes.find(&self.session, &self.push).ok_or_else(|| none("it is closed"))?;
        if push.secret != self.secret {
            return Err(none("the token is another one"));
        }
        is_held(world, &push.authority, &self.session, at)
            .map_err(|_| none("the client's key is not valid any more"))?;
        let task = match (&push.task, &self.task) {
            (Some(known), Some(named)) if known != named => return Err(none("the news are of another task")),
            (Some(task), _) | (None, Some(task)) => task.clone(),
            (None, None) => return Err(none("the news name no task, and none is known")),
        };
        if task.is_empty() || task.len() > TASK_LIMIT_BYTES {
            let message = format!("the id of a task has 1 to {TASK_LIMIT_BYTES} bytes");
            return Err(Refusal::new(Code::InvalidRequest, message).about("taskId"));
        }
        if self.id.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_LIMIT_BYTES) {
            let message = format!("the id of news has 1 to {ID_LIMIT_BYTES} bytes");
            return Err(Refusal::new(Code::InvalidRequest, message).about("webhook-id"));
        }
        if push.waiting.len() >= NEWS_LIMIT {
            return Err(Refusal::new(Code::TooMany, format!("{NEWS_LIMIT} news wait for the client")));
        }
        Ok((push, task))
    }
}
