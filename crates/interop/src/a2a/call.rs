//! One call of an agent, whichever version and binding it came by.

use std::borrow::Cow;

use portcullis_domain::json;

use crate::a2a::failure::{Failure, Kind};
use crate::a2a::method::Method;
use crate::a2a::translate::params::params;
use crate::a2a::version::{Dialect, Version};
use crate::frame::jsonrpc::Id;
use crate::frame::object::{Object, quoted};

/// A call of an agent.
#[derive(Debug, Clone)]
pub struct A2aCall<'a> {
    /// What the caller speaks, and thus how the answer is to be written.
    pub dialect: Dialect,
    /// What is asked.
    pub method: Method,
    /// The id of the request; none over HTTP+JSON, which has none.
    pub id: Option<Id<'a>>,
    /// The extensions that the client wants to use.
    pub extensions: Vec<String>,
    /// A raw JSON object in the form of [`Dialect::form`]. Names are canonical wherever an id may stand.
    pub params: Cow<'a, str>,
}

/// What becomes of a member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change<'a> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is taken out.
    Remove,
    /// It gets this text, whether or not it was there.
    Put(&'a str),
}

/// Where news of a task goes instead of where the client wants it.
#[derive(Debug, Clone, Copy)]
pub struct Webhook<'a> {
    /// The URL.
    pub url: &'a str,
    /// What the agent must show with the news.
    pub token: Option<&'a str>,
}

/// What the gateway puts in the place of what the client said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Edits<'a> {
    /// The context that a message belongs to, or that tasks are listed of.
    pub context_id: Change<'a>,
    /// The task that the call is about, or that a message belongs to.
    pub task_id: Change<'a>,
    /// The tasks that a message refers to.
    pub reference_task_ids: Option<&'a [String]>,
    /// Where news go, where the call says so. The client's own credential for its webhook is taken out.
    pub webhook: Option<Webhook<'a>>,
    /// Members of the message's metadata, as raw JSON. What the client wrote under such a name is replaced.
    pub metadata: &'a [(&'a str, &'a str)],
}

impl A2aCall<'_> {
    /// The version whose JSON the parameters are.
    #[must_use]
    pub fn form(&self) -> Version {
        self.dialect.form()
    }

    /// The raw message, where one is sent.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        if self.method.is_sending() { member(&self.params, &["message"]) } else { None }
    }

    /// The id that the client gave its message.
    #[must_use]
    pub fn message_id(&self) -> Option<String> {
        text_of(self.message()?, &["messageId"])
    }

    /// The context that the client names. It is a claim, and nothing else.
    #[must_use]
    pub fn context_id(&self) -> Option<String> {
        text_of(&self.params, self.context_path()?).filter(|id| !id.is_empty())
    }

    /// The task that the client names. It is a claim, and nothing else.
    #[must_use]
    pub fn task_id(&self) -> Option<String> {
        text_of(&self.params, self.task_path()?).filter(|id| !id.is_empty())
    }

    /// The other tasks that the client names.
    #[must_use]
    pub fn reference_task_ids(&self) -> Vec<String> {
        let raw = self.message().and_then(|message| member(message, &["referenceTaskIds"]));
        let items = json::items(raw.unwrap_or("[]")).unwrap_or_default();
        items.into_iter().filter_map(json::text).map(Cow::into_owned).collect()
    }

    /// Which place for news the call is about.
    #[must_use]
    pub fn push_config_id(&self) -> Option<String> {
        if !matches!(self.method, Method::GetPushConfig | Method::DeletePushConfig) {
            return text_of(member(&self.params, self.push_path()?)?, &["id"]);
        }
        text_of(&self.params, &[if self.form() == Version::V0_3 { "pushNotificationConfigId" } else { "id" }])
    }

    /// Where the client wants to get news.
    #[must_use]
    pub fn push_url(&self) -> Option<String> {
        text_of(member(&self.params, self.push_path()?)?, &["url"])
    }

    /// The raw object that says where the client wants to get news, with its token and credential.
    #[must_use]
    pub fn push_config(&self) -> Option<&str> {
        member(&self.params, self.push_path()?)
    }

    /// The texts of the message, each part on lines of its own.
    #[must_use]
    pub fn text(&self) -> String {
        text_of_message(self.message().unwrap_or("{}"))
    }

    /// The parameters with what the gateway puts in; the same text when it is nothing.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidParams`] when there is no object where one must be.
    pub fn edited(&self, edits: &Edits<'_>) -> Result<Cow<'_, str>, Failure> {
        self.changed(edits).map_err(|problem| Failure::new(Kind::InvalidParams, problem))
    }

    fn changed(&self, edits: &Edits<'_>) -> Result<Cow<'_, str>, String> {
        let mut raw = Cow::Borrowed(self.params.as_ref());
        for (path, change) in [(self.context_path(), edits.context_id), (self.task_path(), edits.task_id)] {
            let Some(path) = path else { continue };
            match change {
                Change::Keep => {}
                Change::Remove => raw = Cow::Owned(put(&raw, path, None)?),
                Change::Put(text) => raw = Cow::Owned(put(&raw, path, Some(quoted(text)))?),
            }
        }
        if let Some(ids) = edits.reference_task_ids.filter(|_| self.method.is_sending()) {
            let ids: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
            let value = (!ids.is_empty()).then(|| format!("[{}]", ids.join(",")));
            raw = Cow::Owned(put(&raw, &["message", "referenceTaskIds"], value)?);
        }
        if let (Some(webhook), Some(path)) = (edits.webhook, self.push_path())
            && let Some(config) = member(&raw, path).filter(|config| config.starts_with('{'))
        {
            let config = webhook.put_into(config)?;
            raw = Cow::Owned(if path.is_empty() { config } else { put(&raw, path, Some(config))? });
        }
        if self.method.is_sending() {
            raw = self.without_task_of_webhook(raw)?;
            for (name, value) in edits.metadata {
                raw = Cow::Owned(put(&raw, &["message", "metadata", name], Some((*value).to_owned()))?);
            }
        }
        Ok(raw)
    }

    /// A webhook that comes with a message is for the task that the message makes. An agent might believe that it names another.
    fn without_task_of_webhook<'p>(&self, raw: Cow<'p, str>) -> Result<Cow<'p, str>, String> {
        let path = self.push_path().unwrap_or_default();
        let config = member(&raw, path).filter(|config| member(config, &["taskId"]).is_some());
        let Some(config) = config.map(Object::read).transpose()? else { return Ok(raw) };
        let mut config = config;
        config.remove("taskId");
        Ok(Cow::Owned(put(&raw, path, Some(config.to_string()))?))
    }

    /// Parameters of this call in the form of another version.
    ///
    /// # Errors
    ///
    /// [`Kind::UnsupportedOperation`] for what the other version does not have; [`Kind::InvalidParams`] for what can't be read.
    pub fn params_for<'p>(&self, params_raw: &'p str, form: Version) -> Result<Cow<'p, str>, Failure> {
        params(self.method, self.form(), form, params_raw)
    }

    fn context_path(&self) -> Option<&'static [&'static str]> {
        if self.method.is_sending() {
            return Some(&["message", "contextId"]);
        }
        if self.method == Method::ListTasks { Some(&["contextId"]) } else { None }
    }

    fn task_path(&self) -> Option<&'static [&'static str]> {
        match (self.method, self.form()) {
            (Method::SendMessage | Method::SendStreamingMessage, _) => Some(&["message", "taskId"]),
            (Method::GetTask | Method::CancelTask | Method::SubscribeToTask, _) => Some(&["id"]),
            (Method::CreatePushConfig, _) => Some(&["taskId"]),
            (Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig, Version::V0_3) => {
                Some(&["id"])
            }
            (Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig, Version::V1_0) => {
                Some(&["taskId"])
            }
            (Method::ListTasks | Method::GetExtendedCard, _) => None,
        }
    }

    fn push_path(&self) -> Option<&'static [&'static str]> {
        match (self.method.is_sending(), self.form()) {
            (true, Version::V0_3) => Some(&["configuration", "pushNotificationConfig"]),
            (true, Version::V1_0) => Some(&["configuration", "taskPushNotificationConfig"]),
            (false, _) if self.method != Method::CreatePushConfig => None,
            (false, Version::V0_3) => Some(&["pushNotificationConfig"]),
            (false, Version::V1_0) => Some(&[]),
        }
    }
}

impl Webhook<'_> {
    fn put_into(&self, raw: &str) -> Result<String, String> {
        let mut config = Object::read(raw)?;
        config.set("url", quoted(self.url));
        config.remove("token");
        config.remove("authentication");
        if let Some(token) = self.token {
            config.set("token", quoted(token));
        }
        Ok(config.to_string())
    }
}

/// The texts of a raw message of either version.
pub(super) fn text_of_message(raw: &str) -> String {
    let parts = json::items(member(raw, &["parts"]).unwrap_or("[]")).unwrap_or_default();
    let texts: Vec<String> = parts.into_iter().filter_map(|part| text_of(part.get(), &["text"])).collect();
    texts.join("\n")
}

/// The raw value at the end of a path of names; a `null` is none.
pub(super) fn member<'a>(raw: &'a str, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(raw, |raw, name| {
        let members = json::members(raw).ok()?;
        json::member(&members, name).map(|value| value.get()).filter(|raw| *raw != "null")
    })
}

/// The text at the end of a path of names.
pub(super) fn text_of(raw: &str, path: &[&str]) -> Option<String> {
    serde_json::from_str(member(raw, path)?).ok()
}

/// Puts a value at the end of a path, making objects on the way, or takes out what is there.
fn put(raw: &str, path: &[&str], value: Option<String>) -> Result<String, String> {
    let Some((name, rest)) = path.split_first() else { return Ok(value.unwrap_or_default()) };
    let mut object = Object::read(raw)?;
    let inner = object.raw(name).filter(|raw| *raw != "null");
    let value = match (rest, inner, value) {
        ([], _, None) | (_, None, None) => None,
        ([], _, value) => value,
        (_, inner, value) => Some(put(inner.unwrap_or("{}"), rest, value)?),
    };
    match value {
        Some(value) => object.set(name, value),
        None => {
            object.remove(name);
        }
    }
    Ok(object.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::version::Binding;

    fn call(version: Version, method: Method, params: &str) -> A2aCall<'_> {
        let dialect = Dialect::new(version, Binding::JsonRpc);
        A2aCall { dialect, method, id: None, extensions: Vec::new(), params: params.into() }
    }

    #[test]
    fn what_the_client_claims_can_be_read() {
        let params = r#"{"message":{"messageId":"m","contextId":"c","taskId":"","referenceTaskIds":["t1","t2"],"parts":[{"text":"a"},{"url":"u"},{"kind":"text","text":"b\n"}]},"configuration":{"taskPushNotificationConfig":{"id":"p","url":"https://x"}}}"#;
        let call = call(Version::V1_0, Method::SendMessage, params);
        assert_eq!((call.message_id().as_deref(), call.context_id().as_deref()), (Some("m"), Some("c")));
        assert_eq!((call.task_id(), call.reference_task_ids()), (None, vec!["t1".to_owned(), "t2".to_owned()]));
        assert_eq!((call.push_url().as_deref(), call.push_config_id().as_deref()), (Some("https://x"), Some("p")));
        assert_eq!(call.text(), "a\nb\n");
    }

    #[test]
    fn a_task_and_a_webhook_stand_where_the_method_and_the_version_have_them() {
        use Method::{CreatePushConfig, DeletePushConfig, GetTask, ListPushConfigs, ListTasks, SendMessage};
        use Version::{V0_3, V1_0};
        for (version, method, params, task, config, url) in [
            (V0_3, GetTask, r#"{"id":"t"}"#, Some("t"), None, None),
            (V1_0, ListTasks, r#"{"contextId":"c"}"#, None, None, None),
            (V0_3, DeletePushConfig, r#"{"id":"t","pushNotificationConfigId":"p"}"#, Some("t"), Some("p"), None),
            (V1_0, DeletePushConfig, r#"{"taskId":"t","id":"p"}"#, Some("t"), Some("p"), None),
            (V1_0, ListPushConfigs, r#"{"taskId":"t"}"#, Some("t"), None, None),
            (
                V0_3,
                CreatePushConfig,
                r#"{"taskId":"t","pushNotificationConfig":{"id":"p","url":"u"}}"#,
                Some("t"),
                Some("p"),
                Some("u"),
            ),
            (V1_0, CreatePushConfig, r#"{"taskId":"t","id":"p","url":"u"}"#, Some("t"), Some("p"), Some("u")),
            (
                V0_3,
                SendMessage,
                r#"{"message":{"taskId":"t"},"configuration":{"pushNotificationConfig":{"url":"u"}}}"#,
                Some("t"),
                None,
                Some("u"),
            ),
        ] {
            let call = call(version, method, params);
            let found = (call.task_id(), call.push_config_id(), call.push_url());
            assert_eq!((found.0.as_deref(), found.1.as_deref(), found.2.as_deref()), (task, config, url), "{params}");
        }
    }

    #[test]
    fn what_the_gateway_puts_in_replaces_what_was_there_and_nothing_else() {
        let ids = ["n1".to_owned()];
        let edits = Edits {
            context_id: Change::Put("k"),
            task_id: Change::Remove,
            reference_task_ids: Some(&ids),
            webhook: Some(Webhook { url: "https://gate", token: Some("s") }),
            metadata: &[("portcullis/session", "{\"a\":1.0}")],
        };
        let params = r#"{"x":1.50,"message":{"taskId":"t","parts":[ ],"metadata":{"m": 2},"contextId":"c"},"configuration":{"taskPushNotificationConfig":{"taskId":"other","url":"u","token":"client","authentication":{"credentials":"client"},"y":1}}}"#;
        let expected = r#"{"x":1.50,"message":{"parts":[ ],"metadata":{"m":2,"portcullis/session":{"a":1.0}},"contextId":"k","referenceTaskIds":["n1"]},"configuration":{"taskPushNotificationConfig":{"url":"https://gate","y":1,"token":"s"}}}"#;
        assert_eq!(call(Version::V1_0, Method::SendMessage, params).edited(&edits).unwrap(), expected);

        let bare = r#"{"message":{"parts":[]}}"#;
        let expected = r#"{"message":{"parts":[],"contextId":"k","referenceTaskIds":["n1"],"metadata":{"portcullis/session":{"a":1.0}}}}"#;
        assert_eq!(call(Version::V0_3, Method::SendMessage, bare).edited(&edits).unwrap(), expected);

        let push = r#"{"taskId":"t","url":"u","token":"client"}"#;
        let edits = Edits { task_id: Change::Put("t2"), webhook: Some(Webhook { url: "g", token: None }), ..edits };
        let edited = call(Version::V1_0, Method::CreatePushConfig, push);
        assert_eq!(edited.edited(&edits).unwrap(), r#"{"taskId":"t2","url":"g"}"#);

        let untouched = call(Version::V1_0, Method::SendMessage, bare);
        assert!(matches!(untouched.edited(&Edits::default()).unwrap(), Cow::Borrowed(same) if same == bare));
    }
}
