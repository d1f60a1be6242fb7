//! Tokens for upstreams, as an authorization server gives them: what it is asked, what it may answer, and how long that is kept.
//!
//! [`ask`] speaks to a token endpoint; [`server`] finds out where that is, and [`resource`] whose it is where an upstream is to say so; [`kept`] sees to it that nobody is asked twice for the same token. On whose behalf a token
//! is asked for, and what it is shown to, others say: nothing here knows callers or upstreams.

pub mod ask;
pub mod kept;
pub mod resource;
pub mod server;

pub use ask::{Client, Grant, Issued, Proof};
pub use kept::{Kept, Tokens};
pub use resource::{Resource, Resources};
pub use server::{Place, Server, Servers};

/// How a kind of token is called (RFC 8693, section 3).
pub mod kind {
    /// An access token.
    pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
    /// An ID token of OpenID Connect.
    pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
    /// A JWT.
    pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
    /// An identity assertion for another authorization server (draft-ietf-oauth-identity-assertion-authz-grant-03).
    pub const ID_JAG: &str = "urn:ietf:params:oauth:token-type:id-jag";
}
