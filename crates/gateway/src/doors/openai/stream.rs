//! A completion in pieces: text flows on at once, a tool call is held until it is whole and judged.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use portcullis_domain::event::{Judged, Outcome};
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::ledger::estimate;
use portcullis_domain::money::{Price, Tokens};
use portcullis_domain::policy::Effect;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::llm::chat::call::assistant_message;
use portcullis_interop::llm::chat::stream::{ChatStream, Step, StreamEnd, Verdict};
use portcullis_interop::llm::chat::{ChatRequest, Round, ToolCall};
use portcullis_interop::refuse;
use tokio::sync::{mpsc, oneshot};

use crate::asking::Asking;
use crate::doors::answer::{PIECES_LIMIT, whole_json};
use crate::doors::openai::reply::{Reply, of_call};
use crate::doors::openai::settlement::{note, settle, system_message, with_answer};
use crate::life::guarding::{Notes, Prompt};
use crate::life::sieve::Sieve;
use crate::life::{Asked, Gate};
use crate::repetition::Gone;
use crate::reply::{AnswerStream, ModelAnswer, UpstreamFault};
use crate::snapshot::Snapshot;

/// Begins the answer. Whatever is refused before the first piece gets its own status; from then on a task pumps, and settles also when the caller leaves.
///
/// # Errors
///
/// Why it can't be answered.
pub async fn reply(gate: Arc<Gate>, asking: Asking, request: ChatRequest) -> Result<Reply, Refusal> {
    let (stays, gone) = oneshot::channel::<()>();
    let begun = tokio::spawn(begin(gate, asking, request, gone)).await;
    drop(stays);
    begun.unwrap_or_else(|error| Err(crashed(&error)))
}

/// All of it in one task: a caller who leaves just when the upstream begins to answer would else leave a call behind that nobody settles.
async fn begin(gate: Arc<Gate>, asking: Asking, request: ChatRequest, mut gone: Gone) -> Result<Reply, Refusal> {
    let prompt = gate.prompt(&asking, request).await;
    let asked = gate.ask_model(&asking, None, &prompt, &[], &mut gone).await?;
    let call = asked.call;
    match asked.answer {
        ModelAnswer::Stream(_) => {
            let (sender, receiver) = mpsc::channel(PIECES_LIMIT);
            let (judged, rounds, notes) = (Vec::new(), Vec::new(), Notes::default());
            let pump = Pump { gate, asking, prompt, sender, judged, rounds, notes };
            tokio::spawn(pump.run(asked));
            Ok(Reply::Stream(call, receiver))
        }
        ModelAnswer::Error { .. } | ModelAnswer::Whole(_) => {
            not_a_stream(&gate, asked).await.map(|whole| Reply::Whole(of_call(whole, call)))
        }
    }
}

/// The upstream answered with an error, or with something that is no stream.
async fn not_a_stream(gate: &Gate, asked: Asked) -> Result<Response<Bytes>, Refusal> {
    let price = asked.price;
    match asked.answer {
        ModelAnswer::Error { status, headers, body } => {
            let failed = settle(asked.call, Outcome::Failed, price, Some(Tokens::default()));
            gate.settle(with_answer(failed, Body::new(body.clone()), Vec::new())).await?;
            let mut error = whole_json(status.as_u16(), body);
            error.headers_mut().extend(headers);
            Ok(error)
        }
        ModelAnswer::Whole(body) => {
            let unknown = settle(asked.call, Outcome::Unknown, price, None);
            gate.settle(with_answer(unknown, Body::new(body), Vec::new())).await?;
            Err(UpstreamFault::Garbled("a stream was asked for".to_owned()).refusal(&asked.capability.name))
        }
        ModelAnswer::Stream(_) => {
            Err(UpstreamFault::Garbled("a stream was not expected".to_owned()).refusal(&asked.capability.name))
        }
    }
}

/// What pumps one answer to one client, over as many rounds as it takes.
struct Pump {
    gate: Arc<Gate>,
    asking: Asking,
    prompt: Prompt,
    sender: mpsc::Sender<Bytes>,
    /// The calls that were judged in this round, by the names that the model used.
    judged: Vec<(String, Judged)>,
    /// The rounds before this one.
    rounds: Vec<Round>,
    /// What guardrails did in this round.
    notes: Notes,
}

/// Why a round ended.
enum Ended {
    /// The upstream had no more.
    Whole,
    /// The client has left.
    Left,
    /// The upstream broke off or sent something that can't be judged.
    Fault(Refusal),
}

impl Pump {
    async fn run(mut self, first: Asked) {
        let mut machine = ChatStream::new(self.prompt.request.asked_for_usage());
        let mut asked = first;
        loop {
            let Asked { call, snapshot, capability, price, rounds_limit, answer, held, .. } = asked;
            let ModelAnswer::Stream(upstream) = answer else { return };
            let mut sieve = self.gate.sieve(&snapshot, &capability);
            let (ended, after) = self.round(&snapshot, upstream, machine, &mut sieve).await;
            let end = after.end();
            let settled = self.settle((call, price), &end, &ended, sieve).await;
            drop(held);
            if let Err(refusal) = settled {
                return self.fail(&refusal).await;
            }
            match ended {
                Ended::Left => return,
                Ended::Fault(refusal) => return self.fail(&refusal).await,
                Ended::Whole => {}
            }
            let is_all_denied = end.denied > 0 && end.allowed.is_empty() && end.texts.len() <= 1;
            if !is_all_denied || self.rounds.len() >= rounds_limit {
                return self.close(end).await;
            }
            let text = end.texts.first().map(|(_, text)| text.clone()).unwrap_or_default();
            let records: Vec<Judged> = self.judged.iter().map(|(_, judged)| judged.clone()).collect();
            self.rounds.push(Round { text, message: system_message(&records) });
            // When the model can't be asked again, the answer ends without the denied calls.
            let Some(next) = self.next_round(call).await else { return self.close(end).await };
            let Ok((bytes, next_machine)) = end.go_on() else { return self.abandon(&next).await };
            if self.send(bytes).await.is_err() {
                return self.abandon(&next).await;
            }
            self.judged.clear();
            machine = next_machine;
            asked = next;
        }
    }

    /// Asks the model again, now that it knows what was denied.
    async fn next_round(&self, parent: CallId) -> Option<Asked> {
        let (stays, mut gone) = oneshot::channel::<()>();
        let mut asking = pin!(self.gate.ask_model(&self.asking, Some(parent), &self.prompt, &self.rounds, &mut gone));
        let asked = tokio::select! {
            asked = &mut asking => asked,
            () = self.sender.closed() => {
                drop(stays);
                asking.await
            }
        };
        let asked = asked.ok()?;
        match asked.answer {
            ModelAnswer::Stream(_) => Some(asked),
            ModelAnswer::Error { .. } | ModelAnswer::Whole(_) => {
                let _ = not_a_stream(&self.gate, asked).await;
                None
            }
        }
    }

    /// Feeds the upstream's pieces through the machine until one side has no more.
    async fn round(
        &mut self,
        snapshot: &Snapshot,
        mut upstream: AnswerStream,
        mut machine: ChatStream,
        sieve: &mut Option<Sieve>,
    ) -> (Ended, ChatStream) {
        loop {
            loop {
                match machine.next_step() {
                    Ok(Some(Step::Release(bytes))) => {
                        if self.send(bytes).await.is_err() {
                            return (Ended::Left, machine);
                        }
                    }
                    Ok(Some(Step::Judge(call))) => match self.judge(snapshot, &call, sieve).await {
                        Ok(verdict) => machine.decide(verdict),
                        Err(refusal) => return (Ended::Fault(refusal), machine),
                    },
                    Ok(None) => break,
                    Err(refusal) => return (Ended::Fault(refusal), machine),
                }
            }
            let blocked = sieve.as_ref().and_then(|sieve| Some((sieve.refusal()?.clone(), sieve.is_at_the_end())));
            match blocked {
                // What it has cost is all that is still to come.
                Some((refusal, is_at_the_end)) if machine.is_over() || !is_at_the_end => {
                    return (Ended::Fault(refusal), machine);
                }
                None if machine.is_over() => return (Ended::Whole, machine),
                Some(_) | None => {}
            }
            let piece = tokio::select! {
                piece = upstream.next() => piece,
                () = self.sender.closed() => return (Ended::Left, machine),
            };
            match piece {
                Ok(Some(bytes)) => match self.sifted(sieve, bytes).await {
                    Ok(bytes) => machine.feed(&bytes),
                    Err(refusal) => return (Ended::Fault(refusal), machine),
                },
                Ok(None) => {
                    if let Some(sieve) = sieve {
                        machine.feed(&sieve.feed_end(&self.gate, &self.asking).await);
                    }
                    machine.feed_end();
                }
                Err(fault) => return (Ended::Fault(fault.refusal(self.prompt.request.model())), machine),
            }
        }
    }

    /// What of the upstream's bytes guardrails let through.
    async fn sifted(&self, sieve: &mut Option<Sieve>, bytes: Bytes) -> Result<Bytes, Refusal> {
        match sieve {
            Some(sieve) => sieve.feed(&self.gate, &self.asking, &bytes).await,
            None => Ok(bytes),
        }
    }

    /// What becomes of a call in the answer.
    async fn judge(
        &mut self,
        snapshot: &Snapshot,
        call: &ToolCall,
        sieve: &mut Option<Sieve>,
    ) -> Result<Verdict, Refusal> {
        let arguments = match sieve {
            Some(sieve) => sieve.arguments(&self.gate, &self.asking, &call.arguments).await?,
            None => call.arguments.clone(),
        };
        let wanted = (call.name.as_str(), arguments.as_str());
        let judged = self.gate.judge(snapshot, &self.asking, wanted, &mut self.notes).await;
        let verdict = match judged.effect {
            Effect::Deny => Verdict::Deny,
            Effect::Allow | Effect::Ask if judged.arguments == call.arguments => Verdict::Allow,
            Effect::Allow | Effect::Ask => Verdict::Rewrite(judged.arguments.clone()),
        };
        self.judged.push((call.name.clone(), judged));
        Ok(verdict)
    }

    /// Settles the round by the provider's count, or by what was produced where there is none.
    async fn settle(
        &mut self,
        (call, price): (CallId, Option<Price>),
        end: &StreamEnd,
        ended: &Ended,
        sieve: Option<Sieve>,
    ) -> Result<(), Refusal> {
        let outcome = match ended {
            Ended::Whole if end.is_complete => Outcome::Completed,
            Ended::Whole if end.is_failed => Outcome::Failed,
            Ended::Left => Outcome::Aborted,
            Ended::Fault(refusal) if refusal.code == Code::Blocked && end.is_complete => Outcome::Completed,
            // Nobody waits for the rest, or the agent may say no more.
            Ended::Fault(refusal) if matches!(refusal.code, Code::Blocked | Code::Forbidden) => Outcome::Aborted,
            Ended::Whole | Ended::Fault(_) => Outcome::Unknown,
        };
        let came = sieve.as_ref().map_or((0, 0), Sieve::came);
        let tokens = end.usage.unwrap_or_else(|| self.produced(end, came));
        let records = self.judged.iter().map(|(_, judged)| judged.clone()).collect();
        let settlement = settle(call, outcome, price, Some(tokens));
        let mut settlement = with_answer(settlement, Body::new(assembled(end)), records);
        std::mem::take(&mut self.notes).add_to(&mut settlement);
        sieve.into_iter().for_each(|sieve| sieve.notes.add_to(&mut settlement));
        self.gate.settle(settlement).await.map(|_| ())
    }

    /// What was used as far as it can be seen: the whole request, and what came of the answer.
    fn produced(&self, end: &StreamEnd, (bytes, chunks): (usize, usize)) -> Tokens {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let shape = estimate::Shape {
            text_bytes: count(self.prompt.request.text_bytes()),
            messages: count(self.prompt.request.message_count()),
            images: count(self.prompt.request.image_count()),
            output_limit: 0,
        };
        let output = estimate::produced(count(end.produced_chunks.max(chunks)), count(end.produced_bytes.max(bytes)));
        Tokens { output, ..estimate::request(shape) }
    }

    /// The end of the answer, which is released now that the record is safe.
    async fn close(&self, end: StreamEnd) {
        let is_cut = !end.is_complete && !end.is_failed;
        let note = note(&self.judged);
        match end.close(Some(note.as_str()).filter(|note| !note.is_empty())) {
            Ok(closing) => {
                let _ = self.send(closing.tail).await;
                let _ = self.send(closing.done).await;
                if is_cut {
                    let fault = UpstreamFault::Broken("the stream ended in the middle".to_owned());
                    self.fail(&fault.refusal(self.prompt.request.model())).await;
                }
            }
            Err(refusal) => self.fail(&refusal).await,
        }
    }

    /// The client left between two rounds: the one that has begun is cancelled.
    async fn abandon(&mut self, asked: &Asked) {
        let end = ChatStream::new(false).end();
        let _ = self.settle((asked.call, asked.price), &end, &Ended::Left, None).await;
    }

    async fn fail(&self, refusal: &Refusal) {
        tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "a stream ended by a refusal");
        let _ = self.send(refuse::openai_event(refusal).into()).await;
    }

    async fn send(&self, bytes: Bytes) -> Result<(), mpsc::error::SendError<Bytes>> {
        if bytes.is_empty() { Ok(()) } else { self.sender.send(bytes).await }
    }
}

/// What the client got in this round, as one answer: the record has meaning, not pieces.
fn assembled(end: &StreamEnd) -> Bytes {
    let choices = end.texts.iter().map(|(index, text)| {
        let calls: Vec<ToolCall> = end.allowed.iter().filter(|call| call.choice == *index).cloned().collect();
        format!("{{\"index\":{index},\"message\":{}}}", assistant_message(text, &calls))
    });
    let choices: Vec<String> = choices.collect();
    format!("{{\"object\":\"chat.completion\",\"choices\":[{}]}}", choices.join(",")).into()
}

fn crashed(error: &tokio::task::JoinError) -> Refusal {
    Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway").because(error.to_string())
}
