//! A completion by any model, or by an agent that is called like one.

use std::sync::Arc;

use portcullis_domain::refusal::Refusal;
use portcullis_interop::llm::chat::ChatRequest;

use crate::asking::Asking;
use crate::doors::openai::reply::Reply;
use crate::doors::openai::{plain, stream};
use crate::life::Gate;

/// A completion, whole or in pieces.
pub(super) async fn complete(gate: Arc<Gate>, asking: Asking, request: ChatRequest) -> Result<Reply, Refusal> {
    if request.is_stream() {
        stream::reply(gate, asking, request).await
    } else {
        plain::reply(gate, asking, request).await
    }
}

/// Whether it may be asked again when nobody knows what became of it: a model has no effect outside, and an agent may have.
pub(super) fn is_harmless(gate: &Gate, model: &str) -> bool {
    gate.snapshot.load().catalogue.model(model).is_some()
}
