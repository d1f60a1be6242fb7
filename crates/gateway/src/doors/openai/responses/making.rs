//! A response that is being made, and how it is kept.

use std::sync::Arc;

use portcullis_domain::admission::keep_records::Write;
use portcullis_domain::ids::RecordId;
use portcullis_domain::refusal::Refusal;
use portcullis_interop::llm::responses::Frame;
use serde_json::{Value, json};

use crate::asking::Asking;
use crate::doors::openai::responses::kept;
use crate::life::Gate;

/// A response that is being made.
#[derive(Clone)]
pub(super) struct Making {
    pub(super) gate: Arc<Gate>,
    pub(super) asking: Asking,
    pub(super) frame: Frame,
    pub(super) id: RecordId,
    /// The items of the request, as they are kept.
    pub(super) input: Vec<Value>,
    pub(super) is_stored: bool,
    pub(super) conversation: Option<RecordId>,
}

impl Making {
    /// Keeps the response, and what was said in its conversation. Nothing of its end is released before.
    pub(super) async fn keep(&self, response: &Value, output: &[Value]) -> Result<(), Refusal> {
        let mut writes = Vec::new();
        if self.is_stored {
            let head = kept::body(&json!({"response": response, "input": self.input}));
            writes.push(Write::Put { id: self.id.clone(), is_lasting: false, head });
        }
        if let Some(conversation) = &self.conversation {
            let items: Vec<Value> = self.input.iter().chain(output).cloned().collect();
            writes.push(kept::extend(conversation, &items)?);
        }
        if writes.is_empty() {
            return Ok(());
        }
        let command = kept::keep(&self.gate, &self.asking.authority, &self.asking.session, self.asking.origin, writes);
        let kept = self.gate.journal.execute(command).await;
        if self.conversation.is_some() && !matches!(kept, Ok(Err(_))) {
            self.asking.effect.begin();
        }
        kept?
    }
}
