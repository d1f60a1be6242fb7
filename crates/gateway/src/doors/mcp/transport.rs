//! `Mcp-Session-Id` (MCP 2025-03-26 to 2025-11-25, transports): a sealed token, so that nothing is kept for it and a restart does not end it.

use http::HeaderName;
use portcullis_domain::ids::{PrincipalName, SessionId, SessionName};
use portcullis_domain::session::Origin;
use portcullis_interop::mcp::{Version, elicit};
use serde::{Deserialize, Serialize};

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::text_header;

/// The header of the transport's session.
pub const TRANSPORT: HeaderName = HeaderName::from_static("mcp-session-id");
/// What these tokens are for.
pub const PURPOSE: &str = "mcp transport";

/// What a token holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Transport {
    principal: PrincipalName,
    session: SessionName,
    is_minted: bool,
    version: String,
    /// Whether the client shows forms to whoever is in front of it.
    #[serde(default)]
    elicits: bool,
}

impl Transport {
    /// A connection of that version that leads to that session, with a client of these raw capabilities.
    #[must_use]
    pub fn new(session: &SessionId, origin: Origin, version: Version, capabilities: &str) -> Self {
        Self {
            principal: session.owner.clone(),
            session: session.name.clone(),
            is_minted: origin == Origin::Minted,
            version: version.as_str().to_owned(),
            elicits: elicit::is_possible(version, capabilities),
        }
    }

    /// Whether the client shows forms to whoever is in front of it.
    #[must_use]
    pub fn elicits(&self) -> bool {
        self.elicits
    }

    /// The session that it leads to.
    #[must_use]
    pub fn session(self, owner: &PrincipalName) -> (SessionId, Origin) {
        let origin = if self.is_minted { Origin::Minted } else { Origin::Named };
        (SessionId { owner: owner.clone(), name: self.session }, origin)
    }
}

/// The connection that a request belongs to; none where it names none, as all modern ones do.
///
/// # Errors
///
/// 404 for a token that was not made for this caller: the client then begins anew.
pub fn resume(doors: &Doors, arrived: &Arrived) -> Result<Option<Transport>, Box<Answer>> {
    let is_modern = text_header(&arrived.headers, &HeaderName::from_static("mcp-protocol-version"))
        == Some(Version::MODERN.as_str());
    let Some(token) = arrived.headers.get(TRANSPORT).filter(|_| !is_modern) else { return Ok(None) };
    let transport = token.to_str().ok().and_then(|token| doors.transport.open::<Transport>(PURPOSE, token));
    let is_own = |transport: &Transport| {
        let session = SessionId { owner: transport.principal.clone(), name: transport.session.clone() };
        transport.principal == arrived.caller.principal && arrived.caller.may_enter(&session)
    };
    match transport.filter(is_own) {
        Some(transport) => Ok(Some(transport)),
        None => Err(Box::new(answer::json(
            404,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":404,"message":"there is no such session"}}"#,
        ))),
    }
}
