//! Completions: whole and in pieces, in sessions named by header or path and in minted ones, with calls that policy denies, and left in the middle.

use std::time::Duration;

use portcullis_domain::ids::SessionId;
use portcullis_testkit::http::EventStream;
use serde_json::{Value, json};

use super::callers::{Caller, End};
use super::notes::ChatNote;
use super::site::POOR;

/// A completion that is to be asked for.
struct Asking {
    path: String,
    session: Option<SessionId>,
    body: String,
    /// The first line of the answer, if it is one of plain text.
    marker: Option<String>,
}

/// One completion as a whole.
pub(super) async fn whole(caller: &mut Caller) -> Result<(), End> {
    let asking = asking(caller, false);
    let patience = caller.chance.one_in(15).then(|| Duration::from_millis(caller.chance.below(12)));
    let answer = async { begin(caller, &asking).await?.whole().await.map_err(End::from) };
    let answer = match patience {
        None => answer.await?,
        Some(patience) => match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer?,
            Err(_) => return left(caller),
        },
    };
    let told = |name: &str| answer.header(name).map(str::to_owned);
    let (call, session) = (told("portcullis-call"), told("portcullis-session"));
    match answer.status {
        200 if answer.json()["choices"][0]["finish_reason"].is_string() => note(caller, &asking, call, session),
        402 if caller.principal == POOR => exhausted(caller),
        status => Err(End::Wrong(format!("{status} {}", answer.text()))),
    }
}

/// One completion in pieces. It is acknowledged with its finish reason, which is the last that a client needs.
pub(super) async fn stream(caller: &mut Caller) -> Result<(), End> {
    let asking = asking(caller, true);
    let leaves_after = caller.chance.one_in(12).then(|| caller.chance.below(8));
    let mut stream = begin(caller, &asking).await?;
    if !stream.is_events() {
        let answer = stream.whole().await?;
        let is_exhausted = answer.status == 402 && caller.principal == POOR;
        return if is_exhausted { exhausted(caller) } else { Err(End::Wrong(answer.text())) };
    }
    let told = |name: &str| stream.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (call, session) = (told("portcullis-call"), told("portcullis-session"));
    let mut events = 0;
    let mut is_done = false;
    while let Some(event) = stream.next_event().await? {
        events += 1;
        if event.data == "[DONE]" {
            is_done = true;
        } else if is_finish(&event.data)? {
            note(caller, &asking, call.clone(), session.clone())?;
        }
        if leaves_after.is_some_and(|limit| events > limit) {
            return left(caller);
        }
    }
    if is_done { Ok(()) } else { Err(End::Wrong("a stream ended properly and without `[DONE]`".to_owned())) }
}

fn is_finish(data: &str) -> Result<bool, End> {
    let chunk: Value = serde_json::from_str(data).map_err(|error| End::Wrong(format!("`{data}`: {error}")))?;
    if chunk.get("error").is_some() {
        return Err(End::Wrong(data.to_owned()));
    }
    Ok(chunk["choices"][0]["finish_reason"].is_string())
}

async fn begin(caller: &Caller, asking: &Asking) -> Result<EventStream, End> {
    let name = asking.session.as_ref().filter(|_| !asking.path.starts_with("/s/")).map(|session| session.name.as_str());
    let headers: Vec<(&str, &str)> = name.map(|name| ("portcullis-session", name)).into_iter().collect();
    Ok(caller.http.stream("POST", &asking.path, &headers, Some(asking.body.clone())).await?)
}

fn asking(caller: &mut Caller, is_stream: bool) -> Asking {
    let name = caller.next();
    let denied = format!("SAY I pay {name}\nCALL claims__approve_payment {{\"claim_id\":\"{name}\",\"amount\":50000}}");
    let (script, is_plain) = match caller.chance.below(10) {
        0 => (denied, false),
        1 => (format!("I insist.\n{denied}"), false),
        2 => (format!("SAY I look up {name}\nCALL claims__policy_lookup {{\"claim_id\":\"{name}\"}}"), false),
        3..6 => (format!("SAY done {name}\nSLOW 8 2"), true),
        _ => (format!("SAY done {name}"), true),
    };
    let mut request = json!({"model": "scripted", "messages": [{"role": "user", "content": script}]});
    if is_stream {
        request["stream"] = json!(true);
        if caller.chance.one_in(2) {
            request["stream_options"] = json!({"include_usage": true});
        }
    }
    let session = (!caller.chance.one_in(6)).then(|| caller.session());
    let path = match &session {
        Some(session) if caller.chance.one_in(2) => format!("/s/{}/v1/chat/completions", session.name),
        Some(_) | None => "/v1/chat/completions".to_owned(),
    };
    Asking { path, session, body: request.to_string(), marker: is_plain.then(|| format!("done {name}")) }
}

fn note(caller: &Caller, asking: &Asking, call: Option<String>, session: Option<String>) -> Result<(), End> {
    let call = call.and_then(|call| call.parse().ok());
    let (Some(call), Some(session)) = (call, session) else {
        return Err(End::Wrong("an answer does not name its call and its session".to_owned()));
    };
    let session = caller.session_named(&session);
    if asking.session.as_ref().is_some_and(|asked| *asked != session) {
        return Err(End::Wrong(format!("a call was made in `{session}`, which is another session than was named")));
    }
    let note = ChatNote { call, session, marker: asking.marker.clone(), round: caller.round };
    caller.notes.lock().chats.push(note);
    Ok(())
}

fn exhausted(caller: &Caller) -> Result<(), End> {
    caller.notes.lock().exhausted += 1;
    Ok(())
}

fn left(caller: &Caller) -> Result<(), End> {
    caller.notes.lock().left += 1;
    Ok(())
}
