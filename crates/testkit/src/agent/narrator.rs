//! Telling each step as it happens: a line for a person, or a line of JSON.

use std::io::Write;

use serde::Serialize;

use super::options::Form;

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// The agent begins, or continues after `number` steps.
    Begins { session: &'a str, number: u64, messages: usize },
    /// The user says.
    User { text: &'a str },
    /// The gateway says, as a system message.
    Gateway { text: &'a str },
    /// The model says.
    Model { text: &'a str },
    /// The model wants a tool to be called.
    Call { tool: &'a str, arguments: &'a str },
    /// A tool answers.
    Result { tool: &'a str, text: &'a str, is_error: bool },
    /// The gateway is out of reach.
    Waits { attempt: u32, reason: &'a str },
    /// The agent stops to be killed.
    Holds { tool: &'a str, moment: &'static str },
    /// The gateway has told what the session remembers.
    Hydrated { messages: usize, values: usize, fence: u64 },
    /// The agent has declared a wait.
    Awaits { what: &'a str },
    /// The gateway says no to the agent itself.
    Refused { status: u16, message: &'a str },
    /// There is nothing more to do.
    Done { number: u64 },
}

/// Where and how it is told.
pub(super) struct Narrator<'a> {
    pub(super) form: Form,
    pub(super) out: &'a mut (dyn Write + Send),
}

impl Narrator<'_> {
    /// Tells it at once. Nobody who listens no longer stops the work.
    pub(super) fn tell(&mut self, event: &Event<'_>) {
        let line = match self.form {
            Form::Text => line(event),
            Form::Json => serde_json::to_string(event).unwrap_or_default(),
        };
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}

fn line(event: &Event<'_>) -> String {
    let (who, what) = match event {
        Event::Begins { session, messages: 0, .. } => ("agent", format!("begins in session {session}")),
        Event::Begins { session, number, messages } => {
            ("agent", format!("continues session {session} after step {number}, from {messages} messages"))
        }
        Event::User { text } => ("user", (*text).to_owned()),
        Event::Gateway { text } => ("gateway", (*text).to_owned()),
        Event::Model { text } => ("model", (*text).to_owned()),
        Event::Call { tool, arguments } => ("model", format!("calls {tool} {arguments}")),
        Event::Result { tool, text, is_error: false } => ("tool", format!("{tool}: {text}")),
        Event::Result { tool, text, is_error: true } => ("tool", format!("{tool} (error): {text}")),
        Event::Waits { attempt, reason } => ("agent", format!("waits for the gateway (attempt {attempt}): {reason}")),
        Event::Holds { tool, moment } => ("agent", format!("holds {moment} {tool}")),
        Event::Hydrated { messages, values, fence } => {
            ("agent", format!("is told of the session: messages {messages}, values {values}, placement {fence}"))
        }
        Event::Awaits { what } => ("agent", format!("waits for {what}")),
        Event::Refused { status, message } => ("gateway", format!("{message} ({status})")),
        Event::Done { number } => ("agent", format!("rests after step {number}")),
    };
    // A text of several lines stays one column.
    format!("{who:<8} {}", what.trim_end().replace('\n', "\n         "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_to_people_and_to_programs() {
        let check = |event: Event<'_>, text: &str, json: &str| {
            for (form, expected) in [(Form::Text, text), (Form::Json, json)] {
                let mut out = Vec::new();
                Narrator { form, out: &mut out }.tell(&event);
                assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
            }
        };
        check(
            Event::Begins { session: "claim-99", number: 3, messages: 5 },
            "agent    continues session claim-99 after step 3, from 5 messages",
            r#"{"step":"begins","session":"claim-99","number":3,"messages":5}"#,
        );
        check(
            Event::Result { tool: "f", text: "one\ntwo", is_error: true },
            "tool     f (error): one\n         two",
            r#"{"step":"result","tool":"f","text":"one\ntwo","is_error":true}"#,
        );
        check(Event::Gateway { text: "No. " }, "gateway  No.", r#"{"step":"gateway","text":"No. "}"#);
    }
}
