//! A small HTTP client for tests, the demo and the agent: one base URL, one key, whole answers or server-sent events.
//!
//! It knows nothing of the gateway, checks nothing and never repeats a request by itself: what looks odd to it should look odd
//! in the test. `client` sends; `events` reads the lines of an event stream.

mod client;
mod events;

pub use client::{Answer, Client, EventStream, Failure};
pub use events::{Event, EventReader};
