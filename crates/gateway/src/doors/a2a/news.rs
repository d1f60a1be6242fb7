//! News of tasks, at the URL of the one place that they are for: whoever has the URL and its token may post news of that task there, and can do nothing else with it.

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;
use portcullis_domain::admission::{TakeNews, Taken};
use portcullis_domain::call::Door;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::push::{Push, PushName};
use portcullis_interop::a2a::webhook::{self, TOKEN_HEADER};
use portcullis_interop::a2a::{TaskState, Version};

use crate::doors::a2a::names::{Names, context_of};
use crate::doors::a2a::push::{PURPOSE, Ticket};
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Doors;
use crate::doors::caller::{header_idempotency_key, text_header};
use crate::life::task::Task;

/// The id of news, where the agent gives one (Standard Webhooks 1.0).
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// A place to which whoever has shown its token may post news.
#[derive(Debug)]
pub struct Expected {
    session: SessionId,
    push: PushName,
    known: Push,
    secret: Digest,
}

/// Looks who may post at a URL. A body is read only from those who may.
///
/// # Errors
///
/// [`Code::NotFound`] for a URL that the gateway has not made or that is over, and a token that is another one.
pub async fn open(doors: &Doors, token: &str, headers: &HeaderMap) -> Result<Expected, Refusal> {
    let Ticket { session, push } = doors.transport.open(PURPOSE, token).ok_or_else(none)?;
    let (id, name) = (session.clone(), push.clone());
    let known = doors.gate.journal.read(move |world| world.pushes.find(&id, &name).cloned()).await?;
    let known = known.ok_or_else(none)?;
    let secret = text_header(headers, &HeaderName::from_static(TOKEN_HEADER)).unwrap_or_default();
    let secret = Digest::of(secret.as_bytes());
    if secret != known.secret {
        return Err(none().because("the token is another one"));
    }
    // What the client may not call any more has no news for it.
    let chain = known.authority.chain(&session.owner);
    let agent = doors.gate.snapshot.load().agent_for(chain, &known.agent.name, Door::A2a)?;
    // Whoever is disabled says nothing either.
    doors.gate.journal.doorway().borrow().disabled.check_callee(&agent.principal, &agent.capability)?;
    Ok(Expected { session, push, known, secret })
}

/// Takes news. They are durable before the answer: 202 the first time, 200 for a repetition.
///
/// # Errors
///
/// [`Code::NotFound`] for a place that is over meanwhile, and for news of another task.
pub async fn take(doors: &Doors, expected: Expected, headers: &HeaderMap, body: &Bytes) -> Result<Answer, Refusal> {
    let Expected { session, push, known, secret } = expected;
    let unread = |problem: String| Refusal::new(Code::InvalidRequest, format!("the news can't be read: {problem}"));
    let raw = std::str::from_utf8(body).map_err(|error| unread(error.to_string()))?;
    let news = webhook::read_news(raw).map_err(unread)?;
    let names = Names { sealer: &doors.transport, owner: &session.owner, agent: &known.agent };
    if news.context_id().is_some_and(|context| context != names.context_behind(&session.name)) {
        return Err(none().because("the news are of another context"));
    }
    let task = news.task_id();
    let context = context_of(&session.name);
    let renamed = news.renamed(&mut |named, id| names.rename(&session, &context, named, id)).map_err(unread)?;
    let form = Version::read(&known.form).unwrap_or(Version::V1_0);
    let Some(told) = webhook::told(&renamed, form).map_err(unread)? else { return Ok(answer::empty(202)) };
    let id = match text_header(headers, &WEBHOOK_ID) {
        Some(id) => Some(id.to_owned()),
        None => header_idempotency_key(headers)?,
    };
    let is_last = news.state().is_some_and(TaskState::is_terminal);
    let (told, heard) = (Body::new(told.into()), (session.clone(), task.clone(), news.state()));
    let taken = doors.gate.journal.execute(TakeNews { session, push, secret, task, id, is_last, news: told }).await??;
    // What comes again says how the task was, not how it is.
    if let (Taken::Now, (session, Some(id), Some(state))) = (taken, &heard) {
        let task = Task { session, agent: &known.agent, id };
        doors.gate.heard_of(task, &known.authority, *state, doors.clock.now()).await;
    }
    doors.gate.news.notify_one();
    Ok(answer::empty(if taken == Taken::Now { 202 } else { 200 }))
}

fn none() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such place for news")
}
