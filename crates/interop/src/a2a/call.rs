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
    /// What the agent knows the place by.
    pub id: Option<&'a str>,
}

/// Where news go that a call asks for.
#[derive(Debug, Clone, Copy, Default)]
pub enum News<'a> {
    /// Nowhere: a message asks for no news, and a place for them can't be made.
    #[default]
    Nowhere,
    /// Where the call says. It was looked at before.
    AsSaid,
    /// Here. The client's own credential for its place is taken out.
    To(Webhook<'a>),
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
    /// Where news go, where the call wants any.
    pub news: News<'a>,
    /// The place for news that is asked for or deleted.
    pub push_config_id: Change<'a>,
    /// Members of the message's metadata, as raw JSON. What the client wrote under such a name is replaced.
    pub metadata: &'a [(&'a str, &'a str)],
}

impl A2aCall<'_> {
    /// The same, free of the request that it was read from.
    #[must_use]
    pub fn into_owned(self) -> A2aCall<'static> {
        let Self { dialect, method, id, extensions, params } = self;
        A2aCall { dialect, method, id: id.map(Id::into_owned), extensions, params: Cow::Owned(params.into_owned()) }
    }

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

    /// Whom the client means where one address serves many. In 0.3 there is no such word.
    #[must_use]
    pub fn tenant(&self) -> Option<String> {
        text_of(&self.params, &["tenant"]).filter(|tenant| !tenant.is_empty())
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
        match self.push_config_name() {
            Some(name) => text_of(&self.params, &[name]),
            None => text_of(member(&self.params, self.push_path()?)?, &["id"]),
        }
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
    /// [`Kind::InvalidParams`] when there is no object where one must be; [`Kind::PushNotSupported`] when a place for news is to be
    /// made and the gateway has no webhook for it.
    pub fn edited(&self, edits: &Edits<'_>) -> Result<Cow<'_, str>, Failure> {
        if self.method == Method::CreatePushConfig && matches!(edits.news, News::Nowhere) {
            return Err(Failure::new(Kind::PushNotSupported, "there is no webhook for the news of this agent"));
        }
        self.changed(edits).map_err(|problem| Failure::new(Kind::InvalidParams, problem))
    }

    fn changed(&self, edits: &Edits<'_>) -> Result<Cow<'_, str>, String> {
        let mut params = Object::read(&self.params)?;
        let is_changed = if self.method.is_sending() {
            let message = params.raw("message").ok_or("`message` is missing")?.to_owned();
            let message = edits.applied_to_message(&message)?;
            let has_message = message.is_some();
            message.into_iter().for_each(|message| params.set("message", message));
            let configuration = params.raw("configuration").filter(|raw| raw.starts_with('{')).map(str::to_owned);
            let configuration = configuration.map(|raw| self.with_news(&raw, edits.news)).transpose()?.flatten();
            let has_configuration = configuration.is_some();
            configuration.into_iter().for_each(|configuration| params.set("configuration", configuration));
            has_message || has_configuration
        } else {
            let context = self.context_path().and_then(<[_]>::first);
            let task = self.task_path().and_then(<[_]>::first);
            let mut is_changed = context.is_some_and(|name| edits.context_id.apply(&mut params, name));
            is_changed |= task.is_some_and(|name| edits.task_id.apply(&mut params, name));
            let push = self.push_config_name();
            is_changed |= push.is_some_and(|name| edits.push_config_id.apply(&mut params, name));
            if let (Method::CreatePushConfig, News::To(webhook)) = (self.method, edits.news) {
                return self.with_place(&params.to_string(), webhook).map(Cow::Owned);
            }
            is_changed
        };
        Ok(if is_changed { Cow::Owned(params.to_string()) } else { Cow::Borrowed(&self.params) })
    }

    /// A configuration with the gateway's webhook in the place of the client's, or without any; none when it has none.
    fn with_news(&self, raw: &str, news: News<'_>) -> Result<Option<String>, String> {
        let mut configuration = Object::read(raw)?;
        let name = match self.form() {
            Version::V0_3 => "pushNotificationConfig",
            Version::V1_0 => "taskPushNotificationConfig",
        };
        let Some(place) = configuration.raw(name).map(str::to_owned) else { return Ok(None) };
        match news {
            News::AsSaid => return Ok(None),
            News::To(webhook) if place.starts_with('{') => configuration.set(name, webhook.put_into(&place, true)?),
            News::To(_) | News::Nowhere => {
                configuration.remove(name);
            }
        }
        Ok(Some(configuration.to_string()))
    }

    /// The parameters that make a place for news, with the gateway's webhook in it.
    fn with_place(&self, raw: &str, webhook: Webhook<'_>) -> Result<String, String> {
        if self.form() == Version::V1_0 {
            return webhook.put_into(raw, false);
        }
        let mut params = Object::read(raw)?;
        let place = params.raw("pushNotificationConfig").unwrap_or("{}").to_owned();
        params.set("pushNotificationConfig", webhook.put_into(&place, true)?);
        Ok(params.to_string())
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

    /// The parameter that names a place for news.
    fn push_config_name(&self) -> Option<&'static str> {
        let is_named = matches!(self.method, Method::GetPushConfig | Method::DeletePushConfig);
        is_named.then_some(if self.form() == Version::V0_3 { "pushNotificationConfigId" } else { "id" })
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

impl Edits<'_> {
    /// The message with what the gateway puts in; none when it is nothing.
    fn applied_to_message(&self, raw: &str) -> Result<Option<String>, String> {
        let mut message = Object::read(raw)?;
        let mut is_changed = self.context_id.apply(&mut message, "contextId");
        is_changed |= self.task_id.apply(&mut message, "taskId");
        if let Some(ids) = self.reference_task_ids {
            let ids: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
            match ids.as_slice() {
                [] => is_changed |= message.remove("referenceTaskIds"),
                ids => {
                    message.set("referenceTaskIds", format!("[{}]", ids.join(",")));
                    is_changed = true;
                }
            }
        }
        if !self.metadata.is_empty() {
            let metadata = message.raw("metadata").filter(|raw| *raw != "null").unwrap_or("{}").to_owned();
            let mut metadata = Object::read(&metadata)?;
            metadata.extend(self.metadata.iter().copied());
            let metadata = metadata.to_string();
            message.set("metadata", metadata);
            is_changed = true;
        }
        Ok(is_changed.then(|| message.to_string()))
    }
}

impl Change<'_> {
    /// True if anything changed.
    fn apply(self, object: &mut Object<'_>, name: &'static str) -> bool {
        match self {
            Self::Keep => false,
            Self::Remove => object.remove(name),
            Self::Put(text) => {
                object.set(name, quoted(text));
                true
            }
        }
    }
}

impl Webhook<'_> {
    /// A place for news with this webhook. One that comes with a message is for the task that the message makes: an agent
    /// might believe that it names another.
    fn put_into(&self, raw: &str, is_nested: bool) -> Result<String, String> {
        let mut place = Object::read(raw)?;
        place.set("url", quoted(self.url));
        place.remove("token");
        place.remove("authentication");
        if is_nested {
            place.remove("taskId");
        }
        for (name, value) in [("token", self.token), ("id", self.id)] {
            if let Some(value) = value {
                place.set(name, quoted(value));
            }
        }
        Ok(place.to_string())
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
            news: News::To(Webhook { url: "https://gate", token: Some("s"), id: Some("p-1") }),
            push_config_id: Change::Keep,
            metadata: &[("portcullis/session", "{\"a\":1.0}")],
        };
        let params = r#"{"x":1.50,"message":{"taskId":"t","parts":[ ],"metadata":{"m": 2},"contextId":"c"},"configuration":{"taskPushNotificationConfig":{"taskId":"other","url":"u","token":"client","authentication":{"credentials":"client"},"y":1}}}"#;
        let expected = r#"{"x":1.50,"message":{"parts":[ ],"metadata":{"m":2,"portcullis/session":{"a":1.0}},"contextId":"k","referenceTaskIds":["n1"]},"configuration":{"taskPushNotificationConfig":{"url":"https://gate","y":1,"token":"s","id":"p-1"}}}"#;
        assert_eq!(call(Version::V1_0, Method::SendMessage, params).edited(&edits).unwrap(), expected);

        let bare = r#"{"message":{"parts":[]}}"#;
        let expected = r#"{"message":{"parts":[],"contextId":"k","referenceTaskIds":["n1"],"metadata":{"portcullis/session":{"a":1.0}}}}"#;
        assert_eq!(call(Version::V0_3, Method::SendMessage, bare).edited(&edits).unwrap(), expected);

        let push = r#"{"taskId":"t","url":"u","token":"client"}"#;
        let edits =
            Edits { task_id: Change::Put("t2"), news: News::To(Webhook { url: "g", token: None, id: None }), ..edits };
        let edited = call(Version::V1_0, Method::CreatePushConfig, push);
        assert_eq!(edited.edited(&edits).unwrap(), r#"{"taskId":"t2","url":"g"}"#);

        let silent = r#"{"message":{"parts":[]},"configuration":{"pushNotificationConfig":{"url":"u"},"a":1.0}}"#;
        let silent = call(Version::V0_3, Method::SendMessage, silent).edited(&Edits::default()).unwrap().into_owned();
        assert_eq!(silent, r#"{"message":{"parts":[]},"configuration":{"a":1.0}}"#);
        let said = Edits { context_id: Change::Put("k"), news: News::AsSaid, ..Edits::default() };
        let asks = r#"{"message":{"contextId":"c"},"configuration":{"taskPushNotificationConfig":{"url":"u"}}}"#;
        let asked = call(Version::V1_0, Method::SendMessage, asks).edited(&said).unwrap().into_owned();
        assert_eq!(asked, asks.replace("\"c\"", "\"k\""));
        let refused = call(Version::V1_0, Method::CreatePushConfig, push).edited(&Edits::default()).unwrap_err();
        assert_eq!(refused.kind(), Some(Kind::PushNotSupported));

        let edits = Edits { push_config_id: Change::Put("p-1"), ..Edits::default() };
        let named = r#"{"id":"t","pushNotificationConfigId":"mine"}"#;
        let named = call(Version::V0_3, Method::DeletePushConfig, named).edited(&edits).unwrap().into_owned();
        assert_eq!(named, r#"{"id":"t","pushNotificationConfigId":"p-1"}"#);

        let untouched = call(Version::V1_0, Method::SendMessage, bare);
        assert!(matches!(untouched.edited(&Edits::default()).unwrap(), Cow::Borrowed(same) if same == bare));
    }
}
