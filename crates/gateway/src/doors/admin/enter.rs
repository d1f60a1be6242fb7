//! Which request of the gateway's own API it is.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use portcullis_domain::refusal::{Code, Refusal};

use crate::doors::admin::{approval, grant, health, identity, ledger, policy, resolve, session, state, wait};
use crate::doors::answer::Answer;
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::path::decoded;
use crate::doors::task::check_open;

/// Answers a request that is for no other door.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let gate = &doors.gate;
    check_open(gate, &arrived.caller, doors.clock.now()).await?;
    let parts: Vec<Cow<'_, str>> = arrived.path.split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match (&arrived.method, parts.as_slice()) {
        (&Method::GET, ["metrics"]) => health::metrics(gate, &arrived.caller),
        (&Method::GET, ["api", "v1", "sessions"]) => session::list(gate, &arrived).await,
        (&Method::POST, ["api", "v1", "sessions"]) => session::open(gate, &arrived).await,
        (&Method::GET, ["api", "v1", "sessions", id]) => session::show(gate, &arrived.caller, id).await,
        (&Method::DELETE, ["api", "v1", "sessions", id]) => session::close(gate, &arrived, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "grant"]) => grant::show(gate, &arrived, id).await,
        (&Method::PUT, ["api", "v1", "sessions", id, "grant"]) => grant::replace(gate, &arrived, id).await,
        (&Method::POST, ["api", "v1", "sessions", id, "grant", "narrow"]) => grant::narrow(gate, &arrived, id).await,
        (&Method::POST, ["api", "v1", "sessions", id, "words"]) => session::say(gate, &arrived, id).await,
        (&Method::POST, ["api", "v1", "sessions", id, "labels", label, "lift"]) => {
            session::lift(gate, &arrived, id, label).await
        }
        (&Method::POST, ["api", "v1", "sessions", id, "freeze"]) => session::freeze(gate, &arrived, id).await,
        (&Method::POST, ["api", "v1", "sessions", id, "unfreeze"]) => session::unfreeze(gate, &arrived, id).await,
        (&Method::POST, ["api", "v1", "sessions", id, "calls", call, "resolve"]) => {
            resolve::call(gate, &arrived, id, call).await
        }
        (&Method::GET, ["api", "v1", "sessions", id, "waits"]) => wait::list(gate, &arrived.caller, id).await,
        (&Method::POST, ["api", "v1", "sessions", id, "waits"]) => wait::open(doors, &arrived, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "waits", name]) => {
            wait::show(gate, &arrived.caller, id, name).await
        }
        (&Method::DELETE, ["api", "v1", "sessions", id, "waits", name]) => wait::cancel(gate, &arrived, id, name).await,
        (&Method::POST, ["api", "v1", "sessions", id, "waits", name, "events"]) => {
            wait::event(gate, &arrived, id, name).await
        }
        (&Method::GET, ["api", "v1", "sessions", id, "history"]) => session::history(gate, &arrived.caller, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "entries"]) => session::entries(gate, &arrived, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "state"]) => state::list(gate, &arrived, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "state", key]) => state::get(gate, &arrived.caller, id, key).await,
        (&Method::PUT, ["api", "v1", "sessions", id, "state", key]) => state::put(gate, &arrived, id, key).await,
        (&Method::DELETE, ["api", "v1", "sessions", id, "state", key]) => state::delete(gate, &arrived, id, key).await,
        (&Method::GET, ["api", "v1", "approvals"]) => approval::list(doors, &arrived).await,
        (&Method::GET, ["api", "v1", "approvals", id]) => approval::show(doors, &arrived, id).await,
        (&Method::POST, ["api", "v1", "approvals", id, "approve"]) => approval::answer(gate, &arrived, id, true).await,
        (&Method::POST, ["api", "v1", "approvals", id, "deny"]) => approval::answer(gate, &arrived, id, false).await,
        (&Method::GET, ["api", "v1", "identity", "keys"]) => identity::list(gate, &arrived.caller).await,
        (&Method::POST, ["api", "v1", "identity", "keys"]) => identity::create(gate, &arrived).await,
        (&Method::POST, ["api", "v1", "identity", "keys", id, "rotate"]) => identity::rotate(doors, &arrived, id).await,
        (&Method::DELETE, ["api", "v1", "identity", "keys", id]) => identity::revoke(gate, &arrived, id).await,
        (&Method::POST, ["api", "v1", "identity", "signing", "rotate"]) => {
            identity::rotate_signing(gate, &arrived).await
        }
        (&Method::GET, ["api", "v1", "identity", "disabled"]) => identity::disabled(gate, &arrived.caller),
        (&Method::POST, ["api", "v1", "identity", "disabled"]) => identity::disable(gate, &arrived).await,
        (&Method::DELETE, ["api", "v1", "identity", "disabled", name]) => identity::enable(gate, &arrived, name).await,
        (&Method::GET, ["api", "v1", "ledger", "accounts"]) => ledger::accounts(gate, &arrived.caller).await,
        (&Method::GET, ["api", "v1", "policy", "versions"]) => policy::versions(gate, &arrived).await,
        (&Method::POST, ["api", "v1", "policy", "rollback"]) => policy::back(gate, &arrived).await,
        (&Method::POST, ["api", "v1", "policy", "rollforward"]) => policy::forward(gate, &arrived).await,
        (method, _) => Err(Refusal::new(Code::NotFound, format!("{method} {} is not served here", arrived.path))),
    }
}
