//! `GET /v1/models`: the models that the caller may call. Others stay hidden.

use portcullis_domain::call::{Door, Place};
use portcullis_domain::ids::SessionId;
use portcullis_domain::policy::{Effect, Question};
use portcullis_domain::refusal::{Code, Refusal};
use serde_json::json;

use crate::doors::answer::{self, Answer};
use crate::doors::caller::Caller;
use crate::life::Gate;
use crate::snapshot::Snapshot;

/// All models that the caller may call.
#[must_use]
pub fn list(gate: &Gate, caller: &Caller) -> Answer {
    let snapshot = gate.snapshot.load();
    let names = snapshot.catalogue.models().map(|(name, _)| name).filter(|name| may_call(&snapshot, caller, name));
    let data: Vec<_> = names.map(|name| object(name)).collect();
    answer::json(200, json!({"object": "list", "data": data}).to_string())
}

/// One model.
///
/// # Errors
///
/// [`Code::CapabilityNotFound`] for one that the caller may not call, as for one that is not there.
pub fn one(gate: &Gate, caller: &Caller, path: &str) -> Result<Answer, Refusal> {
    let name = path.trim_start_matches("/v1/models/");
    if may_call(&gate.snapshot.load(), caller, name) {
        return Ok(answer::json(200, object(name).to_string()));
    }
    Err(Refusal::new(Code::CapabilityNotFound, format!("there is no model `{name}`")).about("model"))
}

fn object(name: &str) -> serde_json::Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "portcullis"})
}

/// Asked as in a session that has no history. A rule that looks at the session may answer otherwise at the call.
fn may_call(snapshot: &Snapshot, caller: &Caller, name: &str) -> bool {
    let Some(model) = snapshot.catalogue.model(name) else { return false };
    let Ok(session) = "list".parse().map(|name| SessionId { owner: caller.principal.clone(), name }) else {
        return false;
    };
    let question = Question {
        principal: &caller.principal,
        capability: &model.capability,
        arguments: None,
        session: &session,
        door: Door::Openai,
        place: Place::Request,
    };
    snapshot.policy.decide(&question).effect == Effect::Allow
}
