//! What an agent says: the whole result of a call, one event of a stream, or a piece of news at a webhook.
//!
//! All of it is raw JSON in one version's form. It can be asked what it is about, its ids can be renamed, and it can be brought
//! into the other form.

use std::borrow::Cow;

use portcullis_domain::json;

use crate::a2a::call::{member, text_of, text_of_message};
use crate::a2a::method::Method;
use crate::a2a::shape::Shape;
use crate::a2a::state::TaskState;
use crate::a2a::translate::result::result;
use crate::a2a::version::Version;
use crate::a2a::walk::{self, Renaming};
use crate::frame::object::Object;

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    method: Method,
    form: Version,
    raw: String,
}

/// What is in an answer to a message, in an event or in a piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A task as it is now.
    Task,
    /// A message. Nothing follows it.
    Message,
    /// The state of a task has changed.
    StatusUpdate,
    /// A task has made something.
    ArtifactUpdate,
}

impl Payload {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Task, "task", "task"),
        (Self::Message, "message", "message"),
        (Self::StatusUpdate, "statusUpdate", "status-update"),
        (Self::ArtifactUpdate, "artifactUpdate", "artifact-update"),
    ];
}

impl Reply {
    /// Reads what a method was answered with, or an event of its stream.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(method: Method, form: Version, raw: &str) -> Result<Self, String> {
        let raw = json::trimmed(raw);
        let is_array = method == Method::ListPushConfigs && form == Version::V0_3;
        let is_nothing = method == Method::DeletePushConfig;
        if is_array {
            json::items(raw)?;
        }
        if walk::is_too_deep(raw.as_bytes()) {
            return Err(format!("it is nested deeper than {} levels", walk::DEPTH_LIMIT));
        }
        let raw = match (is_array, is_nothing, form) {
            // Agents of 1.0 write `null` for it too, which is no message.
            (_, true, Version::V1_0) => Cow::Borrowed("{}"),
            (true, ..) | (_, true, _) => Cow::Borrowed(raw),
            (false, false, _) => walk::normal(raw, shape(method, form, raw))?,
        };
        let reply = Self { method, form, raw: raw.into_owned() };
        let is_payload = method.is_sending() || method == Method::SubscribeToTask;
        if is_payload && reply.payload().is_none() {
            return Err("it is neither a task nor a message nor news of a task".to_owned());
        }
        Ok(reply)
    }

    /// Reads news that an agent sent to a webhook: the task itself in 0.3, an event in 1.0. `form` is the agent's version,
    /// whichever binding it is called by.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read_news(form: Version, raw: &str) -> Result<Self, String> {
        Self::read(Method::SubscribeToTask, form, raw)
    }

    /// The version whose JSON it is.
    #[must_use]
    pub fn form(&self) -> Version {
        self.form
    }

    /// What it answers.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// The raw JSON.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What is in it, where it is one thing.
    #[must_use]
    pub fn payload(&self) -> Option<Payload> {
        self.content().map(|(payload, _)| payload)
    }

    /// The task that it is or is about.
    #[must_use]
    pub fn task_id(&self) -> Option<String> {
        let (payload, raw) = self.content()?;
        let name = if payload == Payload::Task { "id" } else { "taskId" };
        text_of(raw, &[name]).filter(|id| !id.is_empty())
    }

    /// The context that it belongs to.
    #[must_use]
    pub fn context_id(&self) -> Option<String> {
        text_of(self.content()?.1, &["contextId"]).filter(|id| !id.is_empty())
    }

    /// The state of the task, where it says so.
    #[must_use]
    pub fn state(&self) -> Option<TaskState> {
        let (payload, raw) = self.content()?;
        let has_state = matches!(payload, Payload::Task | Payload::StatusUpdate);
        has_state.then(|| member(raw, &["status", "state"]).map_or(TaskState::Unknown, TaskState::read))
    }

    /// The words in it for a model or a person: of the message, of the state, and of what was made.
    #[must_use]
    pub fn text(&self) -> String {
        let Some((payload, raw)) = self.content() else { return String::new() };
        let artifacts = |raw| json::items(raw).unwrap_or_default().into_iter().map(|raw| text_of_message(raw.get()));
        let texts: Vec<String> = match payload {
            Payload::Message => vec![text_of_message(raw)],
            Payload::ArtifactUpdate => vec![text_of_message(member(raw, &["artifact"]).unwrap_or("{}"))],
            Payload::Task | Payload::StatusUpdate => {
                let said = text_of_message(member(raw, &["status", "message"]).unwrap_or("{}"));
                artifacts(member(raw, &["artifacts"]).unwrap_or("[]")).chain([said]).collect()
            }
        };
        texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Whether nothing follows it in its stream: a message, the end of a task, or what an agent of 0.3 calls final.
    #[must_use]
    pub fn is_last(&self) -> bool {
        let is_final = || self.content().and_then(|(_, raw)| member(raw, &["final"])) == Some("true");
        match self.payload() {
            Some(Payload::Message) => true,
            Some(Payload::Task | Payload::StatusUpdate) => {
                self.state().is_some_and(TaskState::is_terminal) || (self.form == Version::V0_3 && is_final())
            }
            Some(Payload::ArtifactUpdate) | None => false,
        }
    }

    /// The same with other ids, wherever they stand.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn renamed(&self, rename: Renaming<'_>) -> Result<Self, String> {
        let shape = shape(self.method, self.form, &self.raw);
        let raw = if self.raw.starts_with('[') {
            walk::renamed_items(&self.raw, shape, rename)?
        } else if self.raw.starts_with('{') {
            walk::renamed(&self.raw, shape, rename)?
        } else {
            Cow::Borrowed(self.raw.as_str())
        };
        Ok(Self { raw: raw.into_owned(), ..*self })
    }

    /// The same list of tasks without those that the caller may not see, by their ids. Their number is corrected by as many.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn with_tasks_where(&self, mut is_seen: impl FnMut(&str) -> bool) -> Result<Self, String> {
        let mut page = Object::read(&self.raw)?;
        let Some(tasks) = page.take("tasks").filter(|_| self.method == Method::ListTasks) else {
            return Ok(self.clone());
        };
        let all = json::items(&tasks)?;
        let seen: Vec<&str> = all
            .iter()
            .map(|task| task.get())
            .filter(|task| text_of(task, &["id"]).is_some_and(|id| is_seen(&id)))
            .collect();
        let hidden = all.len() - seen.len();
        let total = page.raw("totalSize").and_then(|raw| raw.parse::<usize>().ok());
        page.set("tasks", format!("[{}]", seen.join(",")));
        if let Some(total) = total.filter(|_| hidden > 0) {
            page.set("totalSize", total.saturating_sub(hidden).to_string());
        }
        Ok(Self { raw: page.to_string(), ..*self })
    }

    /// The same in the form of another version.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn in_form(&self, form: Version) -> Result<Self, String> {
        Ok(Self { form, raw: result(self.method, self.form, form, &self.raw)?.into_owned(), ..*self })
    }

    /// What is in it, and its raw object.
    pub(super) fn content(&self) -> Option<(Payload, &str)> {
        if matches!(self.method, Method::GetTask | Method::CancelTask) {
            return Some((Payload::Task, &self.raw));
        }
        if !(self.method.is_sending() || self.method == Method::SubscribeToTask) {
            return None;
        }
        match self.form {
            Version::V0_3 => {
                let kind = text_of(&self.raw, &["kind"])?;
                let (payload, ..) = Payload::ALL.into_iter().find(|(_, _, old)| *old == kind)?;
                Some((payload, &self.raw))
            }
            Version::V1_0 => Payload::ALL.into_iter().find_map(|(payload, new, _)| {
                member(&self.raw, &[new]).filter(|raw| raw.starts_with('{')).map(|raw| (payload, raw))
            }),
        }
    }
}

fn shape(method: Method, form: Version, raw: &str) -> &'static Shape {
    let kind = if form == Version::V0_3 { text_of(raw, &["kind"]) } else { None };
    Shape::of_result(method, form, kind.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::walk::Named;

    #[test]
    fn white_space_around_a_reply_hides_nothing_in_it() {
        let raw = "\r\n\t {\"task\":{\"id\":\"t\",\"contextId\":\"c\"}} \n";
        for (method, raw, expected) in [
            (Method::SendMessage, raw, r#"{"task":{"id":"x","contextId":"x"}}"#),
            (Method::GetTask, " {\"id\":\"t\"}", r#"{"id":"x"}"#),
        ] {
            let reply = Reply::read(method, Version::V1_0, raw).unwrap();
            assert_eq!(reply.renamed(&mut |_, _| Some("x".to_owned())).unwrap().raw(), expected);
        }
        let configs = Reply::read(Method::ListPushConfigs, Version::V0_3, "\n[{\"taskId\":\"t\"}]").unwrap();
        assert_eq!(configs.renamed(&mut |_, _| Some("x".to_owned())).unwrap().raw(), r#"[{"taskId":"x"}]"#);
    }

    #[test]
    fn a_reply_says_what_it_is_about() {
        use Payload::{ArtifactUpdate, Message, StatusUpdate, Task};
        use Version::{V0_3, V1_0};
        for (form, raw, payload, task, state, is_last) in [
            (
                V1_0,
                r#"{"task":{"id":"t","status":{"state":"TASK_STATE_WORKING"}}}"#,
                Task,
                Some("t"),
                Some(TaskState::Working),
                false,
            ),
            (V1_0, r#"{"message":{"messageId":"m"}}"#, Message, None, None, true),
            (
                V1_0,
                r#"{"statusUpdate":{"taskId":"t","status":{"state":3}}}"#,
                StatusUpdate,
                Some("t"),
                Some(TaskState::Completed),
                true,
            ),
            (
                V1_0,
                r#"{"status_update":{"task_id":"t","status":{}}}"#,
                StatusUpdate,
                Some("t"),
                Some(TaskState::Unknown),
                false,
            ),
            (V1_0, r#"{"artifactUpdate":{"taskId":"t","artifact":{}}}"#, ArtifactUpdate, Some("t"), None, false),
            (
                V0_3,
                r#"{"kind":"task","id":"t","status":{"state":"rejected"}}"#,
                Task,
                Some("t"),
                Some(TaskState::Rejected),
                true,
            ),
            (
                V0_3,
                r#"{"kind":"status-update","taskId":"t","final":true,"status":{"state":"input-required"}}"#,
                StatusUpdate,
                Some("t"),
                Some(TaskState::InputRequired),
                true,
            ),
            (V0_3, r#"{"kind":"message","taskId":"t"}"#, Message, Some("t"), None, true),
        ] {
            let reply = Reply::read(Method::SendStreamingMessage, form, raw).unwrap();
            let found = (reply.payload(), reply.task_id(), reply.state(), reply.is_last());
            assert_eq!(found, (Some(payload), task.map(str::to_owned), state, is_last), "{raw}");
        }
        for (form, raw) in
            [(V1_0, "{}"), (V1_0, r#"{"kind":"task"}"#), (V0_3, r#"{"task":{}}"#), (V0_3, "null"), (V1_0, "[]")]
        {
            assert!(Reply::read(Method::SendMessage, form, raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn the_words_of_a_task_are_what_it_made_and_what_it_says() {
        let raw = r#"{"id":"t","artifacts":[{"parts":[{"text":"made"}]},{"parts":[{"data":1}]}],"status":{"state":"TASK_STATE_COMPLETED","message":{"parts":[{"text":"done"}]}}}"#;
        assert_eq!(Reply::read(Method::GetTask, Version::V1_0, raw).unwrap().text(), "made\ndone");
    }

    #[test]
    fn ids_are_renamed_in_every_kind_of_reply() {
        use Method::{CancelTask, DeletePushConfig, ListPushConfigs, ListTasks};
        for (method, form, raw, expected) in [
            (CancelTask, Version::V0_3, r#"{"id":"t","kind":"task"}"#, r#"{"id":"T","kind":"task"}"#),
            (
                ListTasks,
                Version::V1_0,
                r#"{"tasks":[{"id":"t"}, {"id":"t"}]}"#,
                r#"{"tasks":[{"id":"T"}, {"id":"T"}]}"#,
            ),
            (ListPushConfigs, Version::V0_3, r#"[{"taskId":"t","id":"t"}]"#, r#"[{"taskId":"T","id":"t"}]"#),
            (ListPushConfigs, Version::V1_0, r#"{"configs":[{"taskId":"t"}]}"#, r#"{"configs":[{"taskId":"T"}]}"#),
            (DeletePushConfig, Version::V0_3, "null", "null"),
        ] {
            let reply = Reply::read(method, form, raw).unwrap();
            let renamed = reply.renamed(&mut |named, id| (named == Named::Task).then(|| id.to_uppercase())).unwrap();
            assert_eq!(renamed.raw(), expected);
        }
    }

    #[test]
    fn tasks_of_others_are_not_listed() {
        let raw = r#"{"tasks":[{"id":"a","x":1.0},{"id":"b"},{}],"nextPageToken":"n","pageSize":3,"totalSize":7}"#;
        let page = Reply::read(Method::ListTasks, Version::V1_0, raw).unwrap();
        let seen = page.with_tasks_where(|id| id == "a").unwrap();
        assert_eq!(seen.raw(), r#"{"nextPageToken":"n","pageSize":3,"totalSize":5,"tasks":[{"id":"a","x":1.0}]}"#);
    }
}
