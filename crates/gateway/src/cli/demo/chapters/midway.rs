//! Killed in the middle of an answer.

use portcullis_domain::event::Outcome;
use portcullis_domain::money::Nanodollars;
use portcullis_testkit::http::Answer;
use portcullis_testkit::process::wait_until;
use serde_json::Value;

use crate::cli::demo::agent::{Agent, SESSION};
use crate::cli::demo::chapters::between::show;
use crate::cli::demo::chapters::kill::{kill, restart};
use crate::cli::demo::page::Page;
use crate::cli::demo::record::Record;
use crate::cli::demo::stage::{JUNIOR, STEP_LIMIT, Stage};
use crate::cli::demo::trouble::{differs, unanswered};
use crate::cli::exit::Exit;

const ABOUT: &str = "Now the kill comes while the model has the word. For the demo the model is held (SIGSTOP), so that its answer \
    can't come before.";

const AFTER: &str = "The journal has the call but not its end. At the start the gateway closed it as `unknown`, which is the truth, \
    and charged what was held for it: the provider may have counted. A new agent is given the same words.";

/// What the user says.
const REQUEST: &str = "Where do we stand with claim-99?";

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("Killed in the middle of an answer", ABOUT).await;
    let client = stage.client(JUNIOR)?;
    let before = Record::read(&client, SESSION).await?.last();
    stage.pause_model(true)?;
    let mut agent = Agent::start(stage, page, Some(REQUEST), None)?;
    let is_asked = || async {
        let record = Record::read(&client, SESSION).await;
        record.is_ok_and(|record| record.after(before).calls().iter().any(|call| call.outcome.is_none()))
    };
    let until = async { wait_until("the model is asked", STEP_LIMIT, is_asked).await.map_err(differs) };
    agent.work_until(page, until).await?;
    kill(stage, page, agent).await?;
    stage.pause_model(false)?;
    restart(stage, page).await?;
    page.paragraph(AFTER).await;
    let run = Agent::start(stage, page, Some(REQUEST), None)?.finish(page).await?;

    let record = Record::read(&client, SESSION).await?;
    page.text("What the journal says of it:");
    let calls = record.after(before).calls();
    show(page, &calls);
    page.check(
        "the new agent went on after step 5, from 8 messages; the question was not put twice",
        run.begun(),
        Some((5, 8)),
    )?;
    let outcomes: Vec<Option<Outcome>> = calls.iter().map(|call| call.outcome).collect();
    let expected = vec![Some(Outcome::Unknown), Some(Outcome::Completed)];
    page.check("the call that died is `unknown`, the one after it completed", outcomes, expected)?;
    let is_charged = calls.first().is_some_and(|call| call.charged > Nanodollars::ZERO);
    page.check("what was held for the dead call is charged", is_charged, true)?;
    page.check("the session's entries have no gap", record.is_without_gap(), true)?;
    let history = client.get(&format!("/api/v1/sessions/{SESSION}/history")).await;
    let history = history.and_then(Answer::accepted).map_err(unanswered)?.json();
    let roles = vec!["system", "user", "assistant", "tool", "assistant", "tool", "assistant", "user", "assistant"];
    page.check("the conversation has every message once and in order", roles_of(&history), roles)
}

fn roles_of(history: &Value) -> Vec<&str> {
    let messages = history.get("messages").and_then(Value::as_array).into_iter().flatten();
    messages.filter_map(|message| message.get("role")?.as_str()).collect()
}
