//! What contexts and tasks are called on the two sides of the gateway.
//!
//! Nothing is kept for it: names are computed from a secret that lies beside the journal, so they outlive restarts, are the same at every gateway with that secret, and
//! cost no entry.
//!
//! - A *context* of the client is the session of that name within the caller's own; one that can't be the name of a session is written as `context.` with its text in
//!   Base64url. The agent knows it by a name made of owner, session and agent, so that two principals never meet there, whatever they call their contexts.
//! - A *task* is shown as the agent's id sealed together with its session, for this principal and this agent alone. Whoever else presents it has a name that opens to
//!   nothing, exactly as one that was never given; and the session in it leads to the replica that serves the task. A journal of tasks would tell the same,
//!   but for one more entry for each task, and an index of them for as long as somebody may ask.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::call::Capability;
use portcullis_domain::ids::{CallId, PrincipalName, SessionId, SessionName};
use portcullis_interop::a2a::{Failure, Kind, Named};

use crate::doors::sealed::Sealer;

/// What the sessions begin with that stand for contexts of other names.
const WRITTEN_PREFIX: &str = "context.";
/// The longest id of an agent's task that is shown, in bytes.
const TASK_LIMIT_BYTES: usize = 1_024;

/// The names of one principal's contexts and tasks at one agent.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// What makes them.
    pub sealer: &'a Sealer,
    /// Whose they are.
    pub owner: &'a PrincipalName,
    /// Where they are.
    pub agent: &'a Capability,
}

impl Names<'_> {
    /// The agent's name of a session.
    #[must_use]
    pub fn context_behind(&self, session: &SessionName) -> String {
        self.sealer.name("a2a context", &format!("{}\n{}\n{session}", self.agent, self.owner))
    }

    /// What a task of that session is called for the client; none when the agent's id is longer than any should be.
    #[must_use]
    pub fn task_shown(&self, session: &SessionName, behind: &str) -> Option<String> {
        let sealed = || self.sealer.seal_alike(&self.purpose(), &(session, behind)).ok();
        if behind.len() <= TASK_LIMIT_BYTES { sealed() } else { None }
    }

    /// The session of a task and the agent's id for it.
    ///
    /// # Errors
    ///
    /// [`Kind::TaskNotFound`] for any name that was not given to this principal for this agent.
    pub fn task_behind(&self, shown: &str) -> Result<(SessionName, String), Failure> {
        self.sealer.open(&self.purpose(), shown).ok_or_else(|| no_task(shown))
    }

    /// What becomes of the ids in what the agent says.
    #[must_use]
    pub fn rename(&self, session: &SessionId, context: &str, named: Named, behind: &str) -> Option<String> {
        match named {
            Named::Context => Some(context.to_owned()),
            // One that can't be shown must not pass either.
            Named::Task => Some(self.task_shown(&session.name, behind).unwrap_or_default()),
        }
    }

    /// What the task is called that a message is which waits for a person; the same each time.
    #[must_use]
    pub fn parked_shown(&self, session: &SessionName, approval: CallId) -> Option<String> {
        self.sealer.seal_alike(&self.parked_purpose(), &(session, approval)).ok()
    }

    /// The session of such a task, and the approval that it waits for; none for every other name.
    #[must_use]
    pub fn parked_behind(&self, shown: &str) -> Option<(SessionName, CallId)> {
        self.sealer.open(&self.parked_purpose(), shown)
    }

    fn parked_purpose(&self) -> String {
        format!("a2a parked\n{}\n{}", self.owner, self.agent)
    }

    fn purpose(&self) -> String {
        format!("a2a task\n{}\n{}", self.owner, self.agent)
    }
}

/// The answer to whoever names a task that is not theirs, whether there is one or not.
#[must_use]
pub fn no_task(shown: &str) -> Failure {
    let shown: String = shown.chars().take(200).collect();
    Failure::new(Kind::TaskNotFound, format!("there is no task `{shown}`")).with("taskId", shown)
}

/// The session that a context of the client is.
///
/// # Errors
///
/// [`Kind::InvalidParams`] when it is too long to be one.
pub fn session_of(context: &str) -> Result<SessionName, Failure> {
    if decoded(context).is_none()
        && let Ok(name) = context.parse()
    {
        return Ok(name);
    }
    let written = format!("{WRITTEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(context));
    written.parse().map_err(|_| Failure::new(Kind::InvalidParams, "`contextId` is too long for the name of a session"))
}

/// The context that a session is for the client.
#[must_use]
pub fn context_of(session: &SessionName) -> String {
    decoded(session.as_str()).unwrap_or_else(|| session.to_string())
}

/// The context that is written so, if one is: one that can't be a name, or that looks like a written one itself, or two contexts would be one session.
fn decoded(name: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(name.strip_prefix(WRITTEN_PREFIX)?).ok()?;
    let context = String::from_utf8(bytes).ok().filter(|context| !context.is_empty())?;
    let must_be_written = context.parse::<SessionName>().is_err() || decoded(&context).is_some();
    must_be_written.then_some(context)
}

#[cfg(test)]
mod tests {
    use portcullis_domain::call::Kind as CapabilityKind;

    use super::*;

    #[test]
    fn every_context_is_a_session_of_its_own() {
        let long = "x".repeat(200);
        for (context, expected) in [
            ("claim-99", Some("claim-99")),
            ("a/b c", Some("context.YS9iIGM")),
            ("context.YS9iIGM", Some("context.Y29udGV4dC5ZUzlpSUdN")),
            ("ä", Some("context.w6Q")),
            (long.as_str(), None),
        ] {
            let session = session_of(context).ok();
            assert_eq!(session.as_ref().map(SessionName::as_str), expected, "{context}");
            if let Some(session) = session {
                assert_eq!(context_of(&session), context);
            }
        }
        for session in ["claim-99", "context.", "context.x.y", "context.Y2xhaW0"] {
            assert_eq!(session_of(session).as_ref().map(SessionName::as_str), Ok(session));
            assert_eq!(context_of(&session.parse().unwrap()), session);
        }
    }

    #[test]
    fn a_task_is_found_by_its_owner_at_its_agent_only() {
        let sealer = Sealer::new(&[1; 32]).unwrap();
        let [ann, bob]: [PrincipalName; 2] = ["ann", "bob"].map(|name| name.parse().unwrap());
        let [one, two] = ["one", "two"].map(|name| Capability::new(CapabilityKind::Agent, name));
        let names = |owner, agent| Names { sealer: &sealer, owner, agent };
        let session: SessionName = "claim-1".parse().unwrap();
        let shown = names(&ann, &one).task_shown(&session, "t-1").unwrap();
        assert_eq!(names(&ann, &one).task_behind(&shown).unwrap(), (session.clone(), "t-1".to_owned()));
        for stranger in [names(&bob, &one), names(&ann, &two)] {
            assert_eq!(stranger.task_behind(&shown), Err(no_task(&shown)));
            assert_ne!(stranger.context_behind(&session), names(&ann, &one).context_behind(&session));
        }
        assert_eq!(names(&ann, &one).task_shown(&session, &"t".repeat(2_000)), None);
    }
}
