//! `tools/call`.

use std::sync::Arc;

use bytes::Bytes;
use http::header::LOCATION;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::frame::jsonrpc::{self, ErrorObject, Id};
use portcullis_interop::mcp::ingress::CallTool;
use portcullis_interop::mcp::{Era, answer as written};
use portcullis_interop::refuse;
use tokio::sync::oneshot;

use crate::asking::Asking;
use crate::doors::answer::{self, Answer, CALL, REPLAYED};
use crate::life::{Called, Gate};
use crate::repetition::Patience;
use crate::reply::ToolAnswer;

/// Answers a call. The work goes on in a task of its own, so that it is settled even when the caller leaves; leaving cancels it in the modern era, and in the legacy era it means nothing.
pub async fn answer(
    gate: &Arc<Gate>,
    asking: Asking,
    call: &CallTool<'_>,
    key: Option<String>,
    (era, toolset): (Era, Option<&str>),
) -> Answer {
    let raw = call.arguments.map_or("{}", |raw| raw.get());
    let snapshot = gate.snapshot.load_full();
    let found = snapshot.tool(toolset, &call.name);
    let Some(tool) = found.clone().filter(|tool| snapshot.shows_tool(asking.chain(), tool)) else {
        // Whether there is such a tool that others may call, nobody learns.
        let hidden = found.as_deref().map(|tool| (tool, raw));
        return write(&call.id, era, Err(gate.refuse_tool(&asking, &call.name, hidden).await));
    };
    let arguments = Bytes::copy_from_slice(raw.as_bytes());
    let (stays, gone) = oneshot::channel::<()>();
    let (stays, listens) = (Arc::new(stays), Arc::new(()));
    let patience = Patience { key, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
    let session = asking.session.clone();
    // In the legacy era the task itself keeps it, so that the caller's leaving is not seen.
    let (kept_here, kept_there) = match era {
        Era::Modern => (Some(stays), None),
        Era::Legacy => (None, Some(stays)),
    };
    let worker = gate.clone();
    let work = tokio::spawn(async move {
        let _kept = kept_there;
        worker.call_tool(&asking, &tool, arguments, patience).await
    });
    let answered = work.await;
    drop((kept_here, listens));
    let answered = answered.unwrap_or_else(|error| {
        Err(Refusal::new(Code::UpstreamFailed, "the call ended by a fault of the gateway").because(error.to_string()))
    });
    if let Ok(Called { call, must_be_told: true, .. }) = answered {
        gate.repetitions.delivered(&session, call);
    }
    write(&call.id, era, answered)
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
    let result = match answered {
        Ok(ToolAnswer::Result(raw)) => raw,
        Ok(ToolAnswer::Error { code, message, data }) => {
            let error = ErrorObject::new(code, message);
            let error = if let Some(data) = data { error.with_data(data) } else { error };
            return answer::json(200, jsonrpc::error(Some(id), &error));
        }
        Err(refusal) => {
            if !refusal.reasons.is_empty() {
                tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "refused");
            }
            if refusal.code == Code::CapabilityNotFound {
                let error = ErrorObject::new(jsonrpc::INVALID_PARAMS, refusal.message);
                return answer::json(200, jsonrpc::error(Some(id), &error));
            }
            refuse::mcp_tool_result(&refusal)
        }
    };
    let message = written::called(id, era, &result)
        .or_else(|refusal| written::called(id, era, &refuse::mcp_tool_result(&refusal)));
    answer::json(200, message.unwrap_or_default())
}
