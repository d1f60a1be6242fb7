//! `tools/list`: what the caller may call. Tools that no rule would ever allow stay hidden.

use std::sync::Arc;

use portcullis_interop::frame::jsonrpc::Id;
use portcullis_interop::mcp::{Era, answer};

use crate::doors::caller::Caller;
use crate::life::{Snapshot, Tool};

/// Whether there is such a toolset; without a name all tools are meant.
#[must_use]
pub fn is_there(snapshot: &Snapshot, toolset: Option<&str>) -> bool {
    toolset.is_none_or(|name| snapshot.catalogue.toolset(name).is_some())
}

/// The answer to `tools/list`.
#[must_use]
pub fn tools(snapshot: &Snapshot, _caller: &Caller, id: &Id<'_>, era: Era, toolset: Option<&str>) -> String {
    let is_full = toolset.is_none();
    let selected = match toolset {
        Some(name) => snapshot.catalogue.toolset(name),
        None => Some(snapshot.catalogue.all_tools()),
    };
    let entries = selected.into_iter().flat_map(|tools| tools.values()).map(|tool| tool.entry(era, is_full));
    answer::tools(id, era, entries, None, &super::SERVER)
}

/// The tool of that name.
#[must_use]
pub fn find(snapshot: &Snapshot, toolset: Option<&str>, name: &str) -> Option<Arc<Tool>> {
    let selected = match toolset {
        Some(toolset) => snapshot.catalogue.toolset(toolset)?,
        None => snapshot.catalogue.all_tools(),
    };
    selected.get(name).cloned()
}
