//! What servers declare, taken into the journal, and remembered from there when a server can't be reached.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_domain::admission::ObserveTools;
use portcullis_domain::ids::ServerName;
use portcullis_domain::journal::{Body, StreamId};

use crate::journal::{Journal, StoreFault};
use crate::registry::tool::{Tool, read_list};

/// Takes in the list that a server just sent.
///
/// # Errors
///
/// When it is no list, or can't be journaled.
pub async fn take(journal: &Journal, server: &ServerName, list: Bytes) -> Result<Vec<Arc<Tool>>, String> {
    let text = std::str::from_utf8(&list).map_err(|_| "the list of tools is not UTF-8".to_owned())?;
    let (tools, problems) = read_list(server, text)?;
    for problem in problems {
        tracing::warn!(%server, %problem, "a tool is left out");
    }
    let count = u32::try_from(tools.len()).unwrap_or(u32::MAX);
    let observed = journal.execute(ObserveTools { server: server.clone(), tools: count, list: Body::new(list) }).await;
    if observed.map_err(|fault| fault.to_string())? {
        tracing::info!(%server, tools = count, "the server declares other tools than before");
    }
    Ok(tools)
}

/// What the server declared last, as the journal has it; none when it was never seen.
///
/// # Errors
///
/// When the store can't be read.
pub async fn recall(journal: &Journal, server: &ServerName) -> Result<Option<Vec<Arc<Tool>>>, StoreFault> {
    let name = server.clone();
    let Some(declared) = journal.read(move |world| world.registry.find(&name)).await? else { return Ok(None) };
    let entry = journal.entries(&StreamId::Control, declared.seq - 1, 1).await?.into_iter().next();
    let Some(entry) = entry else { return Ok(None) };
    let Some(list) = journal.body(&StreamId::Control, entry.position, 0).await? else { return Ok(None) };
    let text =
        std::str::from_utf8(&list).map_err(|_| StoreFault::Damaged("a list of tools is not UTF-8".to_owned()))?;
    Ok(Some(read_list(server, text).map_err(StoreFault::Damaged)?.0))
}
