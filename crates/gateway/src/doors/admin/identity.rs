//! Keys: issued, replaced, listed and taken back by administrators; and those that the gateway itself signs with. And who may not act any more.

use std::collections::BTreeSet;

use portcullis_domain::admission::{Disable, RevokeKey, RotateKey, RotateSigning};
use portcullis_domain::identity::event::KeyCreated;
use portcullis_domain::identity::scope::{Entrance, Scope};
use portcullis_domain::ids::{KeyId, PrincipalName};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::scope::{PATTERNS_LIMIT, Pattern};
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
    /// For calls at any gateway; for other requests at this one since it was started, to the minute.
    last_used_at: Option<String>,
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
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
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
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
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
pub(super) async fn list(gate: &Gate, caller: &Caller) -> Result<Answer, Refusal> {
    administrator(gate, caller)?;
    let keys = gate.journal.keys();
    let by_calls = gate.journal.read(|world| world.uses.clone()).await?;
    let listed = |(id, key): (&KeyId, &portcullis_domain::identity::Key)| Listed {
        id: id.to_string(),
        principal: key.principal.clone(),
        created_at: key.created_at.to_string(),
        expires_at: key.expires_at.map(|at| at.to_string()),
        revoked_at: key.revoked_at.map(|at| at.to_string()),
        last_used_at: gate.uses.last(id).max(by_calls.last(id)).map(|at| at.to_string()),
        scope: key.scope.clone(),
    };
    json(200, &serde_json::json!({"keys": keys.all().map(listed).collect::<Vec<_>>()}))
}

/// `POST /api/v1/identity/signing/rotate`: the gateways of this journal sign with another key from now on.
pub(super) async fn rotate_signing(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let command = RotateSigning { by: arrived.caller.authority.actor(&arrived.caller.principal) };
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
    let command = RevokeKey { by: caller.authority.actor(&caller.principal), key };
    once::answered(gate, arrived, None, command, |()| once::empty(204)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unwanted {
    /// A principal, an agent or a key.
    name: String,
    #[serde(default)]
    reason: String,
}

/// `GET /api/v1/identity/disabled`.
pub(super) fn disabled(gate: &Gate, caller: &Caller) -> Result<Answer, Refusal> {
    administrator(gate, caller)?;
    let doorway = gate.journal.doorway().borrow().clone();
    let listed = doorway
        .disabled
        .all()
        .map(|(principal, since)| serde_json::json!({"principal": principal, "since": since.to_string()}));
    json(200, &serde_json::json!({"disabled": listed.collect::<Vec<_>>()}))
}

/// `POST /api/v1/identity/disabled`: a key is taken back; a principal, or the one that an agent is, may not act any more. What is under way is cancelled on every gateway.
pub(super) async fn disable(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let Unwanted { name, reason } = read(&arrived.body)?;
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
    let key = name.parse().ok().filter(|key: &KeyId| gate.journal.keys().find(key).is_some());
    if let Some(key) = key {
        let done = serde_json::json!({"key": key, "is_known": true}).to_string();
        let command = RevokeKey { by, key };
        return once::answered(gate, arrived, None, command, move |()| answer::whole_json(200, done.clone())).await;
    }
    let (principal, is_known) = meant(gate, &name)?;
    let done = serde_json::json!({"principal": principal, "is_known": is_known}).to_string();
    let command = Disable { by, principal, reason: Some(reason) };
    once::answered(gate, arrived, None, command, move |_| answer::whole_json(200, done.clone())).await
}

/// `DELETE /api/v1/identity/disabled/{name}`: the principal, or the one that the agent is, may act again.
pub(super) async fn enable(gate: &Gate, arrived: &Arrived, name: &str) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
    let (principal, _) = meant(gate, name)?;
    let command = Disable { by, principal, reason: None };
    once::answered(gate, arrived, None, command, |_| once::empty(204)).await
}

/// The principal of that name, or that the agent of that name is; and whether it is known. One that nobody knows may come by the word of an issuer.
fn meant(gate: &Gate, name: &str) -> Result<(PrincipalName, bool), Refusal> {
    let snapshot = gate.snapshot.load();
    let invalid = |problem: String| Refusal::new(Code::InvalidRequest, problem).about("name");
    let principal: PrincipalName = name.parse().map_err(invalid)?;
    match snapshot.catalogue.agent(name) {
        Some(agent) if !snapshot.config.identity.principals.contains_key(&principal) => {
            Ok((agent.principal.clone(), true))
        }
        Some(_) | None => {
            let is_known = snapshot.has_principal(&principal);
            Ok((principal, is_known))
        }
    }
}
