//! `POST /oauth/token`: an agent makes a task token that is worth less out of its own, for itself or for the agent that it hands the task on to (RFC 8693).
//!
//! Besides the parameters of the standard there are `expires_in`, in seconds, `budget`, in US dollars, and `grant`, a grant in JSON that the task must be within besides those that it is within already.

use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderValue};
use portcullis_domain::admission::{Delegate, Delegation};
use portcullis_domain::authority::Authority;
use portcullis_domain::grant::Grant;
use portcullis_domain::ids::{PrincipalName, SessionId, TaskId};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::refusal::Refusal;
use portcullis_domain::scope::Scope;
use portcullis_domain::time::Timestamp;
use serde_json::json;

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Doors;
use crate::doors::caller::{Caller, TASK};
use crate::doors::oauth::form::Form;
use crate::doors::oauth::refuse::{Denial, Error};
use crate::entropy::new_call;
use crate::identity::certificates::Peer;
use crate::identity::task::{TaskToken, expiry};
use crate::snapshot::Snapshot;

/// The one grant that there is.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What is handed out.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// What it may be called as well.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The largest request, in bytes.
pub const REQUEST_LIMIT_BYTES: usize = 64 << 10;

/// Answers an exchange.
pub async fn exchange(doors: &Doors, headers: &HeaderMap, peer: Option<&Peer>, body: &[u8]) -> Answer {
    exchanged(doors, headers, peer, body).await.unwrap_or_else(|denial| denial.answer())
}

async fn exchanged(doors: &Doors, headers: &HeaderMap, peer: Option<&Peer>, body: &[u8]) -> Result<Answer, Denial> {
    let form = Form::read(headers, body)?;
    if form.get("grant_type") != Some(GRANT_TYPE) {
        return Err(Denial::new(Error::UnsupportedGrantType, format!("the one grant is `{GRANT_TYPE}`")));
    }
    let snapshot = doors.gate.snapshot.load_full();
    let caller = subject(doors, &snapshot, headers, peer, &form).await?;
    let Some(session) = caller.bound.clone() else {
        return Err(Denial::new(Error::InvalidGrant, "the subject token is no task token"));
    };
    let command = wanted(doors, &snapshot, &caller, &session, &form)?;
    let asked_by = command.to.as_ref().map(|_| caller.chain().actor().clone());
    let number = command.token;
    let unwritten = |refusal: Refusal| Denial::of_refusal(&refusal);
    let delegated = doors.gate.journal.execute(command).await.map_err(Refusal::from).flatten();
    let Delegation { authority, budget } = delegated.map_err(unwritten)?;
    let lasting = lasting_s(&authority, doors.clock.now());
    let scope = authority.scope.clone();
    let token = TaskToken { number, session, authority, call: None, asked_by };
    let token = doors.gate.written(&token);
    let token = token.as_ref().and_then(|token| token.to_str().ok());
    let token = token.ok_or_else(|| Denial::new(Error::Unavailable, "no token can be made"))?;
    let mut answer = json!({
        "access_token": token, "issued_token_type": JWT, "token_type": "Bearer", "expires_in": lasting,
    });
    if let Some(members) = answer.as_object_mut() {
        members.extend(scope.map(|scope| ("scope".to_owned(), json!(scope))));
        members.extend(budget.map(|budget| ("budget".to_owned(), json!(decimal(budget)))));
    }
    Ok(answer::with_header(answer::json(200, answer.to_string()), CACHE_CONTROL, "no-store"))
}

/// Who hands the task on: the agent that the subject token was handed to. What it shows of itself, in `Authorization` or by a certificate, must then be its own.
async fn subject(
    doors: &Doors,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    peer: Option<&Peer>,
    form: &Form,
) -> Result<Caller, Denial> {
    for (name, is_needed) in [("subject_token_type", true), ("requested_token_type", false)] {
        let is_known = form.get(name).map_or(!is_needed, |kind| matches!(kind, JWT | ACCESS_TOKEN));
        if !is_known {
            return Err(Denial::invalid(format!("`{name}` is `{JWT}` or `{ACCESS_TOKEN}`")));
        }
    }
    for name in ["actor_token", "resource"] {
        if form.get(name).is_some() {
            return Err(Denial::invalid(format!("`{name}` is not taken: name the agent in `audience`")));
        }
    }
    let token = form.get("subject_token").ok_or_else(|| Denial::invalid("`subject_token` is missing"))?;
    let invalid = |error| Denial::new(error, "the token is not valid");
    let mut shown = HeaderMap::new();
    let own = headers.get(AUTHORIZATION).cloned();
    let (name, text) =
        if own.is_some() { (TASK, token.to_owned()) } else { (AUTHORIZATION, format!("Bearer {token}")) };
    let mut value = HeaderValue::from_str(&text).map_err(|_| invalid(Error::InvalidGrant))?;
    value.set_sensitive(true);
    shown.insert(name, value);
    let error = if own.is_some() { Error::InvalidClient } else { Error::InvalidGrant };
    shown.extend(own.map(|own| (AUTHORIZATION, own)));
    let caller = doors.listen_to(&shown, peer, snapshot).await.map_err(|refusal| {
        tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "refused");
        invalid(error)
    })?;
    if !snapshot.has_caller(caller.chain()) {
        return Err(invalid(error));
    }
    let keys = doors.gate.journal.keys();
    if caller.own.as_ref().and_then(|own| keys.find(own)).is_some_and(|own| !own.scope.has_exchange()) {
        return Err(Denial::new(Error::UnauthorizedClient, "this key is for other doors, and `api` is none of them"));
    }
    Ok(caller)
}

fn wanted(
    doors: &Doors,
    snapshot: &Snapshot,
    caller: &Caller,
    session: &SessionId,
    form: &Form,
) -> Result<Delegate, Denial> {
    let audience = form.get("audience").filter(|name| *name != snapshot.issuer(&doors.gate.signing));
    let to = audience.map(|name| next(snapshot, caller, name)).transpose()?;
    let scope = form.get("scope").map(str::parse::<Scope>).transpose();
    let scope = scope.map_err(|problem| Denial::new(Error::InvalidScope, problem))?;
    let wanted_s = match form.get("expires_in").map(str::parse::<u64>) {
        None => None,
        Some(Ok(seconds)) if seconds > 0 => Some(seconds),
        Some(_) => return Err(Denial::invalid("`expires_in` is a number of seconds")),
    };
    let (now, most_s) = (doors.clock.now(), snapshot.config.identity.task_token_s);
    let made = || -> Result<_, Refusal> { Ok((new_call()?, new_call()?)) };
    let (token, task) = made().map_err(|refusal| Denial::of_refusal(&refusal))?;
    let task: TaskId = task.to_string().parse().map_err(|problem: String| Denial::new(Error::Unavailable, problem))?;
    let budget = form.get("budget").map(|text| text.parse::<Nanodollars>()).transpose();
    let budget = budget.map_err(|problem| Denial::invalid(format!("`budget`: {problem}")))?;
    let within = form.get("grant").map(serde_json::from_str::<Grant>).transpose();
    let within = within.map_err(|problem| Denial::invalid(format!("`grant`: {problem}")))?;
    Ok(Delegate {
        authority: caller.authority.clone(),
        session: session.clone(),
        token,
        to,
        scope,
        expires_at: expiry(&caller.authority, now, wanted_s.map_or(most_s, |seconds| seconds.min(most_s))),
        until: wanted_s.map(|seconds| Timestamp(now.0.saturating_add(seconds.saturating_mul(1_000_000)))),
        budget: budget.map(|amount| (task, amount)),
        within,
    })
}

/// The agent of that name, if the chain may call it.
fn next(snapshot: &Snapshot, caller: &Caller, name: &str) -> Result<PrincipalName, Denial> {
    let shown = snapshot.agent_shown(caller.chain(), name);
    let none = || Denial::new(Error::InvalidTarget, format!("there is no agent `{name}`"));
    shown.map(|agent| agent.principal.clone()).ok_or_else(none)
}

fn lasting_s(authority: &Authority, now: Timestamp) -> u64 {
    authority.expires_at.map_or(0, |expiry| expiry.0.saturating_sub(now.0) / 1_000_000)
}

/// An amount in US dollars, as it is asked for.
fn decimal(amount: Nanodollars) -> String {
    amount.to_string().trim_start_matches('$').to_owned()
}
