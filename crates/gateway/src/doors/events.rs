//! Events from outside, at the URL of the one wait that they end: whoever has the URL may post there once, and can do nothing else with it.

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName};
use portcullis_domain::admission::{EndWait, Ended};
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::{Actor, SessionId};
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::wait::{End, WaitName};
use serde::{Deserialize, Serialize};

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Doors;
use crate::doors::caller::{header_idempotency_key, text_header};

/// What stands before the token.
pub const PATH: &str = "/events/";
/// What these tokens are for.
pub const PURPOSE: &str = "event of a wait";
/// The id of an event (Standard Webhooks 1.0).
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// What a token holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ticket {
    /// The session that waits.
    pub session: SessionId,
    /// What for.
    pub wait: WaitName,
}

/// Who is meant by a token. A body is read only where there is somebody.
///
/// # Errors
///
/// [`Code::NotFound`] for a URL that the gateway has not made.
pub fn open(doors: &Doors, token: &str) -> Result<Ticket, Refusal> {
    let ticket = doors.transport.open(PURPOSE, token);
    ticket.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such event URL"))
}

/// Takes an event. It is durable before the answer: 202 for the one that ends the wait, 200 for a repetition of it.
///
/// # Errors
///
/// [`Code::WaitOver`] for an event that is late or another than the first.
pub async fn take(doors: &Doors, ticket: Ticket, headers: &HeaderMap, body: Bytes) -> Result<Answer, Refusal> {
    let Ticket { session, wait } = ticket;
    let media = text_header(headers, &CONTENT_TYPE).map(str::to_owned);
    let end = End::Event(event_id(headers, &body)?);
    let event = Some((media, Body::new(body)));
    let end = EndWait { session, name: wait, by: Actor::Gateway, end, event };
    let ended = doors.gate.journal.execute(end).await??;
    doors.gate.deliveries.notify_one();
    Ok(answer::empty(if ended == Ended::Now { 202 } else { 200 }))
}

/// Which event it is: by `webhook-id`, else `Idempotency-Key`, else its content.
///
/// # Errors
///
/// [`Code::InvalidRequest`] for an idempotency key that is none.
pub fn event_id(headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    match text_header(headers, &WEBHOOK_ID) {
        Some(id) => Ok(id.to_owned()),
        None => Ok(header_idempotency_key(headers)?.unwrap_or_else(|| format!("sha256:{}", Digest::of(body)))),
    }
}
