//! The agent's loop: a step after the other, and patience while the gateway is away.

use std::io::Write;
use std::time::Duration;

use super::narrator::{Event, Narrator};
use super::options::{AgentOptions, AgentReport};
use super::turn::{Agent, Progress};
use crate::http::Failure;

/// How long to wait after the first failure; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How long to wait at most.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How many steps a run may take: a model that never comes to an end is stopped.
const MAX_STEPS: u32 = 200;

/// Works until the model has an answer, and tells each step to `out`.
///
/// A gateway that is out of reach or overloaded (429, 502, 503, 504) is waited for; one that says no is told and ends the run
/// with the refusal in the report.
///
/// # Errors
///
/// A sentence when the gateway stays away, when it answers what cannot be understood, when the session does not hold what was
/// just said, when another agent works in the session, or when there is no end.
pub async fn run(options: &AgentOptions, out: &mut (dyn Write + Send)) -> Result<AgentReport, String> {
    let mut agent = Agent::new(options, Narrator { form: options.form, out });
    let mut failures = 0;
    for _ in 0..MAX_STEPS {
        match agent.step().await {
            Ok(Progress::Going) => failures = 0,
            Ok(Progress::Done) => return Ok(agent.report(None)),
            Err(failure) if failures >= options.patience || !is_passing(&failure) => return ended(agent, failure),
            Err(failure) => {
                failures += 1;
                agent.narrator.tell(&Event::Waits { attempt: failures, reason: &failure.to_string() });
                tokio::time::sleep(wait(failures)).await;
            }
        }
        tokio::time::sleep(options.pause).await;
    }
    Err(format!("come to an end: it took more than {MAX_STEPS} steps"))
}

fn ended(mut agent: Agent<'_>, failure: Failure) -> Result<AgentReport, String> {
    match failure {
        Failure::Refused { status, message } => {
            agent.narrator.tell(&Event::Refused { status, message: &message });
            Ok(agent.report(Some(message)))
        }
        Failure::Lost(reason) | Failure::Invalid(reason) => Err(reason),
    }
}

fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Lost(_) => true,
        Failure::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
        Failure::Invalid(_) => false,
    }
}

fn wait(failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures.saturating_sub(1));
    FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let waits: Vec<u128> = [1, 2, 3, 5, 6, 100].map(wait).iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [100, 200, 400, 1600, 2000, 2000]);
    }
}
