//! `tools/call`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::frame::jsonrpc::{self, ErrorObject, Id};
use portcullis_interop::mcp::ingress::CallTool;
use portcullis_interop::mcp::{Era, answer as written, elicit as elicited};
use portcullis_interop::refuse;
use tokio::sync::{mpsc, oneshot};

use crate::asking::Asking;
use crate::doors::answer::{self, Answer, CALL, PIECES_LIMIT, REPLAYED};
use crate::doors::arrived::Doors;
use crate::doors::mcp::elicit::{self, End, Question, Way};
use crate::life::{Called, Gate};
use crate::repetition::Patience;
use crate::reply::ToolAnswer;

/// How a call was asked for.
pub struct Asked {
    /// The idempotency key.
    pub key: Option<String>,
    /// In which era.
    pub era: Era,
    /// How whoever is in front of the client can be asked.
    pub way: Way,
}

/// Answers a call. Where a person must say yes and may do so in the client, they are asked before it is parked.
pub async fn answer(
    doors: &Arc<Doors>,
    asking: Asking,
    call: &CallTool<'_>,
    asked: Asked,
    toolset: Option<&str>,
) -> Answer {
    let raw = call.arguments.map_or("{}", |raw| raw.get());
    let Asked { key, era, way } = asked;
    let wish = Wish {
        asking,
        name: call.name.clone().into_owned(),
        toolset: toolset.map(str::to_owned),
        arguments: Bytes::copy_from_slice(raw.as_bytes()),
        key,
        era,
    };
    let answered = wish.make(&doors.gate).await;
    let Err(refusal) = &answered else { return write(&call.id, era, answered) };
    match (elicit::question(doors, &wish.asking, refusal, way).await, way) {
        (Some(question), Way::OnStream) => {
            ask(doors.clone(), wish, call.id.clone().into_owned(), question, refusal.clone())
        }
        (Some(question), Way::Rounds { .. }) => {
            answer::json(200, elicited::required(&call.id, &question.message, &question.token))
        }
        (Some(_), Way::Nobody) | (None, _) => write(&call.id, era, answered),
    }
}

/// A call that somebody wants to be made.
struct Wish {
    asking: Asking,
    name: String,
    toolset: Option<String>,
    arguments: Bytes,
    key: Option<String>,
    era: Era,
}

impl Wish {
    /// The work goes on in a task of its own, so that it is settled even when the caller leaves; leaving cancels it in the modern era, and in the legacy era it means nothing.
    async fn make(&self, gate: &Arc<Gate>) -> Result<Called, Refusal> {
        let snapshot = gate.snapshot.load_full();
        let found = snapshot.tool(self.toolset.as_deref(), &self.name);
        let Some(tool) = found.clone().filter(|tool| snapshot.shows_tool(self.asking.chain(), tool)) else {
            // Whether there is such a tool that others may call, nobody learns.
            let raw = std::str::from_utf8(&self.arguments).unwrap_or_default();
            let hidden = found.as_deref().map(|tool| (tool, raw));
            return Err(gate.refuse_tool(&self.asking, &self.name, hidden).await);
        };
        let (stays, gone) = oneshot::channel::<()>();
        let (stays, listens) = (Arc::new(stays), Arc::new(()));
        let patience =
            Patience { key: self.key.clone(), stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
        // In the legacy era the task itself keeps it, so that the caller's leaving is not seen.
        let (kept_here, kept_there) = match self.era {
            Era::Modern => (Some(stays), None),
            Era::Legacy => (None, Some(stays)),
        };
        let (worker, asking, arguments) = (gate.clone(), self.asking.clone(), self.arguments.clone());
        let work = tokio::spawn(async move {
            let _kept = kept_there;
            worker.call_tool(&asking, &tool, arguments, patience).await
        });
        let answered = work.await;
        drop((kept_here, listens));
        let answered = answered.unwrap_or_else(|error| {
            let refusal = Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway");
            Err(refusal.because(error.to_string()))
        });
        if let Ok(Called { call, must_be_told: true, .. }) = answered {
            gate.repetitions.delivered(&self.asking.session, call);
        }
        answered
    }
}

/// Asks on the stream of the call. Once somebody has said yes it is made; otherwise, and when nobody answers, the answer is what it would have been at once.
fn ask(doors: Arc<Doors>, wish: Wish, id: Id<'static>, question: Question, refusal: Refusal) -> Answer {
    let (sender, receiver) = mpsc::channel(PIECES_LIMIT);
    tokio::spawn(async move {
        let send = async |message: String| sender.send(Bytes::from(written::event(&message))).await.is_ok();
        // Listened for before it is asked, so that no answer is missed.
        let spoken = doors.gate.spoken.listen();
        let request = Id::text(&question.token);
        if !send(elicited::request(&request, &question.message)).await {
            return;
        }
        let answered = match elicit::answered(&doors, &wish.asking, question.call, spoken, sender.closed()).await {
            End::Gone => return,
            End::Said => wish.make(&doors.gate).await,
            End::PutAway => Err(refusal),
            End::Late => {
                send(elicited::cancelled(&request)).await;
                Err(refusal)
            }
        };
        send(message(&id, wish.era, answered.map(|called| called.answer))).await;
    });
    answer::events(receiver)
}

/// The one place where the outcome of a call becomes an answer: what policy, money and upstreams say is a result that the model reads.
fn write(id: &Id<'_>, era: Era, answered: Result<Called, Refusal>) -> Answer {
    let made = answered.as_ref().ok().map(|called| (called.call, called.is_replay));
    let approval = answered.as_ref().err().and_then(|refusal| refusal.approval);
    let answer = write_plain(id, era, answered.map(|called| called.answer));
    match made {
        Some((call, false)) => answer::with_header(answer, CALL, &call.to_string()),
        Some((call, true)) => {
            answer::with_header(answer::with_header(answer, CALL, &call.to_string()), REPLAYED, "true")
        }
        None => match approval {
            Some(approval) => answer::with_header(answer, LOCATION, &refuse::approval_path(approval)),
            None => answer,
        },
    }
}

fn write_plain(id: &Id<'_>, era: Era, answered: Result<ToolAnswer, Refusal>) -> Answer {
    answer::json(200, message(id, era, answered))
}

fn message(id: &Id<'_>, era: Era, answered: Result<ToolAnswer, Refusal>) -> String {
    let result = match answered {
        Ok(ToolAnswer::Result(raw)) => raw,
        Ok(ToolAnswer::Error { code, message, data }) => {
            let error = ErrorObject::new(code, message);
            let error = if let Some(data) = data { error.with_data(data) } else { error };
            return jsonrpc::error(Some(id), &error);
        }
        Err(refusal) => {
            if !refusal.reasons.is_empty() {
                tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "refused");
            }
            if refusal.code == Code::CapabilityNotFound {
                return jsonrpc::error(Some(id), &ErrorObject::new(jsonrpc::INVALID_PARAMS, refusal.message));
            }
            refuse::mcp_tool_result(&refusal)
        }
    };
    let message = written::called(id, era, &result)
        .or_else(|refusal| written::called(id, era, &refuse::mcp_tool_result(&refusal)));
    message.unwrap_or_default()
}
