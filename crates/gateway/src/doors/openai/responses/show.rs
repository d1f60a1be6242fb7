//! Responses that were kept: shown and deleted.

use portcullis_domain::admission::keep_records::Write;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use serde_json::{Value, json};

use crate::doors::answer::{self, Answer, whole_json};
use crate::doors::arrived::Arrived;
use crate::doors::once;
use crate::doors::openai::responses::kept::{Found, find, keep};
use crate::doors::openai::responses::page::Wanted;
use crate::life::Gate;

async fn found(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Found, Refusal> {
    find(gate, &arrived.caller, "resp", id).await
}

/// `GET /v1/responses/{id}`.
pub(super) async fn response(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let query = arrived.query.as_deref().unwrap_or_default();
    if query.split('&').any(|pair| pair == "stream=true") {
        let message = "only a background response can be streamed once more, and there are none here";
        return Err(Refusal::new(Code::InvalidRequest, message).about("stream"));
    }
    let (head, _) = found(gate, arrived, id).await?.head(gate).await?;
    Ok(answer::json(200, head.get("response").unwrap_or(&Value::Null).to_string()))
}

/// `GET /v1/responses/{id}/input_items`.
pub(super) async fn input_items(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(arrived)?;
    let (mut head, _) = found(gate, arrived, id).await?.head(gate).await?;
    let items = match head.get_mut("input").map(Value::take) {
        Some(Value::Array(items)) => items,
        Some(_) | None => Vec::new(),
    };
    Ok(answer::json(200, wanted.page(&items)?.to_string()))
}

/// `DELETE /v1/responses/{id}`: what goes on from it can't be answered any more. The record of it stays in the journal.
pub(super) async fn delete(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let found = match found(gate, arrived, id).await {
        Ok(found) => found,
        Err(refusal) => return once::again(gate, arrived, None).await?.ok_or(refusal),
    };
    let body = json!({"id": found.id, "object": "response", "deleted": true}).to_string();
    let drop = Write::Drop { id: found.id, item: None };
    let command = keep(gate, &arrived.caller.authority, &found.session, Origin::Named, vec![drop]);
    // Under a key of the caller, not of the session: which one it was is not known any more when the key comes again.
    once::answered(gate, arrived, None, command, move |()| whole_json(200, body.clone())).await
}

/// `POST /v1/responses/{id}/cancel`: there are no background responses, which are the only ones that can be cancelled.
pub(super) async fn cancel(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    found(gate, arrived, id).await?;
    let message = "only a response that was created with `background` set to true can be cancelled: close the connection of any other one";
    Err(Refusal::new(Code::InvalidRequest, message).about("response_id"))
}
