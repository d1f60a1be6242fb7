//! What of OAuth is spoken here: a task token is exchanged for one that is worth less (RFC 8693), and clients learn where (RFC 8414).
//!
//! It gives nobody anything: whoever comes has a task token already, and gets one for at most the same. Start with [`exchange`].

pub mod exchange;
pub mod form;
pub mod metadata;
pub mod refuse;

/// Where tokens are exchanged.
pub const TOKEN_PATH: &str = "/oauth/token";
/// Where clients learn of it.
pub const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
