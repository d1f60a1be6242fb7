//! What servers are asked, whatever carries it.

use std::future::Future;

use bytes::Bytes;
use http::HeaderValue;
use portcullis_domain::refusal::Refusal;
use portcullis_interop::mcp::egress::{self, Client, Outcome, Outgoing, Peer};

use crate::reply::{ToolAnswer, UpstreamFault};
use crate::upstreams::egress::ToolCall;

/// The most pages of a list of tools that are read.
const PAGES_LIMIT: usize = 64;
/// Who the gateway says that it is.
pub const CLIENT: Client<'static> = Client { name: "portcullis", version: env!("CARGO_PKG_VERSION") };

/// A server that answers one message at a time.
pub trait Askable: Sync {
    /// Sends the request that is made for the server as it was greeted, under an id, and waits for its outcome. `shown` is what is sent as `Authorization`, where it is not what the server
    /// is always sent.
    fn ask(
        &self,
        shown: Option<&HeaderValue>,
        request: impl Fn(&Peer<'_>, u64) -> Outgoing + Send + Sync,
    ) -> impl Future<Output = Result<Outcome, UpstreamFault>> + Send;
}

/// The server's list of tools, as a JSON array of what it sent.
///
/// # Errors
///
/// When it can't be had or read.
pub async fn list(server: &impl Askable) -> Result<Bytes, UpstreamFault> {
    let mut list = ToolList::default();
    for _ in 0..PAGES_LIMIT {
        let cursor = list.cursor.take();
        let outcome = server.ask(None, |peer, id| peer.list_tools(id, cursor.as_deref())).await?;
        if !list.add(&outcome)? {
            break;
        }
    }
    Ok(list.into_bytes())
}

/// Calls a tool, once.
///
/// # Errors
///
/// When there is no answer.
pub async fn call(server: &impl Askable, call: ToolCall<'_>) -> Result<ToolAnswer, UpstreamFault> {
    let shown = call.authorization;
    let call = egress::Call {
        name: call.name,
        arguments: Some(call.arguments),
        input_schema: call.input_schema,
        meta: None,
        task: call.task,
    };
    server.ask(shown, |peer, id| peer.call_tool(id, &call)).await.map(answer)
}

/// A list of tools that is read page by page.
#[derive(Default)]
struct ToolList {
    raw: Vec<String>,
    /// Where the next page begins.
    cursor: Option<String>,
}

impl ToolList {
    /// Takes in a page. Returns whether there is another.
    fn add(&mut self, outcome: &Outcome) -> Result<bool, UpstreamFault> {
        let page = egress::read_tools(outcome).map_err(|refusal| garbled(&refusal))?;
        for problem in &page.problems {
            tracing::warn!(%problem, "a tool is left out");
        }
        self.raw.extend(page.tools.into_iter().map(|tool| tool.raw));
        self.cursor = page.next_cursor;
        Ok(self.cursor.is_some())
    }

    /// The list as a JSON array of what the server sent.
    fn into_bytes(self) -> Bytes {
        format!("[{}]", self.raw.join(",")).into()
    }
}

/// What a server's outcome means for the call.
fn answer(outcome: Outcome) -> ToolAnswer {
    match outcome {
        Outcome::Result(raw) => ToolAnswer::Result(raw),
        Outcome::Error { code, message, data } => ToolAnswer::Error { code, message, data },
    }
}

/// What could not be read, as a fault.
#[must_use]
pub fn garbled(refusal: &Refusal) -> UpstreamFault {
    UpstreamFault::Garbled(format!("{}: {}", refusal.message, refusal.reasons.join("; ")))
}
