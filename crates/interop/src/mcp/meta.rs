//! The members of `_meta` that belong to the protocol itself.

/// The prefix of the protocol's own members in `_meta`.
pub(super) const PREFIX: &str = "io.modelcontextprotocol/";
/// The version that a modern request speaks.
pub(super) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client of a modern request can do.
pub(super) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who sends a modern request.
pub(super) const CLIENT: &str = "io.modelcontextprotocol/clientInfo";
/// Who answers a modern request.
pub(super) const SERVER: &str = "io.modelcontextprotocol/serverInfo";
