//! An agent's answer on its way to the client: with the client's names in it, and its end once the call is settled.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door};
use portcullis_domain::event::Outcome;
use portcullis_domain::json;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::a2a::egress::{AnswerReader, Inbound};
use portcullis_interop::a2a::{
    A2aCall, Dialect, Failure, Kind, Method, Named, Payload, Reply as Said, TaskState, answer as written, kept, pieces,
    refusal,
};
use tokio::sync::mpsc;

use crate::asking::{Asking, Effect};
use crate::doors::a2a::card::Face;
use crate::doors::a2a::claims::Claims;
use crate::doors::a2a::names::Names;
use crate::doors::a2a::push::Concern;
use crate::doors::a2a::refuse::{events, failed, good_end, said as told, stream};
use crate::doors::answer::{Answer, PIECES_LIMIT};
use crate::doors::arrived::Doors;
use crate::life::agent::{Reply, settle};
use crate::life::parts::Lookout;
use crate::life::task::Task;
use crate::reply::UpstreamFault;

/// The largest answer that is read as a whole, and the largest event, in bytes.
const ANSWER_LIMIT_BYTES: usize = 32 << 20;
/// The largest answer that is kept, in bytes. Of a longer one the journal says that it was given, and a repetition can't have it again.
const KEPT_LIMIT_BYTES: usize = 1 << 20;
/// The most that is held back of an artifact in pieces until all of it is there to be looked at, in bytes.
const HELD_LIMIT_BYTES: usize = 1 << 20;

/// A call whose answer is awaited.
pub struct Asked {
    /// What all doors have in common.
    pub doors: Arc<Doors>,
    /// Whom it is made of.
    pub agent: Capability,
    /// The call.
    pub call: A2aCall<'static>,
    /// What it is about.
    pub claims: Claims,
    /// What it has to do with places for news.
    pub concern: Concern,
    /// On whose authority the caller asks.
    pub authority: Authority,
    /// Whether they do so by themselves, with a key or token of their own.
    pub is_alone: bool,
    /// Where the caller sees the agent.
    pub face: Face,
}

/// An answer of which the end has not come.
pub struct Relay {
    doors: Arc<Doors>,
    reply: Reply,
    agent: Capability,
    call: A2aCall<'static>,
    claims: Claims,
    concern: Concern,
    authority: Authority,
    face: Face,
    /// The task that the agent has spoken of, by its own id, and whether it goes on, as far as is known.
    heard: Option<(String, bool)>,
    /// Whether the agent has taken the place for news that is asked for.
    is_bound: bool,
    reader: AnswerReader,
    /// The guardrails that look at what the agent says, and what they did.
    lookout: Lookout,
    /// The pieces of an artifact that is not whole yet, as one, where somebody is to look at it.
    held: Option<Said>,
    /// What may be looked at.
    ready: VecDeque<Said>,
    is_read: bool,
    /// Whether the client has the head of a stream: its leaving is then seen at the stream.
    is_flowing: bool,
    /// What the client got so far; none once it is too much.
    kept: Option<Vec<Said>>,
    kept_bytes: usize,
}

/// What comes next.
enum Next {
    Said(Said),
    Over(Over),
}

/// How it ended.
enum Over {
    /// The agent says why there is nothing.
    Failed(Failure),
    /// The body is at its end.
    End,
    Fault(UpstreamFault),
    /// A guardrail lets it go no further.
    Blocked(Refusal),
    /// The client has left.
    Left,
}

impl Relay {
    /// The relay of this answer.
    #[must_use]
    pub fn new(asked: Asked, reply: Reply) -> Self {
        let Asked { doors, agent, call, claims, concern, authority, is_alone: _, face } = asked;
        let content_type = reply.answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let dialect: Dialect = reply.answer.dialect.unwrap_or(call.dialect);
        let status = reply.answer.status.as_u16();
        let lookout = doors.gate.lookout(&agent);
        let reader = AnswerReader::new(dialect, call.method, status, content_type, ANSWER_LIMIT_BYTES);
        Self {
            doors,
            reply,
            agent,
            call,
            claims,
            concern,
            authority,
            face,
            heard: None,
            is_bound: false,
            lookout,
            held: None,
            ready: VecDeque::new(),
            reader,
            is_read: false,
            is_flowing: false,
            kept: Some(Vec::new()),
            kept_bytes: 0,
        }
    }

    /// The answer: whole, or a stream from its first event on.
    pub async fn answer(mut self) -> Answer {
        match self.next().await {
            Next::Said(said) if self.call.method.is_streaming() => {
                let (sender, receiver) = mpsc::channel(PIECES_LIMIT);
                let call = self.call.clone();
                tokio::spawn(self.pump(said, sender));
                stream(&call, receiver)
            }
            next @ (Next::Said(_) | Next::Over(_)) => {
                let whole = self.only(next).await.and_then(|said| written::whole(&self.call, &said));
                whole.map_or_else(|failure| failed(&self.call, &failure), told)
            }
        }
    }

    /// The reply to what is answered by one.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn whole(mut self) -> Result<Said, Failure> {
        let next = self.next().await;
        self.only(next).await
    }

    /// Takes the answer in to its end, or until the agent waits for its client: for whoever reads in the journal what came of the call.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn taken(mut self) -> Result<(), Failure> {
        if !self.call.method.is_streaming() {
            return self.whole().await.map(drop);
        }
        let mut has_begun = false;
        loop {
            match self.next().await {
                Next::Said(said) if said.is_last() || said.state().is_some_and(TaskState::is_interrupted) => {
                    return self.finish(said).await.map(drop);
                }
                Next::Said(_) => has_begun = true,
                Next::Over(over) => return self.end(over, has_begun).await.map_or(Ok(()), Err),
            }
        }
    }

    async fn only(&mut self, next: Next) -> Result<Said, Failure> {
        match next {
            Next::Said(said) => self.finish(said).await,
            Next::Over(over) => {
                let none = || Failure::new(Kind::InvalidAgentResponse, "the agent did not answer");
                Err(self.end(over, false).await.unwrap_or_else(none))
            }
        }
    }

    /// Hands events through until the last.
    async fn pump(mut self, first: Said, sender: mpsc::Sender<Bytes>) {
        self.is_flowing = true;
        let mut next = Next::Said(first);
        loop {
            let event = match next {
                Next::Said(said) if said.is_last() => {
                    let event = self.finish(said).await.and_then(|said| written::event(&self.call, &said));
                    let (event, end) = match event {
                        Ok(event) => (event, good_end(&self.call)),
                        Err(failure) => (self.failure_event(&failure), None),
                    };
                    for piece in [Some(event), end].into_iter().flatten() {
                        let _ = sender.send(piece).await;
                    }
                    return;
                }
                Next::Said(said) => written::event(&self.call, &said),
                Next::Over(over) => {
                    let failure = self.end(over, true).await;
                    let end =
                        failure.map_or_else(|| good_end(&self.call), |failure| Some(self.failure_event(&failure)));
                    if let Some(end) = end {
                        let _ = sender.send(end).await;
                    }
                    return;
                }
            };
            let event = event.unwrap_or_else(|failure| self.failure_event(&failure));
            if sender.send(event).await.is_err() {
                self.end(Over::Left, true).await;
                return;
            }
            next = tokio::select! {
                next = self.next() => next,
                () = sender.closed() => Next::Over(Over::Left),
            };
        }
    }

    /// The next thing that the agent says, in the client's names.
    async fn next(&mut self) -> Next {
        loop {
            if let Some(said) = self.ready.pop_front() {
                return match self.looked_at(said).await {
                    Ok(said) => {
                        self.keep(&said);
                        Next::Said(said)
                    }
                    Err(refusal) => Next::Over(Over::Blocked(refusal)),
                };
            }
            if let Some(inbound) = self.reader.next_inbound() {
                let taken = match inbound {
                    Inbound::Reply(said) => self.said(&said).await.and_then(|said| self.gather(said)),
                    Inbound::Failure(failure) => Err(Over::Failed(self.failure_named(&failure))),
                };
                match taken {
                    Ok(()) => continue,
                    Err(over) => return Next::Over(over),
                }
            }
            if self.is_read {
                match self.held.take() {
                    Some(held) => self.ready.push_back(held),
                    None => return Next::Over(Over::End),
                }
                continue;
            }
            let piece = tokio::select! {
                piece = self.reply.answer.body.next() => piece,
                _ = &mut self.reply.patience.gone, if !self.is_flowing => return Next::Over(Over::Left),
            };
            let fed = match piece {
                Ok(Some(piece)) => self.reader.feed(&piece),
                Ok(None) => {
                    self.is_read = true;
                    let answer = &self.reply.answer;
                    self.reader.feed_trailers(answer.body.trailers().unwrap_or(&answer.headers));
                    self.reader.feed_end()
                }
                Err(fault) => return Next::Over(Over::Fault(fault)),
            };
            if let Err(refusal) = fed {
                return Next::Over(Over::Fault(UpstreamFault::Garbled(refusal.to_string())));
            }
        }
    }

    async fn said(&mut self, said: &Said) -> Result<Said, Over> {
        self.bind(said).await.map_err(|refusal| Over::Failed(refusal::failure(&refusal)))?;
        if let (Some(id), Some(state)) = (said.task_id(), said.state()) {
            let task = Task { session: &self.claims.session, agent: &self.agent, id: &id };
            self.doors.gate.heard_of(task, &self.authority, state, self.doors.clock.now()).await;
        }
        match (said.task_id(), said.state()) {
            (Some(id), Some(state)) => self.heard = Some((id, !state.is_terminal())),
            (Some(id), None) if said.payload() == Some(Payload::ArtifactUpdate) && self.heard.is_none() => {
                self.heard = Some((id, true));
            }
            // A message says nothing of how its task stands.
            (Some(_), None) | (None, _) => {}
        }
        let is_card = self.call.method == Method::GetExtendedCard;
        let said = if is_card { self.shown_card(said) } else { self.named(said) };
        said.map_err(|problem| Over::Fault(UpstreamFault::Garbled(problem)))
    }

    /// Puts what was said where it may be looked at. Where somebody looks, the pieces of an artifact are one first, or what stands in two of them would be missed.
    fn gather(&mut self, said: Said) -> Result<(), Over> {
        let is_piece = said.payload() == Some(Payload::ArtifactUpdate) && self.call.method.is_streaming();
        if self.lookout.is_idle() || !is_piece {
            if said.is_last() {
                self.ready.extend(self.held.take());
            }
            self.ready.push_back(said);
            return Ok(());
        }
        let garbled = |problem| Over::Fault(UpstreamFault::Garbled(problem));
        let whole = match self.held.take() {
            Some(held) if pieces::goes_on(&held, &said) => pieces::joined(&held, &said).map_err(garbled)?,
            before => {
                self.ready.extend(before);
                said
            }
        };
        if whole.raw().len() > HELD_LIMIT_BYTES {
            let message =
                format!("an artifact in pieces has more than {HELD_LIMIT_BYTES} bytes, and is to be looked at");
            return Err(Over::Blocked(Refusal::new(Code::Blocked, message)));
        }
        if pieces::is_last(&whole) {
            self.ready.push_back(whole)
        } else {
            self.held = Some(whole)
        }
        Ok(())
    }

    /// What was said, as guardrails have made it.
    async fn looked_at(&mut self, said: Said) -> Result<Said, Refusal> {
        let has_parts = said.payload().is_some() || self.call.method == Method::ListTasks;
        if self.lookout.is_idle() || !has_parts {
            return Ok(said);
        }
        let asking = Asking {
            authority: self.authority.clone(),
            session: self.claims.session.clone(),
            origin: self.claims.origin,
            door: Door::A2a,
            effect: Effect::default(),
            token: None,
        };
        let made = self.doors.gate.guard_said(&asking, &self.agent, said.raw(), &mut self.lookout).await?;
        let unread = |problem| Refusal::new(Code::UpstreamFailed, "the answer can't be looked at").because(problem);
        Said::read(said.method(), said.form(), &made).map_err(unread)
    }

    /// The card for known callers, with the gateway in the agent's place.
    fn shown_card(&self, said: &Said) -> Result<Said, String> {
        let card = self.doors.gate.believed_card(&self.agent, said.raw()).map_err(|refusal| refusal.to_string())?;
        let card = self.face.serve(&self.doors, &card, Some(self.call.dialect.version))?;
        Said::read(Method::GetExtendedCard, self.call.form(), &card)
    }

    /// Once the agent names the task, its news are the client's.
    async fn bind(&mut self, said: &Said) -> Result<(), Refusal> {
        let Some(wanted) = self.concern.wanted().filter(|_| !self.is_bound) else { return Ok(()) };
        let made = || self.claims.task.as_ref().map(|(_, behind)| behind.clone());
        let task = if self.call.method == Method::CreatePushConfig { made() } else { said.task_id() };
        if let Some(task) = task {
            wanted.bind(&self.doors, &self.claims.session, task).await?;
            self.is_bound = true;
        }
        Ok(())
    }

    /// The same with the client's names. Of a list only what belongs to the session is left: some agents do not mind the filter.
    fn named(&self, said: &Said) -> Result<Said, String> {
        if let (Method::CreatePushConfig, Some(wanted), Some((task, _))) =
            (self.call.method, self.concern.wanted(), &self.claims.task)
        {
            return wanted.shown(task);
        }
        let said = if self.call.method == Method::ListTasks { self.own_tasks(said)? } else { said.clone() };
        let names = Names { sealer: &self.doors.transport, owner: &self.claims.session.owner, agent: &self.agent };
        let task = self.claims.task.as_ref();
        // A task may have another name here than it would be given: that of the message which it was begun by.
        said.renamed(&mut |named, id| match task.filter(|(_, behind)| named == Named::Task && behind == id) {
            Some((shown, _)) => Some(shown.clone()),
            None => names.rename(&self.claims.session, &self.claims.context, named, id),
        })
    }

    fn own_tasks(&self, page: &Said) -> Result<Said, String> {
        let members = json::members(page.raw())?;
        let tasks = json::member(&members, "tasks").map(|tasks| json::items(tasks.get())).transpose()?;
        let mut own = Vec::new();
        for task in tasks.unwrap_or_default() {
            let members = json::members(task.get())?;
            let text = |name| json::member(&members, name).and_then(json::text).map(std::borrow::Cow::into_owned);
            if text("contextId").as_deref() == Some(&self.claims.context_behind) {
                own.extend(text("id"));
            }
        }
        page.with_tasks_where(|id| own.iter().any(|own| own == id))
    }

    fn failure_named(&self, failure: &Failure) -> Failure {
        let failure = failure.renamed(&self.claims.context_behind, &self.claims.context);
        match &self.claims.task {
            Some((shown, behind)) => failure.renamed(behind, shown),
            None => failure,
        }
    }

    fn failure_event(&self, failure: &Failure) -> Bytes {
        failure.event(self.call.dialect, self.call.id.as_ref())
    }

    fn keep(&mut self, said: &Said) {
        self.kept_bytes += said.raw().len();
        match &mut self.kept {
            Some(kept) if self.kept_bytes <= KEPT_LIMIT_BYTES => kept.push(said.clone()),
            Some(_) | None => self.kept = None,
        }
    }

    /// Settles before the last thing leaves.
    async fn finish(&mut self, said: Said) -> Result<Said, Failure> {
        let answer = self.kept.take().and_then(|kept| kept::write_replies(&kept).ok());
        self.settle(Outcome::Completed, answer.map(Bytes::from)).await.map(|()| said)
    }

    /// Settles what has ended otherwise; the failure that the client is told, if it is to be told one.
    async fn end(&mut self, over: Over, has_begun: bool) -> Option<Failure> {
        let name = self.agent.name.clone();
        let fault_of = |fault: UpstreamFault| {
            let refused = fault.refusal(&name);
            let is_no_answer = matches!(fault, UpstreamFault::Garbled(_));
            let garbled = || Failure::new(Kind::InvalidAgentResponse, refused.message.as_str());
            Some(if is_no_answer { garbled() } else { refusal::failure(&refused) })
        };
        let (outcome, failure) = match over {
            Over::End if has_begun => {
                let answer = self.kept.take().and_then(|kept| kept::write_replies(&kept).ok());
                return self.settle(Outcome::Completed, answer.map(Bytes::from)).await.err();
            }
            Over::End => (Outcome::Unknown, fault_of(UpstreamFault::Garbled("it ended without an answer".to_owned()))),
            Over::Failed(failure) => (outcome_of(&failure), Some(failure)),
            Over::Fault(fault) => (fault.outcome(), fault_of(fault)),
            Over::Blocked(refused) => (Outcome::Completed, Some(refusal::failure(&refused))),
            Over::Left => (Outcome::Aborted, None),
        };
        self.settle(outcome, None).await.err().or(failure)
    }

    async fn settle(&self, outcome: Outcome, answer: Option<Bytes>) -> Result<(), Failure> {
        let is_answered = matches!(outcome, Outcome::Completed | Outcome::Failed);
        // Of an answer that is missing nobody knows whether the agent has taken the place: it stays, for news may come.
        let over = match &self.concern {
            Concern::Wanted(wanted) if is_answered && !self.is_bound => Some((&wanted.name, true)),
            Concern::Deleted(name) if is_answered => Some((name, false)),
            Concern::Wanted(_) | Concern::Deleted(_) | Concern::None | Concern::Answered(_) => None,
        };
        if let Some((name, unless_bound)) = over {
            self.doors.gate.close_push(&self.claims.session, name, unless_bound).await;
        }
        if let Some((id, true)) = self.heard.as_ref().filter(|_| self.call.method.is_sending()) {
            let task = Task { session: &self.claims.session, agent: &self.agent, id };
            self.doors.gate.task_is_left(task, &self.authority).await;
        }
        let mut end = settle(self.reply.call, outcome, answer);
        self.lookout.notes.clone().add_to(&mut end);
        let settled = self.doors.gate.settle(end).await;
        settled.map(drop).map_err(|refused| {
            tracing::error!(call = %self.reply.call, %refused, "a call of an agent could not be settled");
            refusal::failure(&refused)
        })
    }
}

/// What an agent's own error says of the call: one of the specification's means that nothing was done, but for those that say something went wrong.
fn outcome_of(failure: &Failure) -> Outcome {
    match failure.kind() {
        None | Some(Kind::Internal | Kind::InvalidAgentResponse) => Outcome::Unknown,
        Some(_) => Outcome::Failed,
    }
}

/// The answer to a call that was made before.
#[must_use]
pub fn replayed(call: &A2aCall<'_>, body: &[u8]) -> Answer {
    let not_kept = |problem: String| {
        let refused =
            Refusal::new(Code::OutcomeUnknown, "the answer of this call is not kept any more").because(problem);
        refusal::failure(&refused)
    };
    let answer = kept::read_replies(body).map_err(not_kept).and_then(|replies| {
        if call.method.is_streaming() {
            let all: Result<Vec<Bytes>, Failure> = replies.iter().map(|said| written::event(call, said)).collect();
            return all.map(|all| events(call, all.concat().into()));
        }
        let said = replies.first().ok_or_else(|| not_kept("there is none".to_owned()))?;
        written::whole(call, said).map(told)
    });
    answer.unwrap_or_else(|failure| failed(call, &failure))
}
