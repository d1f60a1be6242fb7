//! The one way out.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use portcullis_domain::admission::Admitted;
use portcullis_domain::ids::{ServerName, SessionId};
use portcullis_domain::registry::Replica;

use crate::reply::{ToolAnswer, UpstreamFault};
use crate::upstreams::client::HttpClient;

/// A call of a tool, as its server knows it.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// Its name for the server.
    pub name: &'a str,
    /// The raw JSON object of the arguments.
    pub arguments: &'a str,
    /// The raw schema of the arguments: a server may want some of them in headers.
    pub input_schema: &'a str,
    /// The session that it is made in.
    pub session: &'a SessionId,
    /// The replica that it goes to, where there are several.
    pub replica: Option<&'a Replica>,
    /// The task token that goes with it, for a server that is an agent.
    pub task: Option<&'a str>,
    /// What is sent as `Authorization`, where it is not what the server is always sent; marked as sensitive, so that nothing prints it.
    pub authorization: Option<&'a HeaderValue>,
}

/// A future that a connector hands out.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = Result<T, UpstreamFault>> + Send + 'a>>;

/// A connection to an MCP server, over whatever carries it.
pub trait ToolServer: Send + Sync {
    /// The server's list of tools, as a JSON array of what it sent.
    fn list(&self) -> Waiting<'_, Bytes>;

    /// Calls a tool, once.
    fn call<'a>(&'a self, call: ToolCall<'a>) -> Waiting<'a, ToolAnswer>;

    /// Whether the server has said since the last list that its tools have changed.
    fn has_changed(&self) -> bool;

    /// A session is over: what is there for it alone is ended.
    fn session_ended(&self, _session: &SessionId) {}

    /// Ends the connection, and the child process where there is one.
    fn stop(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The connections by server.
pub type ToolServers = BTreeMap<ServerName, Arc<dyn ToolServer>>;

/// Everything that calls leave by.
pub struct Egress {
    /// For models and for tool servers over HTTP.
    pub http: HttpClient,
    /// Replaced as a whole when the configuration changes.
    pub servers: ArcSwap<ToolServers>,
}

impl Egress {
    /// A way out without any tool servers yet.
    #[must_use]
    pub fn new(http: HttpClient) -> Self {
        Self { http, servers: ArcSwap::from_pointee(ToolServers::new()) }
    }

    /// Forwards an admitted call of a tool: its payload is the arguments.
    ///
    /// # Errors
    ///
    /// When there is no answer.
    pub async fn call_tool(
        &self,
        admitted: &Admitted,
        server: &ServerName,
        name: &str,
        input_schema: &str,
        task: Option<&str>,
        authorization: Option<&HeaderValue>,
    ) -> Result<ToolAnswer, UpstreamFault> {
        let connection = self.servers.load().get(server).cloned();
        let connection =
            connection.ok_or_else(|| UpstreamFault::Unreachable("the server is not configured any more".to_owned()))?;
        let arguments =
            std::str::from_utf8(admitted.payload()).map_err(|error| UpstreamFault::Unreachable(error.to_string()))?;
        let replica = admitted.placement().map(|placement| &placement.replica);
        let session = admitted.session();
        connection.call(ToolCall { name, arguments, input_schema, session, replica, task, authorization }).await
    }

    /// A session is over: what servers keep for it alone is ended.
    pub fn session_ended(&self, session: &SessionId) {
        self.servers.load().values().for_each(|server| server.session_ended(session));
    }
}
