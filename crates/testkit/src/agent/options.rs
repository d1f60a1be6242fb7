//! What an agent is told at its start, and what it says at its end.

use std::time::Duration;

/// How an agent works.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The gateway, such as `http://127.0.0.1:4040`.
    pub base_url: String,
    /// The agent's own key.
    pub key: String,
    /// The session that it works in.
    pub session: String,
    /// Whose tools it takes: those at `/mcp/<toolset>`.
    pub toolset: String,
    /// Which model it asks.
    pub model: String,
    /// What the user says now; without it the agent finishes what was begun. Words that the unfinished turn began with are
    /// not said again, so an agent can be restarted with the same command line.
    pub instruction: Option<String>,
    /// The instruction tells of an event, in words of its own: where the user has said it in any turn before, it is not said again.
    pub is_event: bool,
    /// How steps are told.
    pub form: Form,
    /// How long to rest after each step, so that a person can follow.
    pub pause: Duration,
    /// How many times in a row the gateway may be out of reach. The waits between grow up to two seconds.
    pub patience: u32,
    /// Stop for good before this tool is called, after the model has asked for it: between two steps.
    pub hold_before: Option<String>,
    /// Stop for good after this tool has run, before the model hears of it: the worst moment to be killed, kept open.
    pub hold_after: Option<String>,
}

impl AgentOptions {
    /// Options for the claims story: toolset `claims`, model `scripted`, no instruction, told to a person, without pauses, and
    /// patient for half a minute.
    #[must_use]
    pub fn new(base_url: &str, key: &str, session: &str) -> Self {
        Self {
            base_url: base_url.to_owned(),
            key: key.to_owned(),
            session: session.to_owned(),
            toolset: "claims".to_owned(),
            model: "scripted".to_owned(),
            instruction: None,
            is_event: false,
            form: Form::Text,
            pause: Duration::ZERO,
            patience: 20,
            hold_before: None,
            hold_after: None,
        }
    }
}

/// How steps are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A line for a person.
    Text,
    /// A line of JSON: `{"step":"begins"|"user"|"gateway"|"model"|"call"|"result"|"waits"|"holds"|"refused"|"done", …}`.
    Json,
}

/// What an agent did in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReport {
    /// The model's last words; none when the session has none yet.
    pub answer: Option<String>,
    /// Why it stopped before an answer: the gateway's words.
    pub refusal: Option<String>,
    /// How many steps the session has seen, earlier runs included.
    pub steps: u64,
    /// How often the model was asked in this run.
    pub model_calls: u32,
    /// How many tools were called in this run.
    pub tool_calls: u32,
}
