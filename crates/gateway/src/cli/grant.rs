//! `portcullis session open` and `portcullis session grant …`.

use std::path::Path;

use portcullis_domain::grant::Grant;
use serde_json::{Value, json};

use crate::cli::api::{Api, text};
use crate::cli::arguments::{Common, Grant as Command};
use crate::cli::exit::Exit;
use crate::cli::print::{self, said};

/// The JSON Schema of grants.
pub const SCHEMA: &str = include_str!("../../../../docs/grant.schema.json");

pub(super) async fn run(common: &Common, command: Command) -> Result<(), Exit> {
    match command {
        Command::Show { id, remote } => show(common, &Api::open(common, &remote)?, &id).await,
        Command::Narrow { id, file, remote } => {
            let body = json!({"grant": read(&file)?});
            let set = Api::open(common, &remote)?.post(&format!("/api/v1/sessions/{id}/grant/narrow"), &body).await?;
            said(common, &set, &format!("session {id} is narrowed"));
            Ok(())
        }
        Command::Replace { id, file, remote } => {
            let body = json!({"grant": read(&file)?});
            let set = Api::open(common, &remote)?.put(&format!("/api/v1/sessions/{id}/grant"), &body).await?;
            said(common, &set, &format!("session {id} has another grant"));
            Ok(())
        }
        Command::Check { file } => {
            let grant = read(&file)?;
            let sentences = grant.sentences();
            said(common, &json!({"grant": grant, "sentences": sentences}), &sentences.join("\n"));
            Ok(())
        }
        Command::Schema => {
            print::line(SCHEMA.trim_end());
            Ok(())
        }
    }
}

/// Opens a session.
pub(super) async fn open(common: &Common, api: &Api, name: Option<&str>, grant: Option<&Path>) -> Result<(), Exit> {
    let grant = grant.map(read).transpose()?;
    let opened = api.post("/api/v1/sessions", &json!({"name": name, "grant": grant})).await?;
    said(common, &opened, &format!("session {} is open", text(&opened, "/id")));
    Ok(())
}

/// The grant in a file. A number that YAML would make a float of is refused.
fn read(file: &Path) -> Result<Grant, Exit> {
    let shown = file.display();
    let content =
        std::fs::read_to_string(file).map_err(|error| Exit::io(format!("`{shown}` can't be read: {error}")))?;
    let value: Value =
        serde_saphyr::from_str(&content).map_err(|error| Exit::config(format!("`{shown}` is no YAML: {error}")))?;
    serde_json::from_value(value).map_err(|error| Exit::config(format!("`{shown}` is no grant: {error}")))
}

async fn show(common: &Common, api: &Api, id: &str) -> Result<(), Exit> {
    let shown = api.get(&format!("/api/v1/sessions/{id}/grant")).await?;
    if common.json {
        print::json(&shown);
        return Ok(());
    }
    print::line(&format!(
        "grant {} of session {id}, {}",
        text(&shown, "/version/number"),
        text(&shown, "/version/digest")
    ));
    let grants = shown.get("grants").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (number, grant) in grants.iter().enumerate() {
        if number > 0 {
            print::line("and of that only:");
        }
        for (label, member) in [("", "sentences"), ("used: ", "used")] {
            let lines = grant.get(member).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            lines.for_each(|line| print::line(&format!("  {label}{line}")));
        }
    }
    Ok(())
}
