//! `tools/list`: what the caller may call. Tools that no rule would ever allow stay hidden.

use portcullis_interop::frame::jsonrpc::Id;
use portcullis_interop::mcp::{Era, answer};

use crate::doors::caller::Caller;
use crate::doors::mcp::server::SERVER;
use crate::snapshot::Snapshot;

/// The answer to `tools/list`, of all tools or of a toolset: what the caller may be allowed to call.
#[must_use]
pub fn tools(snapshot: &Snapshot, caller: &Caller, id: &Id<'_>, era: Era, toolset: Option<&str>) -> String {
    let is_full = toolset.is_none();
    let entries = snapshot.tools(caller.chain(), toolset).map(|tool| tool.entry(era, is_full));
    answer::tools(id, era, entries, None, &SERVER)
}
