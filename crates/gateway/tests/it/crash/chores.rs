//! What administrators do meanwhile: keys come and go, sessions are opened and closed, balances are looked at.

use std::time::Duration;

use serde_json::{Value, json};

use super::callers::{Caller, End};
use super::notes::{KeyNote, Revoked};
use super::site::GUEST;

/// How long it takes until balances are looked at again.
const PAUSE: Duration = Duration::from_millis(20);

/// Issues a key, tries it, and takes half of them back; then opens a session and closes it.
pub(super) async fn work(caller: &mut Caller) -> Result<(), End> {
    let answer = caller.admin.post("/api/v1/identity/keys", &json!({"principal": GUEST})).await?;
    let issued = answer.json();
    let (Some(id), Some(text)) = (issued["id"].as_str(), issued["key"].as_str()) else {
        return Err(End::Wrong(format!("a key is not issued: {} {}", answer.status, answer.text())));
    };
    let note = KeyNote { id: id.to_owned(), text: text.to_owned(), is_revoked: Revoked::No };
    caller.notes.lock().keys.push(note);
    if caller.chance.one_in(2) {
        revoke(caller, id).await?;
    }
    close(caller).await?;
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

async fn revoke(caller: &Caller, id: &str) -> Result<(), End> {
    let becomes = |is_revoked| {
        let mut notes = caller.notes.lock();
        notes.keys.iter_mut().filter(|note| note.id == id).for_each(|note| note.is_revoked = is_revoked);
    };
    becomes(Revoked::Perhaps);
    let answer = caller.admin.delete(&format!("/api/v1/identity/keys/{id}")).await?;
    if answer.status != 204 {
        return Err(End::Wrong(format!("a key is not taken back: {} {}", answer.status, answer.text())));
    }
    becomes(Revoked::Yes);
    Ok(())
}

async fn close(caller: &mut Caller) -> Result<(), End> {
    let name = caller.next();
    let session = caller.session_named(&name);
    let opened = caller.http.post("/api/v1/sessions", &json!({"name": name})).await?;
    let closed = caller.http.delete(&format!("/api/v1/sessions/{name}")).await?;
    if (opened.status, closed.status) != (201, 204) {
        let (opened, closed) = (opened.text(), closed.text());
        return Err(End::Wrong(format!("a session is not opened and closed: {opened} {closed}")));
    }
    caller.notes.lock().closed.push(session);
    Ok(())
}

/// No account is ever seen to hold and to have spent more than it was granted.
pub(super) async fn watch(caller: &Caller) -> Result<(), End> {
    let answer = caller.admin.get("/api/v1/ledger/accounts").await?;
    let body = answer.json();
    let accounts = body["accounts"].as_array().ok_or_else(|| End::Wrong(answer.text()))?;
    let number = |account: &Value, name: &str| account[name].as_u64();
    for account in accounts {
        let held = number(account, "held_nanodollars").zip(number(account, "spent_nanodollars"));
        let (held, spent) = held.ok_or_else(|| End::Wrong(account.to_string()))?;
        if number(account, "granted_nanodollars").is_some_and(|granted| held + spent > granted) {
            return Err(End::Wrong(format!("an account is overdrawn: {account}")));
        }
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}
