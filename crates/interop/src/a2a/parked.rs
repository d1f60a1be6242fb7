//! A message that a person must say yes to before the agent gets it, as a task of the gateway's own: what a client of this protocol expects of what waits for somebody.
//!
//! Such a task has one status and no artifacts. Once the agent has the message, what it has made of it is said under the same id.

use portcullis_domain::json;

use crate::a2a::call::{A2aCall, member, text_of};
use crate::a2a::method::Method;
use crate::a2a::reply::{Payload, Reply};
use crate::a2a::state::{Role, TaskState};
use crate::a2a::version::Version;
use crate::decision::Decision;
use crate::frame::object::{Object, quoted};

/// How such a task stands.
#[derive(Debug, Clone)]
pub struct Parked<'a> {
    /// What the client knows the task by.
    pub task_id: &'a str,
    /// What it knows the conversation by.
    pub context_id: &'a str,
    /// The state.
    pub state: TaskState,
    /// Since when, in the form of RFC 3339.
    pub since: &'a str,
    /// What is said of it.
    pub says: Says<'a>,
}

/// What is said of such a task.
#[derive(Debug, Clone)]
pub enum Says<'a> {
    /// By the gateway: words for a person, and a raw JSON object for a program.
    Gateway {
        /// The id of this message.
        message_id: &'a str,
        /// For a person.
        text: &'a str,
        /// For a program.
        data: &'a str,
    },
    /// By the agent, which has answered with a message.
    Agent(&'a Reply),
}

impl Parked<'_> {
    /// The task, as the answer to that method.
    ///
    /// # Errors
    ///
    /// What can't be read in what the agent has said.
    pub fn task(&self, method: Method) -> Result<Reply, String> {
        let mut task = Object::default();
        task.set("id", quoted(self.task_id));
        task.set("contextId", quoted(self.context_id));
        task.set("status", self.status()?);
        said(method, "task", &task.to_string())
    }

    /// The same as news in a stream.
    ///
    /// # Errors
    ///
    /// As [`Parked::task`].
    pub fn update(&self, method: Method) -> Result<Reply, String> {
        said(method, "statusUpdate", &update(self.task_id, self.context_id, "status", &self.status()?))
    }

    fn status(&self) -> Result<String, String> {
        let mut status = Object::default();
        status.set("state", quoted(self.state.name()));
        status.set("message", self.message()?);
        status.set("timestamp", quoted(self.since));
        Ok(status.to_string())
    }

    fn message(&self) -> Result<String, String> {
        let own;
        let mut message = match &self.says {
            Says::Gateway { message_id, text, data } => {
                let mut message = Object::default();
                message.set("messageId", quoted(message_id));
                message.set("role", quoted(Role::Agent.name()));
                message.set("parts", format!("[{{\"text\":{}}},{{\"data\":{data}}}]", quoted(text)));
                message
            }
            Says::Agent(reply) => {
                own = reply.in_form(Version::V1_0)?;
                let raw = own.content().filter(|(payload, _)| *payload == Payload::Message);
                Object::read(raw.ok_or("it is no message")?.1)?
            }
        };
        message.set("contextId", quoted(self.context_id));
        message.set("taskId", quoted(self.task_id));
        Ok(message.to_string())
    }
}

/// The decision that a message brings in one of its data parts; none where no part has one, or several have.
#[must_use]
pub fn decision(call: &A2aCall<'_>) -> Option<Decision> {
    let parts = json::items(member(call.message()?, &["parts"])?).ok()?;
    let mut decisions = parts.iter().filter_map(|part| Decision::read(member(part.get(), &["data"])?));
    decisions.next().filter(|_| decisions.next().is_none())
}

/// The parts of a message, in canonical form, so that nothing in them can be pushed out of sight.
#[must_use]
pub fn content(call: &A2aCall<'_>) -> Option<String> {
    json::canonical(member(call.message()?, &["parts"])?).ok()
}

/// Whether the message is its parts, and the agent learns nothing else by it: whoever sees them has seen all.
#[must_use]
pub fn is_whole_by_parts(call: &A2aCall<'_>) -> bool {
    let has_only = |raw: &str, names: &[&str]| {
        let is_empty = |raw: &str| matches!(raw, "null" | "{}" | "[]" | "\"\"");
        json::members(raw)
            .is_ok_and(|members| members.iter().all(|(name, value)| names.contains(&&**name) || is_empty(value.get())))
    };
    let message = call.message().unwrap_or_default();
    call.extensions.is_empty()
        // The tenant that a client names goes to no agent.
        && has_only(&call.params, &["message", "configuration", "tenant"])
        && has_only(message, &["kind", "messageId", "contextId", "taskId", "role", "parts"])
}

/// Whether whoever sends the message wants to have the end of what comes of it, and not only that it was taken.
#[must_use]
pub fn wants_the_end(call: &A2aCall<'_>) -> bool {
    let flag = |name| member(&call.params, &["configuration", name]);
    match call.form() {
        Version::V0_3 => flag("blocking") != Some("false"),
        Version::V1_0 => flag("returnImmediately") != Some("true"),
    }
}

/// What an agent's task came to, as its events tell it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    status: Option<String>,
    artifacts: Vec<String>,
}

impl Outcome {
    /// What these replies come to.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn of(replies: &[Reply]) -> Result<Self, String> {
        let mut outcome = Self::default();
        for reply in replies {
            let reply = reply.in_form(Version::V1_0)?;
            let Some((payload, raw)) = reply.content() else { continue };
            match payload {
                Payload::Task => {
                    outcome.status = member(raw, &["status"]).map(str::to_owned);
                    let made = json::items(member(raw, &["artifacts"]).unwrap_or("[]"))?;
                    outcome.artifacts = made.into_iter().map(|raw| raw.get().to_owned()).collect();
                }
                Payload::StatusUpdate => outcome.status = member(raw, &["status"]).map(str::to_owned),
                Payload::ArtifactUpdate => outcome.made(raw)?,
                Payload::Message => {}
            }
        }
        Ok(outcome)
    }

    /// The task, as the answer to that method.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn task(&self, method: Method, task_id: &str, context_id: &str) -> Result<Reply, String> {
        let mut task = Object::default();
        task.set("id", quoted(task_id));
        task.set("contextId", quoted(context_id));
        task.set("status", self.status().to_owned());
        if !self.artifacts.is_empty() {
            task.set("artifacts", format!("[{}]", self.artifacts.join(",")));
        }
        said(method, "task", &task.to_string())
    }

    /// The same as news in a stream: what was made, and then how it stands.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn updates(&self, method: Method, task_id: &str, context_id: &str) -> Result<Vec<Reply>, String> {
        let made =
            self.artifacts.iter().map(|raw| ("artifactUpdate", update(task_id, context_id, "artifact", raw.as_str())));
        let stands = ("statusUpdate", update(task_id, context_id, "status", self.status()));
        made.chain([stands]).map(|(name, raw)| said(method, name, &raw)).collect()
    }

    fn status(&self) -> &str {
        self.status.as_deref().unwrap_or("{\"state\":\"TASK_STATE_UNSPECIFIED\"}")
    }

    /// Takes in what was made, or more of it.
    fn made(&mut self, update: &str) -> Result<(), String> {
        let Some(artifact) = member(update, &["artifact"]) else { return Ok(()) };
        let id = text_of(artifact, &["artifactId"]);
        let known = self.artifacts.iter_mut().find(|known| text_of(known, &["artifactId"]) == id);
        match known {
            None => self.artifacts.push(artifact.to_owned()),
            Some(known) if member(update, &["append"]) == Some("true") => {
                let parts = |raw| json::items(member(raw, &["parts"]).unwrap_or("[]"));
                let all: Vec<&str> = parts(known)?.iter().chain(&parts(artifact)?).map(|raw| raw.get()).collect();
                let all = format!("[{}]", all.join(","));
                let mut grown = Object::read(known)?;
                grown.set("parts", all);
                *known = grown.to_string();
            }
            Some(known) => artifact.clone_into(known),
        }
        Ok(())
    }
}

fn update(task_id: &str, context_id: &str, name: &'static str, raw: &str) -> String {
    let mut update = Object::default();
    update.set("taskId", quoted(task_id));
    update.set("contextId", quoted(context_id));
    update.set(name, raw.to_owned());
    update.to_string()
}

/// What answers a method: itself where it can be one thing only.
fn said(method: Method, name: &str, raw: &str) -> Result<Reply, String> {
    if matches!(method, Method::GetTask | Method::CancelTask) {
        return Reply::read(method, Version::V1_0, raw);
    }
    Reply::read(method, Version::V1_0, &format!("{{\"{name}\":{raw}}}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::a2a::version::{Binding, Dialect};

    fn call(version: Version, params: &str) -> A2aCall<'_> {
        let dialect = Dialect::new(version, Binding::JsonRpc);
        A2aCall { dialect, method: Method::SendMessage, id: None, extensions: Vec::new(), params: params.into() }
    }

    fn parked(says: Says<'_>) -> Parked<'_> {
        let (since, state) = ("2026-11-22T12:00:00.000Z", TaskState::InputRequired);
        Parked { task_id: "t", context_id: "c", state, since, says }
    }

    #[test]
    fn what_waits_is_a_task_that_needs_input_in_either_version() {
        let says = Says::Gateway { message_id: "m", text: "May it?", data: r#"{"approval":{"id":"a"}}"# };
        let task = parked(says.clone()).task(Method::SendMessage).unwrap();
        assert_eq!((task.task_id().as_deref(), task.state()), (Some("t"), Some(TaskState::InputRequired)));
        let old: Value = serde_json::from_str(task.in_form(Version::V0_3).unwrap().raw()).unwrap();
        assert_eq!((&old["kind"], &old["status"]["state"]), (&json!("task"), &json!("input-required")));
        assert_eq!(old["status"]["message"]["parts"][1], json!({"kind": "data", "data": {"approval": {"id": "a"}}}));
        let whole = parked(says.clone()).task(Method::GetTask).unwrap();
        let whole: Value = serde_json::from_str(whole.raw()).unwrap();
        assert_eq!(whole["status"]["message"]["taskId"], "t");
        let update = parked(says).update(Method::SubscribeToTask).unwrap();
        assert_eq!((update.payload(), update.task_id().as_deref()), (Some(Payload::StatusUpdate), Some("t")));
    }

    #[test]
    fn a_message_of_the_agents_is_what_its_task_says() {
        let raw = r#"{"kind":"message","messageId":"r","role":"agent","contextId":"x","parts":[{"kind":"text","text":"done"}]}"#;
        let reply = Reply::read(Method::SendMessage, Version::V0_3, raw).unwrap();
        let task = parked(Says::Agent(&reply)).task(Method::GetTask).unwrap();
        let task: Value = serde_json::from_str(task.raw()).unwrap();
        let message = &task["status"]["message"];
        assert_eq!((&message["contextId"], &message["parts"]), (&json!("c"), &json!([{"text": "done"}])));
    }

    #[test]
    fn a_decision_stands_in_exactly_one_data_part() {
        let yes = Decision { is_yes: true, comment: None };
        for (version, parts, expected) in [
            (Version::V1_0, r#"[{"text":"yes"},{"data":{"decision":"approve"}}]"#, Some(yes.clone())),
            (Version::V0_3, r#"[{"kind":"data","data":{"decision":"approve"}}]"#, Some(yes)),
            (Version::V1_0, r#"[{"data":{"decision":"approve"}},{"data":{"decision":"deny"}}]"#, None),
            (Version::V1_0, r#"[{"data":{"decision":"yes"}}]"#, None),
            (Version::V1_0, r#"[{"data":7}]"#, None),
            (Version::V1_0, r#"[{"text":"{\"decision\":\"approve\"}"}]"#, None),
        ] {
            let params = format!(r#"{{"message":{{"parts":{parts}}}}}"#);
            assert_eq!(decision(&call(version, &params)), expected, "{parts}");
        }
    }

    #[test]
    fn what_stands_beside_the_parts_is_seen_by_nobody_who_sees_them() {
        for (params, expected) in [
            (r#"{"message":{"messageId":"m","contextId":"c","taskId":"t","role":"ROLE_USER","parts":[]}}"#, true),
            (r#"{"message":{"parts":[],"metadata":{},"extensions":[],"referenceTaskIds":null},"metadata":{}}"#, true),
            (r#"{"message":{"parts":[],"metadata":{"amount":50000}}}"#, false),
            (r#"{"message":{"parts":[],"extensions":["https://pay.example"]}}"#, false),
            (r#"{"message":{"parts":[],"referenceTaskIds":["t"]}}"#, false),
            (r#"{"message":{"parts":[]},"metadata":{"amount":50000}}"#, false),
            (r#"{"message":{"parts":[],"amount":50000}}"#, false),
            (r#"{"message":{"parts":[]},"configuration":{"returnImmediately":true}}"#, true),
        ] {
            assert_eq!(is_whole_by_parts(&call(Version::V1_0, params)), expected, "{params}");
            let extended =
                A2aCall { extensions: vec!["https://pay.example".to_owned()], ..call(Version::V1_0, params) };
            assert!(!is_whole_by_parts(&extended));
        }
    }

    #[test]
    fn who_asks_for_no_end_gets_none() {
        for (version, params, expected) in [
            (Version::V1_0, "{}", true),
            (Version::V1_0, r#"{"configuration":{"returnImmediately":true}}"#, false),
            (Version::V0_3, r#"{"configuration":{"blocking":false}}"#, false),
            (Version::V0_3, r#"{"configuration":{"blocking":true}}"#, true),
        ] {
            assert_eq!(wants_the_end(&call(version, params)), expected, "{params}");
        }
    }

    #[test]
    fn a_task_came_to_what_its_events_say() {
        let event = |raw| Reply::read(Method::SendStreamingMessage, Version::V1_0, raw).unwrap();
        let outcome = Outcome::of(&[
            event(r#"{"task":{"id":"u","status":{"state":"TASK_STATE_WORKING"}}}"#),
            event(r#"{"artifactUpdate":{"taskId":"u","artifact":{"artifactId":"a","parts":[{"text":"1"}]}}}"#),
            event(
                r#"{"artifactUpdate":{"taskId":"u","append":true,"artifact":{"artifactId":"a","parts":[{"text":"2"}]}}}"#,
            ),
            event(r#"{"artifactUpdate":{"taskId":"u","artifact":{"artifactId":"b","parts":[{"text":"3"}]}}}"#),
            event(r#"{"statusUpdate":{"taskId":"u","status":{"state":"TASK_STATE_COMPLETED"}}}"#),
        ])
        .unwrap();
        let task = outcome.task(Method::SendMessage, "t", "c").unwrap();
        assert_eq!((task.task_id().as_deref(), task.state()), (Some("t"), Some(TaskState::Completed)));
        assert_eq!(task.text(), "1\n2\n3");
        let updates = outcome.updates(Method::SubscribeToTask, "t", "c").unwrap();
        let kinds: Vec<_> = updates.iter().filter_map(Reply::payload).collect();
        assert_eq!(kinds, [Payload::ArtifactUpdate, Payload::ArtifactUpdate, Payload::StatusUpdate]);
        assert!(updates.last().is_some_and(Reply::is_last));
    }
}
