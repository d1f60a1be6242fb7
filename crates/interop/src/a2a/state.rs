//! The words of the protocol's enumerations in each form: states of tasks, and roles of those who speak.

use std::borrow::Cow;

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Nobody knows, or it is a state of a later version.
    Unknown,
    /// Taken note of.
    Submitted,
    /// Being worked on.
    Working,
    /// Done.
    Completed,
    /// Ended by an error.
    Failed,
    /// Stopped on demand.
    Canceled,
    /// Waits for another message.
    InputRequired,
    /// The agent will not do it.
    Rejected,
    /// Waits for a credential.
    AuthRequired,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The client.
    User,
    /// The agent.
    Agent,
}

/// The states by their numbers in Protocol Buffers, with their names in 1.0, in 0.3, and in 0.3 over HTTP+JSON.
const STATES: [(TaskState, &str, &str, &str); 9] = [
    (TaskState::Unknown, "TASK_STATE_UNSPECIFIED", "unknown", "TASK_STATE_UNSPECIFIED"),
    (TaskState::Submitted, "TASK_STATE_SUBMITTED", "submitted", "TASK_STATE_SUBMITTED"),
    (TaskState::Working, "TASK_STATE_WORKING", "working", "TASK_STATE_WORKING"),
    (TaskState::Completed, "TASK_STATE_COMPLETED", "completed", "TASK_STATE_COMPLETED"),
    (TaskState::Failed, "TASK_STATE_FAILED", "failed", "TASK_STATE_FAILED"),
    (TaskState::Canceled, "TASK_STATE_CANCELED", "canceled", "TASK_STATE_CANCELLED"),
    (TaskState::InputRequired, "TASK_STATE_INPUT_REQUIRED", "input-required", "TASK_STATE_INPUT_REQUIRED"),
    (TaskState::Rejected, "TASK_STATE_REJECTED", "rejected", "TASK_STATE_REJECTED"),
    (TaskState::AuthRequired, "TASK_STATE_AUTH_REQUIRED", "auth-required", "TASK_STATE_AUTH_REQUIRED"),
];

impl TaskState {
    /// The state that raw JSON stands for in any form. Readers of Protocol Buffers take the number of a value too, so we do.
    #[must_use]
    pub fn read(raw: &str) -> Self {
        let text = text(raw);
        let row = match raw.parse::<usize>() {
            Ok(number) => STATES.get(number),
            Err(_) => STATES.iter().find(|(_, new, old, older)| [*new, *old, *older].contains(&text.as_ref())),
        };
        row.map_or(Self::Unknown, |(state, ..)| *state)
    }

    /// Its name in 1.0.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Its name in 0.3.
    #[must_use]
    pub fn legacy_name(self) -> &'static str {
        self.row().2
    }

    /// Its name in 0.3 over HTTP+JSON.
    pub(super) fn legacy_http_name(self) -> &'static str {
        self.row().3
    }

    /// Whether nothing follows it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }

    /// Whether the task waits for its client.
    #[must_use]
    pub fn is_interrupted(self) -> bool {
        matches!(self, Self::InputRequired | Self::AuthRequired)
    }

    fn row(self) -> (Self, &'static str, &'static str, &'static str) {
        let unknown = (Self::Unknown, "TASK_STATE_UNSPECIFIED", "unknown", "TASK_STATE_UNSPECIFIED");
        STATES.into_iter().find(|(state, ..)| *state == self).unwrap_or(unknown)
    }
}

impl Role {
    /// The role that raw JSON stands for in any form.
    #[must_use]
    pub fn read(raw: &str) -> Option<Self> {
        match text(raw).as_ref() {
            "user" | "ROLE_USER" | "1" => Some(Self::User),
            "agent" | "ROLE_AGENT" | "2" => Some(Self::Agent),
            _ => None,
        }
    }

    /// Its name in 1.0.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "ROLE_USER",
            Self::Agent => "ROLE_AGENT",
        }
    }

    /// Its name in 0.3.
    #[must_use]
    pub fn legacy_name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
        }
    }
}

/// A raw JSON string as text; anything else as it is written.
fn text(raw: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_every_form_of_it() {
        for (number, (state, new, old, older)) in STATES.into_iter().enumerate() {
            for raw in [format!("\"{new}\""), format!("\"{old}\""), format!("\"{older}\""), number.to_string()] {
                assert_eq!(TaskState::read(&raw), state, "{raw}");
            }
            assert_eq!((state.name(), state.legacy_name(), state.legacy_http_name()), (new, old, older));
        }
        for raw in ["\"TASK_STATE_PAUSED\"", "9", "-1", "null", "{}"] {
            assert_eq!(TaskState::read(raw), TaskState::Unknown);
        }
        assert_eq!(
            (Role::read("\"us\\u0065r\""), Role::read("2"), Role::read("0")),
            (Some(Role::User), Some(Role::Agent), None)
        );
    }
}
