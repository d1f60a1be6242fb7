//! `portcullis approval list|show|approve|deny`.

use serde_json::{Value, json};

use crate::cli::api::{Api, text};
use crate::cli::arguments::{Approval, Common};
use crate::cli::exit::Exit;
use crate::cli::print;

pub(super) async fn run(common: &Common, command: Approval) -> Result<(), Exit> {
    match command {
        Approval::List { remote } => list(common, &Api::open(common, &remote)?).await,
        Approval::Show { id, remote } => show(common, &Api::open(common, &remote)?, &id).await,
        Approval::Approve { id, comment, remote } => {
            answer(common, &Api::open(common, &remote)?, (&id, "approve"), comment).await
        }
        Approval::Deny { id, comment, remote } => {
            answer(common, &Api::open(common, &remote)?, (&id, "deny"), comment).await
        }
    }
}

async fn list(common: &Common, api: &Api) -> Result<(), Exit> {
    let listed = api.get("/api/v1/approvals").await?;
    if common.json {
        print::json(&listed);
        return Ok(());
    }
    let row = |approval: &Value| {
        let [id, call, arguments, until] =
            ["/id", "/capability", "/arguments", "/expires_at"].map(|member| text(approval, member));
        vec![id, who(approval), call, arguments, until]
    };
    let approvals = listed.get("approvals").and_then(Value::as_array).into_iter().flatten();
    print::table(&["APPROVAL", "ASKED BY", "CALL", "ARGUMENTS", "UNTIL"], approvals.map(row));
    Ok(())
}

async fn show(common: &Common, api: &Api, id: &str) -> Result<(), Exit> {
    let approval = api.get(&format!("/api/v1/approvals/{id}")).await?;
    if common.json {
        print::json(&approval);
        return Ok(());
    }
    print::line(&format!("{}  {}", text(&approval, "/id"), text(&approval, "/status")));
    for (label, value) in [
        ("asked by", who(&approval)),
        ("session", text(&approval, "/session")),
        ("call", text(&approval, "/capability")),
        ("why", text(&approval, "/message")),
        ("cost", text(&approval, "/cost")),
        ("until", text(&approval, "/expires_at")),
    ] {
        print::line(&format!("{label:>10}  {value}"));
    }
    for ask in approval.get("asks").and_then(Value::as_array).into_iter().flatten() {
        let (role, missing, all) = (text(ask, "/role"), text(ask, "/missing"), text(ask, "/approvals"));
        print::line(&format!("{:>10}  {missing} of {all} with the role `{role}`", "still asks"));
    }
    for said in approval.get("said").and_then(Value::as_array).into_iter().flatten() {
        let (by, answer, comment) = (text(said, "/by"), text(said, "/answer"), text(said, "/comment"));
        print::line(&format!("{:>10}  {by}: {answer} {comment}", "said"));
    }
    let arguments = approval.get("arguments").and_then(|arguments| serde_json::to_string_pretty(arguments).ok());
    print::line(&arguments.unwrap_or_default());
    Ok(())
}

async fn answer(common: &Common, api: &Api, (id, verb): (&str, &str), comment: Option<String>) -> Result<(), Exit> {
    let answered = api.post(&format!("/api/v1/approvals/{id}/{verb}"), &json!({"comment": comment})).await?;
    if common.json {
        print::json(&answered);
    } else {
        print::line(&format!("approval {id} is {}", text(&answered, "/status")));
    }
    Ok(())
}

/// Who asks, and through whom.
fn who(approval: &Value) -> String {
    let through = approval.get("through").and_then(Value::as_array).into_iter().flatten();
    let through = through.filter_map(Value::as_str);
    std::iter::once(text(approval, "/by").as_str()).chain(through).collect::<Vec<_>>().join(">")
}
