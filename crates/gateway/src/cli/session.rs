//! `portcullis session …`.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::api::{Api, text};
use crate::cli::arguments::{Common, Resolution, Session};
use crate::cli::exit::Exit;
use crate::cli::grant;
use crate::cli::print::{self, said};

pub(super) async fn run(common: &Common, command: Session) -> Result<(), Exit> {
    match command {
        Session::List { remote } => list(common, &Api::open(common, &remote)?).await,
        Session::Show { id, remote } => show(common, &Api::open(common, &remote)?, &id).await,
        Session::Open { name, grant: file, remote } => {
            grant::open(common, &Api::open(common, &remote)?, name.as_deref(), file.as_deref()).await
        }
        Session::Grant { command } => grant::run(common, command).await,
        Session::Freeze { id, reason, remote } => {
            let api = Api::open(common, &remote)?;
            api.post(&format!("/api/v1/sessions/{id}/freeze"), &json!({"reason": reason})).await?;
            said(common, &json!({"session": id, "status": "frozen"}), &format!("session {id} is frozen"));
            Ok(())
        }
        Session::Say { id, words, remote } => {
            let api = Api::open(common, &remote)?;
            api.post(&format!("/api/v1/sessions/{id}/words"), &json!({"words": words})).await?;
            said(common, &json!({"session": id, "noted": true}), &format!("noted in session {id}"));
            Ok(())
        }
        Session::Lift { id, label, reason, remote } => {
            let path = format!("/api/v1/sessions/{id}/labels/{label}/lift");
            Api::open(common, &remote)?.post(&path, &json!({"reason": reason})).await?;
            said(
                common,
                &json!({"session": id, "lifted": label}),
                &format!("session {id} has no label {label} any more"),
            );
            Ok(())
        }
        Session::Unfreeze { id, remote } => {
            Api::open(common, &remote)?.post(&format!("/api/v1/sessions/{id}/unfreeze"), &json!({})).await?;
            said(common, &json!({"session": id, "status": "active"}), &format!("session {id} goes on"));
            Ok(())
        }
        Session::Resolve { id, call, outcome, result, remote } => {
            let body = resolution(outcome, result.as_deref())?;
            resolve(common, &Api::open(common, &remote)?, (&id, &call), &body).await
        }
    }
}

async fn resolve(common: &Common, api: &Api, (id, call): (&str, &str), body: &Value) -> Result<(), Exit> {
    api.post(&format!("/api/v1/sessions/{id}/calls/{call}/resolve"), body).await?;
    said(common, &json!({"call": call, "resolved": true}), &format!("call {call} is resolved"));
    Ok(())
}

fn resolution(outcome: Resolution, result: Option<&Path>) -> Result<Value, Exit> {
    let outcome = match outcome {
        Resolution::Completed => "completed",
        Resolution::Failed => "failed",
    };
    let Some(path) = result else { return Ok(json!({"outcome": outcome})) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exit::io(format!("`{}` can't be read: {error}", path.display())))?;
    let result: Value = serde_json::from_str(&text)
        .map_err(|error| Exit::config(format!("`{}` is no JSON: {error}", path.display())))?;
    Ok(json!({"outcome": outcome, "result": result}))
}

async fn list(common: &Common, api: &Api) -> Result<(), Exit> {
    let mut sessions: Vec<Value> = Vec::new();
    loop {
        let after = sessions.last().map(|last| text(last, "/id")).unwrap_or_default();
        let page = api.get(&format!("/api/v1/sessions?after={after}")).await?;
        let page = page.get("sessions").and_then(Value::as_array).cloned().unwrap_or_default();
        if page.is_empty() {
            break;
        }
        sessions.extend(page);
    }
    if common.json {
        print::json(&json!({"sessions": sessions}));
    } else {
        let row = |session: &Value| {
            ["/id", "/status", "/calls", "/refused", "/account/spent", "/last_at"]
                .map(|member| text(session, member))
                .to_vec()
        };
        print::table(&["SESSION", "STATUS", "CALLS", "REFUSED", "SPENT", "LAST"], sessions.iter().map(row));
    }
    Ok(())
}

async fn show(common: &Common, api: &Api, id: &str) -> Result<(), Exit> {
    let session = api.get(&format!("/api/v1/sessions/{id}")).await?;
    let history = api.get(&format!("/api/v1/sessions/{id}/history")).await?;
    let state = api.get(&format!("/api/v1/sessions/{id}/state")).await?;
    if common.json {
        print::json(&json!({"session": session, "history": history.get("messages"), "state": state.get("values")}));
        return Ok(());
    }
    print::line(&format!(
        "{}  {}  opened {}  last {}",
        text(&session, "/id"),
        text(&session, "/status"),
        text(&session, "/opened_at"),
        text(&session, "/last_at")
    ));
    print::line(&format!(
        "{} calls, {} refused, spent {}",
        text(&session, "/calls"),
        text(&session, "/refused"),
        text(&session, "/account/spent")
    ));
    for value in state.get("values").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("state {} at version {}", text(value, "/key"), text(value, "/version")));
    }
    for call in session.get("unknown_calls").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!("call {} may or may not have taken effect", call.as_str().unwrap_or_default()));
    }
    print::line("");
    for message in history.get("messages").and_then(Value::as_array).into_iter().flatten() {
        print_message(message);
    }
    Ok(())
}

fn print_message(message: &Value) {
    let content = text(message, "/content");
    if content != "-" && !content.is_empty() {
        print::line(&format!("{:>10}  {content}", text(message, "/role")));
    }
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        print::line(&format!(
            "{:>10}  → {}({})",
            text(message, "/role"),
            text(call, "/function/name"),
            text(call, "/function/arguments")
        ));
    }
}
