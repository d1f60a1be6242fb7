//! `GET /v1/models`: the models that the caller may call, and the agents that are called like models. Others stay hidden.

use portcullis_domain::call::Door;
use portcullis_domain::refusal::Refusal;
use serde_json::json;

use crate::doors::answer::{self, Answer};
use crate::doors::caller::Caller;
use crate::doors::path::decoded;
use crate::life::Gate;
use crate::snapshot::{Snapshot, no_model};

/// All models that the caller may call.
#[must_use]
pub fn list(gate: &Gate, caller: &Caller) -> Answer {
    let snapshot = gate.snapshot.load();
    let models = snapshot.catalogue.models().map(|(name, _)| name);
    let agents = snapshot.catalogue.agents().map(|(name, _)| name);
    let visible = models.chain(agents).filter(|name| is_shown(&snapshot, caller, name));
    let data: Vec<_> = visible.map(|name| object(name)).collect();
    answer::json(200, json!({"object": "list", "data": data}).to_string())
}

/// One model.
///
/// # Errors
///
/// When the name can't be read; and "not found" for one that the caller may not call, as for one that is not there.
pub fn one(gate: &Gate, caller: &Caller, path: &str) -> Result<Answer, Refusal> {
    let name = decoded(path.strip_prefix("/v1/models/").unwrap_or_default())?;
    if is_shown(&gate.snapshot.load(), caller, &name) {
        return Ok(answer::json(200, object(&name).to_string()));
    }
    Err(no_model(&name))
}

fn is_shown(snapshot: &Snapshot, caller: &Caller, name: &str) -> bool {
    snapshot.has_model(caller.chain(), name) || snapshot.agent_for(caller.chain(), name, Door::Openai).is_ok()
}

fn object(name: &str) -> serde_json::Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "portcullis"})
}
