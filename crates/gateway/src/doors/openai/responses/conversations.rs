//! Conversations: items that outlast a response, under an id of their own.

use std::sync::Arc;

use portcullis_domain::admission::keep_records::Write;
use portcullis_domain::ids::RecordId;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use portcullis_domain::session::records::{ITEMS_LIMIT, Part, not_found};
use portcullis_interop::llm::responses::input;
use portcullis_interop::llm::responses::request::{check_metadata, object};
use serde_json::{Map, Value, json};

use crate::doors::answer::{self, Answer, SESSION, whole_json};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{header_idempotency_key, session_of_key};
use crate::doors::once;
use crate::doors::openai::responses::context::Room;
use crate::doors::openai::responses::kept::{self, Found, body, extend, find, keep};
use crate::doors::openai::responses::page::{Chosen, Wanted, listed};
use crate::life::Gate;

async fn found(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Found, Refusal> {
    find(gate, &arrived.caller, "conv", id).await
}

/// `POST /v1/conversations`.
pub(super) async fn create(doors: &Arc<Doors>, arrived: &Arrived) -> Result<Answer, Refusal> {
    let gate = &doors.gate;
    let wanted = wanted(arrived, &["items", "metadata"])?;
    let key = header_idempotency_key(&arrived.headers)?;
    let (session, origin) = session_of_key(&arrived.caller, arrived.session.clone(), key.as_deref())?;
    let id = kept::minted("conv")?;
    let items = new_items(&wanted)?;
    let conversation = json!({
        "id": id,
        "object": "conversation",
        "created_at": doors.clock.now().0 / 1_000_000,
        "metadata": wanted.get("metadata").filter(|metadata| !metadata.is_null()).unwrap_or(&json!({})),
    });
    let mut writes = vec![Write::Put { id: id.clone(), is_lasting: true, head: body(&conversation) }];
    if !items.is_empty() {
        writes.push(extend(&id, &items)?);
    }
    let command = keep(gate, &arrived.caller.authority, &session, origin, writes);
    let text = conversation.to_string();
    let answer =
        once::answered(gate, arrived, Some(&session), command, move |()| whole_json(200, text.clone())).await?;
    Ok(answer::with_header(answer, SESSION, session.name.as_str()))
}

/// `GET /v1/conversations/{id}`.
pub(super) async fn show(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let (head, _) = found(gate, arrived, id).await?.head(gate).await?;
    Ok(answer::json(200, head.to_string()))
}

/// `POST /v1/conversations/{id}`: other metadata.
pub(super) async fn update(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let wanted = wanted(arrived, &["metadata"])?;
    let found = match found(gate, arrived, id).await {
        Ok(found) => found,
        Err(refusal) => return once::again(gate, arrived, None).await?.ok_or(refusal),
    };
    let (mut head, _) = found.head(gate).await?;
    if let (Some(head), Some(metadata)) = (head.as_object_mut(), wanted.get("metadata")) {
        let metadata = if metadata.is_null() { json!({}) } else { metadata.clone() };
        head.insert("metadata".to_owned(), metadata);
    }
    let put = Write::Put { id: found.id.clone(), is_lasting: true, head: body(&head) };
    changed(gate, arrived, &found, put, head).await
}

/// `DELETE /v1/conversations/{id}`. The record of it stays in the journal.
pub(super) async fn delete(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let found = match found(gate, arrived, id).await {
        Ok(found) => found,
        Err(refusal) => return once::again(gate, arrived, None).await?.ok_or(refusal),
    };
    let drop = Write::Drop { id: found.id.clone(), item: None };
    let said = json!({"id": found.id, "object": "conversation.deleted", "deleted": true});
    changed(gate, arrived, &found, drop, said).await
}

/// `POST /v1/conversations/{id}/items`.
pub(super) async fn add(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let wanted = wanted(arrived, &["items"])?;
    let found = match found(gate, arrived, id).await {
        Ok(found) => found,
        Err(refusal) => return once::again(gate, arrived, None).await?.ok_or(refusal),
    };
    let items = new_items(&wanted)?;
    let (Some(first), Some(last)) = (items.first(), items.last()) else {
        return Err(Refusal::new(Code::InvalidRequest, "`items` is a list of at least one item").about("items"));
    };
    let said = json!({
        "object": "list", "data": items, "first_id": first.get("id"), "last_id": last.get("id"), "has_more": false
    });
    let extend = extend(&found.id, &items)?;
    changed(gate, arrived, &found, extend, said).await
}

/// `GET /v1/conversations/{id}/items`.
pub(super) async fn items(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let wanted = Wanted::of(arrived)?;
    let found = found(gate, arrived, id).await?;
    Ok(answer::json(200, page(gate, &found, &wanted).await?.to_string()))
}

/// A page of a conversation, of which only what is on it is read. It is a shorter one where it would be larger than a request may be.
async fn page(gate: &Gate, found: &Found, wanted: &Wanted) -> Result<Value, Refusal> {
    let parts = &found.record.parts;
    let ids = parts.iter().flat_map(|part| &part.items).map(ToString::to_string);
    let Chosen { ids, mut has_more } = wanted.choose(ids.collect())?;
    let (mut data, mut room, mut rest) = (Vec::new(), Room::of(gate), ids.as_slice());
    while let Some(first) = rest.first() {
        let holds = |part: &Part, id: &String| part.items.iter().any(|item| item.as_str() == id);
        let Some(part) = parts.iter().find(|part| holds(part, first)) else { break };
        let (here, after) = rest.split_at(rest.iter().take_while(|id| holds(part, id)).count());
        let (items, bytes) = found.items(gate, part).await?;
        if room.take(bytes).is_err() && !data.is_empty() {
            has_more = true;
            break;
        }
        let find = |wanted: &String| {
            items.iter().find(|item| item.get("id").and_then(Value::as_str) == Some(wanted.as_str())).cloned()
        };
        data.extend(here.iter().filter_map(find));
        rest = after;
    }
    Ok(listed(&data, has_more))
}

/// `GET /v1/conversations/{id}/items/{item}`.
pub(super) async fn item(gate: &Gate, arrived: &Arrived, id: &str, item: &str) -> Result<Answer, Refusal> {
    let found = found(gate, arrived, id).await?;
    let item = read_item(item)?;
    let part = found.record.parts.iter().find(|part| part.items.contains(&item)).ok_or_else(|| not_found(&item))?;
    let (items, _) = found.items(gate, part).await?;
    let is_it = |other: &&Value| other.get("id").and_then(Value::as_str) == Some(item.as_str());
    let shown = items.iter().find(is_it).ok_or_else(|| not_found(&item))?;
    Ok(answer::json(200, shown.to_string()))
}

/// `DELETE /v1/conversations/{id}/items/{item}`: the answer is the conversation.
pub(super) async fn delete_item(gate: &Gate, arrived: &Arrived, id: &str, item: &str) -> Result<Answer, Refusal> {
    let found = match found(gate, arrived, id).await {
        Ok(found) => found,
        Err(refusal) => return once::again(gate, arrived, None).await?.ok_or(refusal),
    };
    let (head, _) = found.head(gate).await?;
    let drop = Write::Drop { id: found.id.clone(), item: Some(read_item(item)?) };
    changed(gate, arrived, &found, drop, head).await
}

async fn changed(gate: &Gate, arrived: &Arrived, found: &Found, write: Write, said: Value) -> Result<Answer, Refusal> {
    let command = keep(gate, &arrived.caller.authority, &found.session, Origin::Named, vec![write]);
    let text = said.to_string();
    // Under a key of the caller, not of the session: which one it was is not known any more when the conversation is gone and the key comes again.
    once::answered(gate, arrived, None, command, move |()| whole_json(200, text.clone())).await
}

/// The body, which has only members of these names.
fn wanted(arrived: &Arrived, names: &[&str]) -> Result<Map<String, Value>, Refusal> {
    let body = if arrived.body.is_empty() { b"{}" } else { &arrived.body[..] };
    let wanted = object(body)?;
    if let Some(name) = wanted.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(Refusal::new(Code::InvalidRequest, format!("`{name}` is not served here")).about(name));
    }
    check_metadata(wanted.get("metadata"))?;
    Ok(wanted)
}

/// The items of the body, each with an id of its own.
fn new_items(wanted: &Map<String, Value>) -> Result<Vec<Value>, Refusal> {
    let items = wanted.get("items").filter(|items| !items.is_string());
    let items = input::items(items).map_err(|refusal| {
        let about = refusal.parameter.clone().unwrap_or_default().replacen("input", "items", 1);
        refusal.about(about)
    })?;
    if items.len() > ITEMS_LIMIT {
        return Err(Refusal::new(Code::TooLarge, format!("there are more than {ITEMS_LIMIT} items")).about("items"));
    }
    Ok(input::kept(&items, kept::minted("items")?.as_str()))
}

fn read_item(item: &str) -> Result<RecordId, Refusal> {
    item.parse().map_err(|_: String| Refusal::new(Code::NotFound, "there is no such item"))
}
