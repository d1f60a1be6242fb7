//! The binding by gRPC: methods of the service `A2AService`, and its messages in Protocol Buffers.
//!
//! Its messages are those that HTTP+JSON writes as JSON, so a request becomes that JSON at once and everything behind is the same line; what goes out was that JSON until
//! here. `v1_0` and `v0_3` are the messages by number, made from the definitions once. How a failure is said is in [`status`](super::status).

mod request;
mod service;
mod v0_3;
mod v1_0;

pub use service::service;

pub(super) use request::{from_params, to_params};
pub(super) use service::{answered, answered_json, asked, asked_json, method, path};
