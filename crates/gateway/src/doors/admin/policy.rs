//! Policies: which versions were in force, and rules of before put back, by administrators.

use portcullis_domain::policy::Version;
use portcullis_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::doors::admin::form::{json, read};
use crate::doors::admin::health::administrator;
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Arrived;
use crate::doors::once;
use crate::life::Gate;
use crate::rollback::versions::{Put, Versions};
use crate::rollback::{Ready, Wish, order};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    /// The version, or its first digits; that of the rules before unless said.
    version: Option<String>,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forward {
    #[serde(default)]
    reason: String,
}

#[derive(Serialize)]
struct Listed {
    version: Version,
    /// The digest of the rules alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<String>,
    at: String,
    by: String,
    policies: u32,
    mode: &'static str,
    is_in_force: bool,
    /// The version of then, where rules of before were put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    rolled_back_to: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Listed {
    fn of(put: &Put, newest: Option<u64>) -> Self {
        Self {
            version: put.event.version,
            rules: put.event.rules.map(|rules| rules.to_string()),
            at: put.at.to_string(),
            by: put.by.to_string(),
            policies: put.event.policies,
            mode: if put.event.is_audit { "audit" } else { "enforce" },
            is_in_force: newest == Some(put.seq),
            rolled_back_to: put.back.as_ref().map(|back| back.version),
            reason: put.reason.clone(),
        }
    }
}

/// `GET /api/v1/policy/versions`: all that were in force, the oldest first.
pub(super) async fn versions(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let versions = Versions::read(&gate.journal).await?;
    let newest = versions.all().last().map(|put| put.seq);
    let listed: Vec<Listed> = versions.all().iter().map(|put| Listed::of(put, newest)).collect();
    let is_rolled_back = gate.journal.read(|world| world.policy.put_back.is_some()).await?;
    json(200, &serde_json::json!({"versions": listed, "is_rolled_back": is_rolled_back}))
}

/// `POST /api/v1/policy/rollback`: rules of before are in force instead of what the files say, on all gateways.
pub(super) async fn back(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let Back { version, reason } = read(&arrived.body)?;
    turn(gate, arrived, Wish::Back(version), reason).await
}

/// `POST /api/v1/policy/rollforward`: what the files say is in force again.
pub(super) async fn forward(gate: &Gate, arrived: &Arrived) -> Result<Answer, Refusal> {
    administrator(gate, &arrived.caller)?;
    let Forward { reason } = read(&arrived.body)?;
    turn(gate, arrived, Wish::Forward, reason).await
}

async fn turn(gate: &Gate, arrived: &Arrived, wish: Wish, reason: String) -> Result<Answer, Refusal> {
    // What was done for this key is not to be done again, nor found to be done already.
    if let Some(before) = once::again(gate, arrived, None).await? {
        return Ok(before);
    }
    let by = arrived.caller.authority.actor(&arrived.caller.principal);
    let Ready { turn, version, restored, replaced, done, in_force } = order(&gate.orders, wish, by, reason).await?;
    let said = serde_json::json!({"version": version, "replaced": replaced, "rolled_back_to": restored}).to_string();
    let answered = once::answered(gate, arrived, None, turn, move |()| answer::whole_json(200, said.clone())).await;
    // Whoever makes it ready knows by itself what became of it, if it is not there any more to be told.
    let _ = done.send(());
    let _ = in_force.await;
    answered
}
