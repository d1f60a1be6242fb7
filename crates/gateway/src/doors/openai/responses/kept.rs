//! Records in the journal of their session: found for their owner, read, and written.

use bytes::Bytes;
use portcullis_domain::admission::KeepRecords;
use portcullis_domain::admission::keep_records::Write;
use portcullis_domain::authority::Authority;
use portcullis_domain::ids::{RecordId, SessionId};
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use portcullis_domain::session::records::{Part, Record, not_found};
use serde_json::Value;

use crate::doors::caller::Caller;
use crate::entropy::new_call;
use crate::life::Gate;

/// A record that is its caller's.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: RecordId,
    pub(super) session: SessionId,
    pub(super) record: Record,
}

/// Finds a record of this caller; it begins with that word, as in `resp`.
pub(super) async fn find(gate: &Gate, caller: &Caller, kind: &str, id: &str) -> Result<Found, Refusal> {
    let none = |_: String| Refusal::new(Code::NotFound, "there is no such record");
    let id: RecordId = id.parse().map_err(none)?;
    let is_kind = id.as_str().strip_prefix(kind).is_some_and(|rest| rest.starts_with('_'));
    let (looked_up, of) = (id.clone(), caller.principal.clone());
    let record = gate.journal.read(move |world| world.records.find(&of, &looked_up).cloned()).await?;
    let record = record.filter(|_| is_kind).ok_or_else(|| not_found(&id))?;
    let session = SessionId { owner: caller.principal.clone(), name: record.session.clone() };
    if !caller.may_enter(&session) {
        return Err(not_found(&id));
    }
    Ok(Found { id, session, record })
}

impl Found {
    /// The head, as it was written last, and how long it is.
    pub(super) async fn head(&self, gate: &Gate) -> Result<(Value, usize), Refusal> {
        self.body(gate, self.record.head).await
    }

    /// The items of a part that were not deleted, and how long they are.
    pub(super) async fn items(&self, gate: &Gate, part: &Part) -> Result<(Vec<Value>, usize), Refusal> {
        let (body, bytes) = self.body(gate, part.seq).await?;
        let is_there = |item: &Value| {
            let id = item.get("id").and_then(Value::as_str);
            id.is_some_and(|id| part.items.iter().any(|kept| kept.as_str() == id))
        };
        let items = body.as_array().map(Vec::as_slice).unwrap_or_default();
        Ok((items.iter().filter(|item| is_there(item)).cloned().collect(), bytes))
    }

    async fn body(&self, gate: &Gate, seq: u64) -> Result<(Value, usize), Refusal> {
        let stream = StreamId::Session(self.session.clone());
        let entry = gate.journal.entries(&stream, seq.saturating_sub(1), 1).await?.pop();
        let position = entry.map(|placed| placed.position).ok_or_else(|| not_found(&self.id))?;
        let body: Bytes = gate.journal.body(&stream, position, 0).await?.ok_or_else(|| not_found(&self.id))?;
        let value = serde_json::from_slice(&body).map_err(|error| not_found(&self.id).because(error.to_string()))?;
        Ok((value, body.len()))
    }
}

/// The command that writes these.
pub(super) fn keep(
    gate: &Gate,
    authority: &Authority,
    session: &SessionId,
    origin: Origin,
    writes: Vec<Write>,
) -> KeepRecords {
    let session_budget = gate.snapshot.load().session_budget();
    KeepRecords { authority: authority.clone(), session: session.clone(), origin, session_budget, writes }
}

/// A new id of that kind.
pub(super) fn minted(kind: &str) -> Result<RecordId, Refusal> {
    id(&format!("{kind}_{}", new_call()?))
}

/// The text as an id.
pub(super) fn id(text: &str) -> Result<RecordId, Refusal> {
    text.parse().map_err(|problem: String| Refusal::new(Code::StoreUnavailable, problem))
}

/// A body in JSON.
pub(super) fn body(value: &Value) -> Body {
    Body::new(Bytes::from(value.to_string()))
}

/// What adds these items, which have ids, to a record.
pub(super) fn extend(record: &RecordId, items: &[Value]) -> Result<Write, Refusal> {
    let ids = items.iter().map(|item| id(item.get("id").and_then(Value::as_str).unwrap_or_default()));
    let ids = ids.collect::<Result<_, _>>()?;
    Ok(Write::Extend { id: record.clone(), items: ids, body: body(&Value::Array(items.to_vec())) })
}
