//! Whether the gateway lives, whether it can take calls, and what it has counted.

use portcullis_domain::refusal::{Code, Refusal};

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Doors;
use crate::doors::caller::Caller;
use crate::life::Gate;

/// `GET /readyz`: 200 when the journal answers, 503 otherwise and once the gateway was asked to stop.
pub async fn ready(doors: &Doors) -> Answer {
    if doors.is_leaving() {
        return answer::whole(503, "text/plain", "the gateway is stopping\n");
    }
    match doors.gate.journal.read(|_| ()).await {
        Ok(()) => answer::whole(200, "text/plain", "ready\n"),
        Err(_) => answer::whole(503, "text/plain", "the journal can't be written\n"),
    }
}

/// `GET /metrics`: OpenMetrics text, for administrators.
///
/// # Errors
///
/// [`Code::Forbidden`].
pub fn metrics(gate: &Gate, caller: &Caller) -> Result<Answer, Refusal> {
    administrator(gate, caller)?;
    Ok(answer::whole(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", gate.metrics.text()))
}

/// Refuses everybody who may not manage the gateway.
///
/// # Errors
///
/// [`Code::Forbidden`].
pub fn administrator(gate: &Gate, caller: &Caller) -> Result<(), Refusal> {
    if gate.snapshot.load().is_administrator(caller.chain()) {
        return Ok(());
    }
    Err(Refusal::new(Code::Forbidden, "this needs the role `administrator`"))
}
