//! Which tools there are: servers are asked all at once, and nobody waits for one that does not answer any longer than is configured.
//!
//! A server that takes longer than `registry.tools_wait_s` is asked on in the background. Until it answers it has the tools that it declared last, or none; [`Listings::has_news`] tells when it is worth
//! asking again what is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::ids::ServerName;
use tokio::task::JoinHandle;

use crate::journal::Journal;
use crate::observe;
use crate::registry::Tool;
use crate::upstreams::egress::ToolServer;

/// How long a server may take to say which tools it has, before it is asked anew, where nobody waits for longer.
const LIST_TIMEOUT: Duration = Duration::from_secs(15);

/// What servers say, and of which nothing is known.
#[derive(Default)]
pub struct Observed {
    /// All tools that are known.
    pub tools: Vec<Arc<Tool>>,
    /// Servers that were never seen, so that nothing is known of their tools.
    pub unreachable: Vec<ServerName>,
    /// Whether a server can't be asked now; one that is still to answer does not count.
    pub has_unreached: bool,
}

impl Observed {
    fn add(&mut self, name: ServerName, tools: Option<Vec<Arc<Tool>>>) {
        match tools {
            Some(tools) => self.tools.extend(tools),
            None => self.unreachable.push(name),
        }
    }
}

/// The servers that have not answered yet.
#[derive(Default)]
pub struct Listings {
    under_way: BTreeMap<ServerName, Listing>,
}

impl Listings {
    /// Asks all servers for their tools, and waits no longer than `patience`. One that does not answer has the tools that it had before; one that was asked before and has not answered is not asked twice, nor waited for again.
    pub async fn observe<'a>(
        &mut self,
        journal: &Journal,
        connections: impl Iterator<Item = (&'a ServerName, &'a Arc<dyn ToolServer>)>,
        patience: Duration,
    ) -> Observed {
        let mut before = std::mem::take(&mut self.under_way);
        for (name, connection) in connections {
            let same = before.remove(name).filter(|listing| Arc::ptr_eq(&listing.connection, connection));
            let listing = same.unwrap_or_else(|| Listing::begin(journal, name, connection, patience.max(LIST_TIMEOUT)));
            self.under_way.insert(name.clone(), listing);
        }
        // Nobody wants to know any more what the others would say.
        drop(before);
        let begun = self.under_way.values_mut().filter(|listing| !listing.was_waited_for);
        let begun: Vec<&mut Listing> = begun.collect();
        let _ = tokio::time::timeout(patience, async {
            for listing in begun {
                listing.end().await;
            }
        })
        .await;
        self.collect(journal).await
    }

    /// Whether a server has answered that was not waited for.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.under_way.values().any(|listing| listing.task.is_finished())
    }

    /// Asks a connection no longer that was made for nothing. Says whether it was being asked.
    pub fn forget(&mut self, connection: &Arc<dyn ToolServer>) -> bool {
        let before = self.under_way.len();
        self.under_way.retain(|_, listing| !Arc::ptr_eq(&listing.connection, connection));
        self.under_way.len() < before
    }

    async fn collect(&mut self, journal: &Journal) -> Observed {
        let mut observed = Observed::default();
        for (name, mut listing) in std::mem::take(&mut self.under_way) {
            if listing.asked.is_none() && !listing.task.is_finished() {
                if !listing.was_waited_for {
                    tracing::warn!(server = %name, "the server has not listed its tools yet; until then it has those that it declared last");
                }
                listing.was_waited_for = true;
                observed.add(name.clone(), observe::recall(journal, &name).await.ok().flatten());
                self.under_way.insert(name, listing);
                continue;
            }
            listing.end().await;
            let asked = listing.asked.take().unwrap_or_default();
            observed.has_unreached |= !asked.is_reached;
            observed.add(name, asked.tools);
        }
        observed
    }
}

/// A server that is being asked.
struct Listing {
    connection: Arc<dyn ToolServer>,
    task: JoinHandle<Asked>,
    /// What the task has found out.
    asked: Option<Asked>,
    /// Somebody has waited for it and left.
    was_waited_for: bool,
}

impl Listing {
    fn begin(journal: &Journal, name: &ServerName, connection: &Arc<dyn ToolServer>, limit: Duration) -> Self {
        let (asked_journal, asked_name, asked) = (journal.clone(), name.clone(), connection.clone());
        let task = tokio::spawn(async move { ask(&asked_journal, &asked_name, asked.as_ref(), limit).await });
        Self { connection: connection.clone(), task, asked: None, was_waited_for: false }
    }

    /// Waits until the server has answered or has taken too long.
    async fn end(&mut self) {
        if self.asked.is_none() {
            let asked = (&mut self.task).await;
            let failed = |error| tracing::error!(%error, "asking a server for its tools failed");
            self.asked = Some(asked.map_err(failed).unwrap_or_default());
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // Whoever stops the connection next must not wait for it.
        self.task.abort();
    }
}

/// What is known of a server's tools.
#[derive(Default)]
struct Asked {
    is_reached: bool,
    tools: Option<Vec<Arc<Tool>>>,
}

/// A server's tools: as it says now, or else as it said last.
async fn ask(journal: &Journal, name: &ServerName, connection: &dyn ToolServer, limit: Duration) -> Asked {
    let listed = tokio::time::timeout(limit, connection.list()).await;
    let problem = match listed {
        Ok(Ok(list)) => match observe::take(journal, name, list).await {
            Ok(tools) => return Asked { is_reached: true, tools: Some(tools) },
            Err(problem) => problem,
        },
        Ok(Err(fault)) => fault.to_string(),
        Err(_) => format!("did not list its tools within {} s", limit.as_secs()),
    };
    tracing::warn!(server = %name, %problem, "the server's tools can't be listed now");
    Asked { is_reached: false, tools: observe::recall(journal, name).await.ok().flatten() }
}
