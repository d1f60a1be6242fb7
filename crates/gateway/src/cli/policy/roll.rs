//! `portcullis policy versions|rollback|rollforward`: what the running gateway has in force, and rules of before put back.

use serde_json::{Value, json};

use crate::cli::api::{Api, text};
use crate::cli::arguments::{Common, Remote};
use crate::cli::exit::Exit;
use crate::cli::print::{self, said};

/// So many digits are enough to tell versions apart.
const DIGITS: usize = 12;

pub(super) async fn versions(common: &Common, remote: &Remote) -> Result<(), Exit> {
    let listed = Api::open(common, remote)?.get("/api/v1/policy/versions").await?;
    if common.json {
        print::json(&listed);
        return Ok(());
    }
    let row = |one: &Value| {
        let in_force = if one.get("is_in_force") == Some(&Value::Bool(true)) { "now" } else { "" };
        let how = match one.get("rolled_back_to") {
            Some(_) => format!("rolled back to {}", short(one, "/rolled_back_to")),
            None => String::new(),
        };
        let why = one.get("reason").and_then(Value::as_str).unwrap_or_default().to_owned();
        let [at, by, policies, mode] = ["/at", "/by", "/policies", "/mode"].map(|member| text(one, member));
        vec![short(one, "/version"), at, by, policies, mode, short(one, "/rules"), in_force.to_owned(), how, why]
    };
    let all = listed.get("versions").and_then(Value::as_array).into_iter().flatten();
    print::table(&["VERSION", "SINCE", "BY", "RULES", "MODE", "TEXT", "IN FORCE", "HOW", "WHY"], all.map(row));
    Ok(())
}

pub(super) async fn back(common: &Common, remote: &Remote, version: Option<&str>, reason: &str) -> Result<(), Exit> {
    let body = json!({"version": version, "reason": reason});
    let done = Api::open(common, remote)?.post("/api/v1/policy/rollback", &body).await?;
    let (back, now) = (short(&done, "/rolled_back_to"), short(&done, "/version"));
    said(
        common,
        &done,
        &format!(
            "the rules of {back} are in force again, as version {now}; the files do not count until they change, or until `portcullis policy rollforward`"
        ),
    );
    Ok(())
}

pub(super) async fn forward(common: &Common, remote: &Remote, reason: &str) -> Result<(), Exit> {
    let done = Api::open(common, remote)?.post("/api/v1/policy/rollforward", &json!({"reason": reason})).await?;
    said(common, &done, &format!("what the files say is in force again, as version {}", short(&done, "/version")));
    Ok(())
}

fn short(value: &Value, pointer: &str) -> String {
    text(value, pointer).chars().take(DIGITS).collect()
}
