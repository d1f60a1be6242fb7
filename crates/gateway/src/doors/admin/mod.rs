//! The gateway's own API under `/api/v1`: sessions for their owners, everything for administrators. Errors are problem details (RFC 9457).
//!
//! Start with [`enter`]; each noun has a file.

pub mod health;
pub mod history;
pub mod identity;
pub mod ledger;
pub mod session;
pub mod state;

use std::sync::Arc;

use http::Method;
use portcullis_domain::refusal::{Code, Refusal};
use serde::Serialize;

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::{Arrived, Doors};

/// Answers a request that is for no other door.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Result<Answer, Refusal> {
    let gate = &doors.gate;
    let parts: Vec<&str> = arrived.path.split('/').skip(1).collect();
    match (&arrived.method, parts.as_slice()) {
        (&Method::GET, ["metrics"]) => health::metrics(gate, &arrived.caller),
        (&Method::GET, ["api", "v1", "sessions"]) => session::list(gate, &arrived).await,
        (&Method::POST, ["api", "v1", "sessions"]) => session::open(gate, &arrived).await,
        (&Method::GET, ["api", "v1", "sessions", id]) => session::show(gate, &arrived.caller, id).await,
        (&Method::DELETE, ["api", "v1", "sessions", id]) => session::close(gate, &arrived.caller, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "history"]) => history::show(gate, &arrived.caller, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "entries"]) => session::entries(gate, &arrived, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "state"]) => state::list(gate, &arrived.caller, id).await,
        (&Method::GET, ["api", "v1", "sessions", id, "state", key]) => state::get(gate, &arrived.caller, id, key).await,
        (&Method::PUT, ["api", "v1", "sessions", id, "state", key]) => state::put(gate, &arrived, id, key).await,
        (&Method::GET, ["api", "v1", "identity", "keys"]) => identity::list(gate, &arrived.caller),
        (&Method::POST, ["api", "v1", "identity", "keys"]) => identity::create(gate, &arrived).await,
        (&Method::DELETE, ["api", "v1", "identity", "keys", id]) => identity::revoke(gate, &arrived.caller, id).await,
        (&Method::GET, ["api", "v1", "ledger", "accounts"]) => ledger::accounts(gate, &arrived.caller).await,
        (method, _) => Err(Refusal::new(Code::NotFound, format!("{method} {} is not served here", arrived.path))),
    }
}

/// An answer in JSON. The types of the API have no maps but of text, so that writing them does not fail.
fn json(status: u16, body: &impl Serialize) -> Result<Answer, Refusal> {
    let body = serde_json::to_vec(body).map_err(|error| Refusal::new(Code::StoreUnavailable, "the answer can't be written").because(error.to_string()))?;
    Ok(answer::json(status, body))
}

/// Reads a body in JSON; an empty one stands for `{}`.
fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Refusal::new(Code::InvalidRequest, format!("the body can't be read: {error}")))
}

/// The value of a parameter of the query, not decoded: all that are read here are names or numbers.
fn parameter<'a>(arrived: &'a Arrived, name: &str) -> Option<&'a str> {
    let query = arrived.query.as_deref().unwrap_or_default();
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}
