//! `portcullis identity key create|generate|rotate|list|revoke`, `identity signing rotate` and `identity disable|enable|disabled`.

use serde_json::{Value, json};

use crate::cli::api::{Api, text};
use crate::cli::arguments::{Common, Identity, Key, Remote, Signing};
use crate::cli::exit::Exit;
use crate::cli::print::{self, said};
use crate::clock::{Clock as _, SystemClock};
use crate::entropy;
use crate::identity::declared;

const DAY_US: u64 = 86_400_000_000;

pub(super) async fn run(common: &Common, command: Identity) -> Result<(), Exit> {
    match command {
        Identity::Key { command } => key(common, command).await,
        Identity::Signing { command: Signing::Rotate { remote } } => rotate(common, &remote).await,
        Identity::Disable { name, reason, remote } => {
            let body = json!({"name": name, "reason": reason});
            let done = Api::open(common, &remote)?.post("/api/v1/identity/disabled", &body).await?;
            if done.get("is_known") == Some(&Value::Bool(false)) {
                print::error_line(&format!(
                    "nobody knows `{name}`; should somebody come by that name, they may do nothing"
                ));
            }
            said(common, &done, &format!("{name} may do nothing any more"));
            Ok(())
        }
        Identity::Enable { name, remote } => {
            Api::open(common, &remote)?.delete(&format!("/api/v1/identity/disabled/{name}")).await?;
            said(common, &json!({"name": name, "enabled": true}), &format!("{name} may act again"));
            Ok(())
        }
        Identity::Disabled { remote } => {
            let listed = Api::open(common, &remote)?.get("/api/v1/identity/disabled").await?;
            if common.json {
                print::json(&listed);
            } else {
                let row = |one: &Value| ["/principal", "/since"].map(|member| text(one, member)).to_vec();
                let all = listed.get("disabled").and_then(Value::as_array).into_iter().flatten();
                print::table(&["PRINCIPAL", "SINCE"], all.map(row));
            }
            Ok(())
        }
    }
}

async fn rotate(common: &Common, remote: &Remote) -> Result<(), Exit> {
    let rotated = Api::open(common, remote)?.post("/api/v1/identity/signing/rotate", &json!({})).await?;
    said(common, &rotated, &format!("signing key {} is in use", text(&rotated, "/generation")));
    Ok(())
}

async fn key(common: &Common, command: Key) -> Result<(), Exit> {
    match command {
        Key::Create { principal, days, doors, capabilities, remote } => {
            let expires = days.map(|days| SystemClock.now().0.saturating_add(days.saturating_mul(DAY_US)));
            let body = json!({
                "principal": principal, "expires_at_us": expires, "doors": doors, "capabilities": capabilities,
            });
            let created = Api::open(common, &remote)?.post("/api/v1/identity/keys", &body).await?;
            show(common, &created);
        }
        Key::Generate { name, principal } => generate(common, &name, &principal)?,
        Key::Rotate { id, overlap, remote } => {
            let path = format!("/api/v1/identity/keys/{id}/rotate");
            let created = Api::open(common, &remote)?.post(&path, &json!({"overlap_s": overlap})).await?;
            show(common, &created);
        }
        Key::List { remote } => {
            let listed = Api::open(common, &remote)?.get("/api/v1/identity/keys").await?;
            if common.json {
                print::json(&listed);
            } else {
                let row = |key: &Value| {
                    ["/id", "/principal", "/created_at", "/expires_at", "/revoked_at", "/last_used_at"]
                        .map(|member| text(key, member))
                        .to_vec()
                };
                let keys = listed.get("keys").and_then(Value::as_array).into_iter().flatten();
                print::table(&["KEY", "PRINCIPAL", "CREATED", "EXPIRES", "REVOKED", "USED"], keys.map(row));
            }
        }
        Key::Revoke { id, remote } => {
            Api::open(common, &remote)?.delete(&format!("/api/v1/identity/keys/{id}")).await?;
            said(common, &json!({"id": id, "revoked": true}), &format!("key {id} opens nothing any more"));
        }
    }
    Ok(())
}

/// A key for the configuration, with its text alone on standard output.
fn generate(common: &Common, name: &str, principal: &str) -> Result<(), Exit> {
    let secret = entropy::bytes().map_err(|fault| Exit::system(fault.to_string()))?;
    let (text, digest) = declared::generate(name, secret).map_err(Exit::negative)?;
    if common.json {
        print::json(&json!({"name": name, "principal": principal, "key": text, "sha256": digest.to_string()}));
        return Ok(());
    }
    print::error_line("the key counts once these lines stand in the configuration; it is shown this once:");
    print::error_line(&format!("identity:\n  keys:\n    {name}: {{ principal: {principal}, sha256: {digest} }}"));
    print::line(&text);
    Ok(())
}

/// A new key, with its text alone on standard output.
fn show(common: &Common, created: &Value) {
    if common.json {
        print::json(created);
        return;
    }
    let (id, principal) = (text(created, "/id"), text(created, "/principal"));
    print::error_line(&format!("key {id} for {principal}; it is shown this once:"));
    print::line(&text(created, "/key"));
}
