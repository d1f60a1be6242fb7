//! `portcullis identity key create|rotate|list|revoke`.

use serde_json::{Value, json};

use crate::cli::api::{Api, text};
use crate::cli::arguments::{Common, Identity, Key};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::clock::{Clock as _, SystemClock};

const DAY_US: u64 = 86_400_000_000;

pub(super) async fn run(common: &Common, command: Identity) -> Result<(), Exit> {
    let Identity::Key { command } = command;
    match command {
        Key::Create { principal, days, doors, capabilities, remote } => {
            let expires = days.map(|days| SystemClock.now().0.saturating_add(days.saturating_mul(DAY_US)));
            let body = json!({
                "principal": principal, "expires_at_us": expires, "doors": doors, "capabilities": capabilities,
            });
            let created = Api::open(common, &remote)?.post("/api/v1/identity/keys", &body).await?;
            show(common, &created);
        }
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
                    ["/id", "/principal", "/created_at", "/expires_at", "/revoked_at"]
                        .map(|member| text(key, member))
                        .to_vec()
                };
                let keys = listed.get("keys").and_then(Value::as_array).into_iter().flatten();
                print::table(&["KEY", "PRINCIPAL", "CREATED", "EXPIRES", "REVOKED"], keys.map(row));
            }
        }
        Key::Revoke { id, remote } => {
            Api::open(common, &remote)?.delete(&format!("/api/v1/identity/keys/{id}")).await?;
            if common.json {
                print::json(&json!({"id": id, "revoked": true}));
            } else {
                print::line(&format!("key {id} opens nothing any more"));
            }
        }
    }
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
