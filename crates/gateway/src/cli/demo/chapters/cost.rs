//! What it cost, and what it may not cost.

use portcullis_domain::money::Nanodollars;
use portcullis_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::cli::api::text;
use crate::cli::demo::agent::SESSION;
use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::record::Record;
use crate::cli::demo::stage::{JUNIOR, Stage};
use crate::cli::demo::trouble::{differs, unanswered};
use crate::cli::exit::Exit;

const ABOUT: &str = "Before each call its estimated cost is held on the accounts of the session and of the principal; when it ends, \
    the hold becomes what it really cost. So the sum of what is held and spent is never above what was granted, not even after a kill.";

const OVER: &str = "A call that could cost more than what is left is refused before anything is forwarded, with a body that programs \
    can read:";

/// What a program reads of it.
const READ: [&str; 6] = [
    "/error/code",
    "/error/portcullis/account",
    "/error/portcullis/granted/nanodollars",
    "/error/portcullis/spent/nanodollars",
    "/error/portcullis/held/nanodollars",
    "/error/portcullis/needed/nanodollars",
];

/// As many tokens as the session's $1.00 can't pay at $10 per million.
const TOO_MANY_TOKENS: u64 = 200_000;

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("What it cost", ABOUT).await;
    let client = stage.client(JUNIOR)?;
    let accounts = client.get("/api/v1/ledger/accounts").await.and_then(Answer::accepted).map_err(unanswered)?.json();
    let accounts = accounts.get("accounts").and_then(Value::as_array).cloned().unwrap_or_default();
    page.verbatim(&accounts.iter().map(line).collect::<Vec<_>>().join("\n"));
    let charged = Record::read(&client, SESSION).await?.charged();
    let session = client.get(&format!("/api/v1/sessions/{SESSION}")).await;
    let session = session.and_then(Answer::accepted).map_err(unanswered)?.json();
    let spent = text(&session, "/account/spent_nanodollars");
    page.check(&format!("the session's calls add up to its account: {charged}"), spent, charged.nanos().to_string())?;
    let held: Vec<String> = accounts.iter().map(|account| text(account, "/held_nanodollars")).collect();
    page.check("nothing is held any more", held, vec!["0".to_owned(); 2])?;

    page.paragraph(OVER).await;
    let asked = requests(&stage.model_client()).await?;
    let body = json!({
        "model": "scripted",
        "messages": [{"role": "user", "content": "Write a very long letter about claim-99."}],
        "max_completion_tokens": TOO_MANY_TOKENS,
    });
    let answer = client.post(&format!("/s/{SESSION}/v1/chat/completions"), &body).await.map_err(unanswered)?;
    let error = answer.json();
    page.said("gateway", Tone::Yellow, &text(&error, "/error/message"));
    page.gap();
    page.verbatim(&READ.map(|member| format!("{member:<40}{}", text(&error, member))).join("\n"));
    page.check("402 Payment Required", answer.status, 402)?;
    page.check("the code is `budget_exhausted`", text(&error, "/error/code"), "budget_exhausted".to_owned())?;
    page.check("the model was not asked", requests(&stage.model_client()).await?, asked)
}

/// An account in a line.
fn line(account: &Value) -> String {
    let granted = account.get("granted_nanodollars").and_then(Value::as_u64).map(Nanodollars::new);
    let granted = granted.map_or_else(String::new, |granted| format!("of {granted}"));
    format!("{:<26} spent {} {granted}", text(account, "/account"), text(account, "/spent"))
}

/// How many requests the model has seen.
async fn requests(model: &Client) -> Result<usize, Exit> {
    let record = model.get("/__requests").await.and_then(Answer::accepted).map_err(unanswered)?.json();
    let requests = record.get("requests").and_then(Value::as_array).map(Vec::len);
    requests.ok_or_else(|| differs("the model shows no requests"))
}
