//! Keys: issued, listed and taken back by administrators; and those that the gateway itself signs with.

use portcullis_domain::admission::{RevokeKey, RotateSigning};
use portcullis_domain::ids::{Actor, KeyId, PrincipalName};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::doors::admin::form::{json, read};
use crate::doors::admin::health::administrator;
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::caller::Caller;
use crate::doors::once::{self, Outcome};
use crate::identity::issue::issue;
use crate::life::Gate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    principal: PrincipalName,
    /// When the key stops being valid, in microseconds since 1970.
    expires_at_us: Option<Timestamp>,
}

#[derive(Serialize)]
struct Created {
    id: String,
    principal: PrincipalName,
    /// Shown this once; only its digest is kept.
    key: String,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    principal: PrincipalName,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

/// `POST /api/v1/identity/keys`.
pub(super) async fn create(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let wanted: Wanted = read(&arrived.body)?;
    if !gate.snapshot.load().has_principal(&wanted.principal) {
        let message = format!("there is no principal `{}`; add it to `identity.principals` first", wanted.principal);
        return Err(Refusal::new(Code::NotFound, message).about("principal"));
    }
    let issued =
        issue(Actor::Principal(arrived.caller.principal.clone()), wanted.principal.clone(), wanted.expires_at_us)?;
    let id = issued.command.key.key.to_string();
    // Of a key only its digest is kept, here too: who repeats the request learns which key it was and not its text.
    let kept = serde_json::json!({"id": id, "principal": wanted.principal}).to_string();
    match once::perform(gate, arrived, None, issued.command, move |()| answer::whole_json(201, kept.clone())).await? {
        Outcome::Now(()) => json(201, &Created { id, principal: wanted.principal, key: issued.text }),
        Outcome::Before(before) => Ok(*before),
    }
}

/// `GET /api/v1/identity/keys`.
pub(super) fn list(gate: &Gate, caller: &Caller) -> Result<Answer, Refusal> {
    administrator(gate, caller)?;
    let keys = gate.journal.keys();
    let listed = |(id, key): (&KeyId, &portcullis_domain::identity::Key)| Listed {
        id: id.to_string(),
        principal: key.principal.clone(),
        created_at: key.created_at.to_string(),
        expires_at: key.expires_at.map(|at| at.to_string()),
        revoked_at: key.revoked_at.map(|at| at.to_string()),
    };
    json(200, &serde_json::json!({"keys": keys.all().map(listed).collect::<Vec<_>>()}))
}

/// `POST /api/v1/identity/signing/rotate`: the gateways of this journal sign with another key from now on.
pub(super) async fn rotate(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let command = RotateSigning { by: Actor::Principal(arrived.caller.principal.clone()) };
    once::answered(gate, arrived, None, command, |generation| {
        answer::whole_json(200, serde_json::json!({"generation": generation}).to_string())
    })
    .await
}

/// `DELETE /api/v1/identity/keys/{id}`.
pub(super) async fn revoke(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let caller = &arrived.caller;
    administrator(gate, caller)?;
    let key: KeyId = id.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem))?;
    let command = RevokeKey { by: Actor::Principal(caller.principal.clone()), key };
    once::answered(gate, arrived, None, command, |()| once::empty(204)).await
}
