//! What is waited for arrives when nobody is left who waited.

use portcullis_testkit::http::{Answer, Client};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::cli::api::text;
use crate::cli::demo::agent::{ADJUSTER, Agent, SESSION};
use crate::cli::demo::chapters::blocked::{self, VERIFIED};
use crate::cli::demo::chapters::kill::{kill, restart};
use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::record::{Call, Record};
use crate::cli::demo::stage::{JUNIOR, STEP_LIMIT, Stage, replica_url};
use crate::cli::demo::trouble::{differs, unanswered};
use crate::cli::exit::Exit;

const ABOUT: &str = "From now on the agent is a service behind the gateway, with two replicas. The session is bound to one of them. It \
    declares what it waits for, and gets a URL that is good for one event and for nothing else.";

const AWAY: &str = "While the session waits, for seconds here and for days elsewhere, the gateway and the replica that it is bound to \
    are killed. Only the gateway is started again.";

const EVENT: &str = "The verification is posted to that URL. The gateway writes it down before it says that it has it, and brings it \
    to the replica that is left, which it first tells what the session remembers.";

/// What the replica waits for.
const AWAITED: &str = "the external verification";
/// What arrives.
const VERIFICATION: &str = "The external verification of claim-99 is here. Pay $9,500.";

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("It waits, and another replica pays", ABOUT).await;
    let client = stage.client(JUNIOR)?;
    let before = Record::read(&client, SESSION).await?.last();
    let (bound, mut other, event_url) = begin(stage, page, &client).await?;

    page.paragraph(AWAY).await;
    kill(stage, page, bound).await?;
    restart(stage, page).await?;

    page.paragraph(EVENT).await;
    let event = json!({"text": VERIFICATION});
    let (origin, path) = event_url.split_at(stage.gateway_url().len());
    let bank = Client::new(origin).with_header("webhook-id", "verification-1");
    let posted = bank.post(path, &event).await.map_err(unanswered)?;
    page.said("bank", Tone::Plain, &format!("POST {} → {}", shortened(&event_url), posted.status));
    let again = bank.post(path, &event).await.map_err(unanswered)?;
    page.said("bank", Tone::Plain, &format!("the same once more → {}", again.status));
    let run = other.until_it_rests(page).await?;
    let is_delivered = || async { delivered(&client).await == 1 };
    wait_until("the event is delivered", STEP_LIMIT, is_delivered).await.map_err(differs)?;
    other.kill().await?;

    page.gap();
    page.check("the event was taken once, and once more it was known", (posted.status, again.status), (202, 200))?;
    let placement = run.hydrated().map(|(_, placement)| placement);
    page.check("the other replica is the session's second placement", placement, Some(2))?;
    let (told, begun) = (run.hydrated().map(|(messages, _)| messages), run.begun().map(|(_, messages)| messages));
    page.check("and was told every message of the conversation", told, begun)?;
    let expected = "The payment for claim-99 is done: payment-1: $9500 paid for claim-99.";
    page.check("it paid what was verified", run.answer(), Some(expected))?;
    let record = Record::read(&client, SESSION).await?.after(before);
    let calls: Vec<String> = record.calls().iter().map(Call::to_string).collect();
    let payments = calls.iter().filter(|call| *call == "tool/claims__approve_payment completed").count();
    page.check("the journal has the payment once", payments, 1)?;
    blocked::check_paid(stage, page, "the claims server's own file has this payment and no other:", &[VERIFIED])?;
    page.verbatim(VERIFIED);
    Ok(())
}

/// Starts both replicas and has the one that the session is given work until it waits: this one, the other one, and where the event is to be posted.
async fn begin(stage: &Stage, page: &mut Page, client: &Client) -> Result<(Agent, Agent, String), Exit> {
    let ports = stage.replica_ports();
    let [first, second] = [Agent::serve(stage, ports[0])?, Agent::serve(stage, ports[1])?];
    for url in ports.map(replica_url) {
        let replica = Client::new(&url);
        let is_there = || async { replica.get("/healthz").await.is_ok() };
        wait_until("the replica listens", STEP_LIMIT, is_there).await.map_err(differs)?;
        page.said("replica", Tone::Plain, &format!("at {url}"));
    }
    let asked = json!({"say": "What is missing in claim-99?", "wait_for": AWAITED});
    let client = client.clone().with_header("portcullis-session", SESSION);
    let answer = client.post(&format!("/agents/{ADJUSTER}/run"), &asked).await;
    let answer = answer.and_then(Answer::accepted).map_err(unanswered)?.json();
    let is_first = text(&answer, "/replica") == replica_url(ports[0]);
    let (mut bound, other) = if is_first { (first, second) } else { (second, first) };
    let run = bound.until_it_waits(page).await?;
    page.gap();
    let expected = "I have the policy and the damage report of claim-99. I am waiting for the external verification.";
    page.check("the replica went on from the session, as the agent did before", run.answer(), Some(expected))?;
    Ok((bound, other, text(&answer, "/event_url")))
}

/// How many of the session's waits have been delivered.
async fn delivered(client: &Client) -> usize {
    let waits = client.get(&format!("/api/v1/sessions/{SESSION}/waits")).await.map(|answer| answer.json());
    let waits = waits.ok().and_then(|waits| waits.get("waits").and_then(Value::as_array).cloned()).unwrap_or_default();
    waits.iter().filter(|wait| wait.get("is_delivered") == Some(&Value::Bool(true))).count()
}

/// The URL without most of what makes it nobody's guess.
fn shortened(url: &str) -> String {
    let shown: String = url.chars().take(36).collect();
    format!("{shown}…")
}
