//! Which session and which tasks a call is about, as far as its sender may say so.

use portcullis_domain::ids::{SessionId, SessionName};
use portcullis_domain::session::Origin;
use portcullis_interop::a2a::{A2aCall, Change, Edits, Failure, Kind, News, Webhook, refusal};

use crate::doors::a2a::names::{Names, context_of, no_task, session_of};
use crate::doors::caller::{Caller, session_or_minted};

/// What a call is about.
#[derive(Debug)]
pub struct Claims {
    /// The session.
    pub session: SessionId,
    /// Whether the caller named it.
    pub origin: Origin,
    /// What the client knows the session by.
    pub context: String,
    /// What the agent knows it by.
    pub context_behind: String,
    /// The task as the client named it, and the agent's id for it.
    pub task: Option<(String, String)>,
}

impl Claims {
    /// Reads them. The path or the header names the session first, then the task, then the context; where several do, they must agree. What the named task is, is known
    /// already where it is a message that was `parked`.
    ///
    /// # Errors
    ///
    /// What the client is told.
    pub fn read(
        call: &A2aCall<'_>,
        caller: &Caller,
        named: Option<SessionId>,
        names: Names<'_>,
        parked: Option<(SessionName, String)>,
    ) -> Result<Self, Failure> {
        let behind = |shown: &str| parked.map_or_else(|| names.task_behind(shown), Ok);
        let task = call.task_id().map(|shown| behind(&shown).map(|behind| (shown, behind))).transpose()?;
        let context = call.context_id();
        let claimed = context.as_deref().map(session_of).transpose()?;
        let differ = |message: &str| Failure::new(Kind::InvalidParams, message).with("parameter", "contextId");
        if let (Some(named), Some((shown, (session, _)))) = (&named, &task)
            && named.name != *session
        {
            return Err(no_task(shown));
        }
        if let (Some(named), Some(claimed)) = (&named, &claimed)
            && named.name != *claimed
        {
            return Err(differ("`contextId` names another session than the path or `Portcullis-Session`"));
        }
        if let (Some((_, (session, _))), Some(claimed)) = (&task, &claimed)
            && session != claimed
        {
            return Err(differ("the task does not belong to this `contextId`"));
        }
        let name = task.as_ref().map(|(_, (session, _))| session.clone()).or(claimed);
        let own = |name| SessionId { owner: caller.principal.clone(), name };
        let chosen = session_or_minted(caller, named.or_else(|| name.map(own)));
        let (session, origin) = chosen.map_err(|refused| refusal::failure(&refused))?;
        let context_behind = names.context_behind(&session.name);
        let task = task.map(|(shown, (_, behind))| (shown, behind));
        let context = context.unwrap_or_else(|| context_of(&session.name));
        Ok(Self { session, origin, context, context_behind, task })
    }

    /// The parameters with the agent's own ids, and with the gateway's place for news where one is asked for. A reference to what is no task of the caller's at this
    /// agent would mean nothing to the agent, and is left out.
    ///
    /// # Errors
    ///
    /// What the client is told.
    pub fn params(
        &self,
        call: &A2aCall<'_>,
        names: Names<'_>,
        webhook: Option<Webhook<'_>>,
        push: Option<&str>,
    ) -> Result<String, Failure> {
        let references = call.reference_task_ids();
        let known = references.iter().filter_map(|shown| names.task_behind(shown).ok().map(|(_, behind)| behind));
        let known: Vec<String> = known.collect();
        let edits = Edits {
            context_id: Change::Put(&self.context_behind),
            task_id: self.task.as_ref().map_or(Change::Keep, |(_, behind)| Change::Put(behind)),
            reference_task_ids: (!references.is_empty()).then_some(known.as_slice()),
            news: webhook.map_or(News::Nowhere, News::To),
            push_config_id: push.map_or(Change::Keep, Change::Put),
            ..Edits::default()
        };
        call.edited(&edits).map(std::borrow::Cow::into_owned)
    }
}
