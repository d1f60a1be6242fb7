//! Keys: issued, replaced, listed and taken back by administrators.

use std::collections::BTreeSet;

use portcullis_domain::admission::{RevokeKey, RotateKey};
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::identity::scope::{Entrance, PATTERNS_LIMIT, Pattern, Scope};
use portcullis_domain::ids::{Actor, KeyId, PrincipalName};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::doors::admin::form::{json, read};
use crate::doors::admin::health::administrator;
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::Caller;
use crate::doors::once::{self, Outcome};
use crate::identity::issue::{issue, new_key};
use crate::life::Gate;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    principal: PrincipalName,
    /// When the key stops being valid, in microseconds since 1970.
    expires_at_us: Option<Timestamp>,
    /// Where it may be shown; everywhere unless said.
    #[serde(default)]
    doors: BTreeSet<Entrance>,
    /// What may be called with it, as in `model/*`; everything unless said.
    #[serde(default)]
    capabilities: BTreeSet<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rotation {
    /// How long the old key is still valid, in seconds.
    overlap_s: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { overlap_s: OVERLAP_S }
    }
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
    #[serde(skip_serializing_if = "Scope::is_everything")]
    scope: Scope,
}

/// How long a key that is replaced is still valid, if nothing is said, in seconds.
const OVERLAP_S: u64 = 3_600;
/// The longest that it may be, in seconds.
const OVERLAP_LIMIT_S: u64 = 90 * 86_400;

/// `POST /api/v1/identity/keys`.
pub(super) async fn create(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let wanted: Wanted = read(&arrived.body)?;
    if !gate.snapshot.load().has_principal(&wanted.principal) {
        let message = format!("there is no principal `{}`; add it to `identity.principals` first", wanted.principal);
        return Err(Refusal::new(Code::NotFound, message).about("principal"));
    }
    if wanted.capabilities.len() > PATTERNS_LIMIT {
        let message = format!("a key is for at most {PATTERNS_LIMIT} patterns of capabilities");
        return Err(Refusal::new(Code::TooMany, message).about("capabilities"));
    }
    let scope = Scope { doors: wanted.doors, capabilities: wanted.capabilities };
    let by = Actor::Principal(arrived.caller.principal.clone());
    let issued = issue(by, wanted.principal.clone(), wanted.expires_at_us, scope)?;
    let id = issued.command.key.key.to_string();
    // Of a key only its digest is kept, here too: who repeats the request learns which key it was and not its text.
    let kept = serde_json::json!({"id": id, "principal": wanted.principal}).to_string();
    match once::perform(gate, arrived, None, issued.command, move |()| answer::whole_json(201, kept.clone())).await? {
        Outcome::Now(()) => json(201, &Created { id, principal: wanted.principal, key: issued.text }),
        Outcome::Before(before) => Ok(*before),
    }
}

/// `POST /api/v1/identity/keys/{id}/rotate`.
pub(super) async fn rotate(doors: &Doors, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let gate = &doors.gate;
    administrator(gate, &arrived.caller)?;
    let old: KeyId = id.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem))?;
    let Rotation { overlap_s } = read(&arrived.body)?;
    if overlap_s > OVERLAP_LIMIT_S {
        let message = format!("a key that is replaced can be valid for {OVERLAP_LIMIT_S} s more, and not {overlap_s}");
        return Err(Refusal::new(Code::InvalidRequest, message).about("overlap_s"));
    }
    let ends_at = Timestamp(doors.clock.now().0.saturating_add(overlap_s.saturating_mul(1_000_000)));
    let (text, presented) = new_key()?;
    let by = Actor::Principal(arrived.caller.principal.clone());
    let command = RotateKey { by, old, ends_at, new: presented.id, secret: presented.secret };
    let written = |created: &KeyCreated| serde_json::json!({"id": created.key, "principal": created.principal});
    let kept = move |created: &KeyCreated| answer::whole_json(201, written(created).to_string());
    match once::perform(gate, arrived, None, command, kept).await? {
        Outcome::Now(created) => {
            json(201, &Created { id: created.key.to_string(), principal: created.principal, key: text })
        }
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
        scope: key.scope.clone(),
    };
    json(200, &serde_json::json!({"keys": keys.all().map(listed).collect::<Vec<_>>()}))
}

/// `DELETE /api/v1/identity/keys/{id}`.
pub(super) async fn revoke(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let caller = &arrived.caller;
    administrator(gate, caller)?;
    let key: KeyId = id.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem))?;
    let command = RevokeKey { by: Actor::Principal(caller.principal.clone()), key };
    once::answered(gate, arrived, None, command, |()| once::empty(204)).await
}
