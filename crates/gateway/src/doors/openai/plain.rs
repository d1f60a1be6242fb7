//! A completion as a whole.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use portcullis_domain::call::Capability;
use portcullis_domain::event::{Judged, Outcome};
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::money::Tokens;
use portcullis_domain::policy::Effect;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::answer::Edit;
use portcullis_interop::llm::chat::{ChatAnswer, ChatRequest, Round};
use portcullis_interop::refuse;
use tokio::sync::oneshot;

use crate::asking::Asking;
use crate::doors::answer::whole_json;
use crate::doors::openai::reply::{Reply, of_call};
use crate::doors::openai::settlement::{note, settle, system_message, with_answer};
use crate::life::guarding::Notes;
use crate::life::{Asked, Gate};
use crate::repetition::Gone;
use crate::reply::ModelAnswer;
use crate::snapshot::Snapshot;

/// Answers the request. The work goes on in a task of its own, so that it is settled even when the caller leaves; leaving cancels the upstream call.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn reply(gate: Arc<Gate>, asking: Asking, request: ChatRequest) -> Result<Reply, Refusal> {
    let (stays, gone) = oneshot::channel::<()>();
    let work = tokio::spawn(async move { complete(&gate, &asking, &request, gone).await });
    let completed = work.await;
    drop(stays);
    let completed = completed.unwrap_or_else(|error| {
        Err(Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway").because(error.to_string()))
    });
    completed.map(Reply::Whole)
}

/// One answer of the model with what policy said of it.
struct Judgement {
    call: CallId,
    answer: ChatAnswer,
    judged: Vec<(String, Judged)>,
    denied: Vec<usize>,
    rounds_limit: usize,
}

async fn complete(
    gate: &Gate,
    asking: &Asking,
    request: &ChatRequest,
    mut gone: Gone,
) -> Result<Response<Bytes>, Refusal> {
    let prompt = gate.prompt(asking, request.clone()).await;
    let mut rounds: Vec<Round> = Vec::new();
    let mut used: Option<Tokens> = None;
    let mut last: Option<Judgement> = None;
    loop {
        let parent = last.as_ref().map(|last| last.call);
        let judged = match gate.ask_model(asking, parent, &prompt, &rounds, &mut gone).await {
            Ok(asked) => judge(gate, asking, asked).await,
            Err(refusal) => Err(refusal),
        };
        let judgement = match (judged, &last) {
            (Ok(Ok(judgement)), _) => judgement,
            // The answer before is there and paid for: it is given without the denied calls when the model can't be asked again.
            (Ok(Err(_)) | Err(_), Some(last)) => return finish(last, used, &rounds),
            (Ok(Err(error)), None) => return Ok(error),
            (Err(refusal), None) => return Err(refusal),
        };
        used = add(used, judgement.answer.usage());
        let is_all_denied = !judgement.denied.is_empty() && judgement.denied.len() == judgement.judged.len();
        if !is_all_denied || rounds.len() >= judgement.rounds_limit || judgement.answer.choices().len() != 1 {
            return finish(&judgement, used, &rounds);
        }
        let text = judgement.answer.choices().first().map(|choice| choice.text.clone()).unwrap_or_default();
        let records: Vec<Judged> = judgement.judged.iter().map(|(_, judged)| judged.clone()).collect();
        rounds.push(Round { text, message: system_message(&records) });
        last = Some(judgement);
    }
}

/// Judges every call in the answer and settles it. The inner error is the model's own, for the caller as it is.
async fn judge(gate: &Gate, asking: &Asking, asked: Asked) -> Result<Result<Judgement, Response<Bytes>>, Refusal> {
    let price = asked.price;
    let body = match asked.answer {
        ModelAnswer::Whole(body) => body,
        ModelAnswer::Error { status, headers, body } => {
            let failed = settle(asked.call, Outcome::Failed, price, Some(Tokens::default()));
            gate.settle(with_answer(failed, Body::new(body.clone()), Vec::new())).await?;
            let mut error = whole_json(status.as_u16(), body);
            error.headers_mut().extend(headers);
            return Ok(Err(of_call(error, asked.call)));
        }
        ModelAnswer::Stream(_) => Bytes::new(),
    };
    let answer = match ChatAnswer::read(body.clone()) {
        Ok(answer) => answer,
        Err(refusal) => {
            let unknown = settle(asked.call, Outcome::Unknown, price, None);
            gate.settle(with_answer(unknown, Body::new(body), Vec::new())).await?;
            return Err(refusal);
        }
    };
    let tokens = answer.usage();
    let completed = settle(asked.call, Outcome::Completed, price, tokens);
    let mut notes = Notes::default();
    let heard = hear(gate, asking, (&asked.snapshot, &asked.capability), answer, &mut notes).await;
    let (answer, judged) = match heard {
        Ok(heard) => heard,
        Err(refusal) => {
            // It was given and is paid for; nobody hears it, and nothing of it is kept.
            let mut settle = with_answer(completed, Body::new(refuse::openai(&refusal).body.into()), Vec::new());
            notes.add_to(&mut settle);
            gate.settle(settle).await?;
            return Err(refusal);
        }
    };
    let is_denied = |(_, (_, judged)): &(usize, &(String, Judged))| judged.effect == Effect::Deny;
    let denied = judged.iter().enumerate().filter(is_denied).map(|(place, _)| place).collect();
    let records = judged.iter().map(|(_, judged)| judged.clone()).collect();
    let mut settle = with_answer(completed, Body::new(answer.body().clone()), records);
    notes.add_to(&mut settle);
    gate.settle(settle).await?;
    Ok(Ok(Judgement { call: asked.call, answer, judged, denied, rounds_limit: asked.rounds_limit }))
}

/// The answer as guardrails let it through, with what policy says of every call in it.
async fn hear(
    gate: &Gate,
    asking: &Asking,
    (snapshot, model): (&Snapshot, &Capability),
    answer: ChatAnswer,
    notes: &mut Notes,
) -> Result<(ChatAnswer, Vec<(String, Judged)>), Refusal> {
    let body = gate.guard_answer((snapshot, asking), model, answer.body().clone(), notes).await?;
    let answer = if body == *answer.body() { answer } else { ChatAnswer::read(body)? };
    let mut judged: Vec<(String, Judged)> = Vec::new();
    for call in answer.tool_calls() {
        let wanted = (call.name.as_str(), call.arguments.as_str());
        judged.push((call.name.clone(), gate.judge(snapshot, asking, wanted, notes).await));
    }
    let pairs = judged.iter().zip(answer.tool_calls()).enumerate();
    let changed = pairs.filter(|(_, ((_, judged), call))| judged.arguments != call.arguments);
    let changed: Vec<(usize, &str)> =
        changed.map(|(place, ((_, judged), _))| (place, judged.arguments.as_str())).collect();
    let answer = if changed.is_empty() { answer } else { answer.with_arguments(&changed)? };
    Ok((answer, judged))
}

fn finish(last: &Judgement, used: Option<Tokens>, rounds: &[Round]) -> Result<Response<Bytes>, Refusal> {
    let note = note(&last.judged);
    let usage = used.filter(|_| !rounds.is_empty());
    let body = last.answer.edited(&Edit { denied: &last.denied, note: &note, usage })?;
    Ok(of_call(whole_json(200, body), last.call))
}

fn add(sum: Option<Tokens>, round: Option<Tokens>) -> Option<Tokens> {
    match (sum, round) {
        (Some(sum), Some(round)) => Some(sum.plus(round)),
        (sum, round) => sum.or(round),
    }
}
