//! What a session is granted: shown to everybody who acts in it, narrowed by its owner, and widened by a person alone.

use portcullis_domain::admission::SetGrant;
use portcullis_domain::grant::{Grant, GrantVersion};
use portcullis_domain::ids::CallId;
use portcullis_domain::policy::grants::Counts;
use portcullis_domain::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};

use crate::doors::admin::form::{json, read};
use crate::doors::admin::session::{existing, resolve};
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::once;
use crate::granted::{Applying, Granted};
use crate::life::Gate;

/// What a session, or a task of it, may do: all of `grants` must allow a call.
#[derive(Serialize)]
struct Shown {
    version: GrantVersion,
    grants: Vec<ShownGrant>,
}

#[derive(Serialize)]
struct ShownGrant {
    /// The task that it is the grant of, by the number of its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<CallId>,
    sentences: Vec<String>,
    /// What was used of it, as sentences.
    used: Vec<String>,
    grant: Grant,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    grant: Grant,
    /// The number that the session's grants must have.
    number: Option<u64>,
}

/// `GET /api/v1/sessions/{id}/grant`: what applies to whoever asks.
pub(super) async fn show(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    let session = existing(gate, &arrived.caller, id).await?;
    let found = Granted::find(&gate.journal, &session, &arrived.caller.authority).await?;
    let none = || {
        Refusal::new(
            Code::NotFound,
            format!("session `{}` has no grant: rules alone say what may be done in it", session.name),
        )
    };
    let Granted { version, layers, .. } = found.ok_or_else(none)?;
    json(200, &Shown { version, grants: layers.into_iter().map(shown).collect() })
}

fn shown(layer: Applying) -> ShownGrant {
    let Applying { task, grant, counts } = layer;
    ShownGrant { task, sentences: grant.sentences(), used: used(&grant, &counts), grant }
}

fn used(grant: &Grant, counts: &Counts) -> Vec<String> {
    let limited = grant.entries().iter().filter(|entry| entry.is_limited());
    let each = limited.flat_map(|entry| {
        let name = entry.counted_as();
        let calls = entry.calls.map(|limit| format!("{} of {limit} calls of `{name}`", counts.calls_of(&name)));
        let sums = entry.in_all.iter().map(|(argument, limit)| {
            format!("{} of {limit} in all for `{argument}` of `{name}`", counts.sum(&name, argument))
        });
        calls.into_iter().chain(sums).collect::<Vec<_>>()
    });
    each.collect()
}

/// `POST /api/v1/sessions/{id}/grant/narrow`: from here on, a call must be within this one too.
pub(super) async fn narrow(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    set(gate, arrived, id, false).await
}

/// `PUT /api/v1/sessions/{id}/grant`: this one takes the place of all that there were.
pub(super) async fn replace(gate: &Gate, arrived: &Arrived, id: &str) -> Result<Answer, Refusal> {
    set(gate, arrived, id, true).await
}

/// By the owner or an administrator, with a credential of their own. Whoever was handed a task narrows that, by `/oauth/token`.
async fn set(gate: &Gate, arrived: &Arrived, id: &str, is_wider: bool) -> Result<Answer, Refusal> {
    let session = resolve(gate, &arrived.caller, id)?;
    let caller = &arrived.caller;
    let is_agent = gate.snapshot.load().catalogue.acting(&caller.principal).is_some();
    if caller.bound.is_some() || caller.chain().depth() > 0 || is_agent {
        let message = "the grant of a session is changed by its owner, and not by an agent or with a task token";
        return Err(Refusal::new(Code::Forbidden, message));
    }
    let Wanted { grant, number } = read(&arrived.body)?;
    let (authority, by) = (caller.authority.clone(), caller.principal.clone());
    let command = SetGrant { authority, by, session, grant, is_wider, expected: number };
    once::answered(gate, arrived, None, command, |version| {
        answer::whole_json(200, serde_json::json!({"version": version}).to_string())
    })
    .await
}
