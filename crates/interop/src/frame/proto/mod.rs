//! Protocol Buffers (proto3) as the JSON that they are written as, by tables instead of types.
//!
//! A [`Message`] says which field has which number, name and kind. [`to_json`] reads a message and writes its JSON, [`from_json`] the other way round; both by the rules of
//! <https://protobuf.dev/programming-guides/json/>, and for what a proxy needs: a field that the table does not have is left out, as every reader of Protocol Buffers does.
//! Members that must be there are written even when they have their default, since readers of JSON look for them.
//!
//! Knows no message of any dialect.

mod read;
mod schema;
pub(crate) mod time;
mod wire;
mod write;

pub(crate) use read::to_json;
pub(crate) use schema::{Field, Kind, Message};
pub(crate) use write::from_json;
