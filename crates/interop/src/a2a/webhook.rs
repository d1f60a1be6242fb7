//! Places for news of tasks, as clients describe them, and the news themselves. An agent is told the gateway's webhook; the client's own, with its token and
//! credential, is kept here in the form of 1.0, shown to nobody but the client, and used when it is told.

use http::HeaderValue;
use portcullis_domain::json;

use crate::a2a::call::{A2aCall, text_of};
use crate::a2a::failure::{Failure, Kind};
use crate::a2a::method::Method;
use crate::a2a::reply::{Payload, Reply};
use crate::a2a::translate::push::place_to_new;
use crate::a2a::version::Version;
use crate::frame::object::{Object, quoted};

/// The header in which the token of a place for news comes back with each piece of news.
pub const TOKEN_HEADER: &str = "x-a2a-notification-token";

/// The members by which a client describes a place, besides the name that it gives it.
const DESCRIBED: [&str; 3] = ["url", "token", "authentication"];

/// Where a client wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    raw: String,
    /// The URL.
    pub url: String,
}

impl Place {
    /// The place that a call asks for, if it asks for one.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidParams`] when it can't be read, has no URL, or a token or credential that can't be sent in a header.
    pub fn of(call: &A2aCall<'_>) -> Result<Option<Self>, Failure> {
        let Some(raw) = call.push_config() else { return Ok(None) };
        let invalid =
            |problem: String| Failure::new(Kind::InvalidParams, format!("the place for news can't be read: {problem}"));
        let new = match call.form() {
            Version::V0_3 => place_to_new(raw).map_err(invalid)?,
            Version::V1_0 => raw.to_owned(),
        };
        let mut place = Object::read(&new).map_err(invalid)?;
        place.retain(|name| DESCRIBED.contains(&name));
        let place = Self::read(&place.to_string()).map_err(invalid)?;
        for (name, value) in [("token", place.token()), ("authentication", place.authorization())] {
            if value.is_some_and(|value| HeaderValue::from_str(&value).is_err()) {
                return Err(invalid(format!("`{name}` can't be sent in a header")));
            }
        }
        Ok(Some(place))
    }

    /// Reads what [`Self::raw`] gave.
    ///
    /// # Errors
    ///
    /// A sentence when it has no URL.
    pub fn read(raw: &str) -> Result<Self, String> {
        let url = text_of(raw, &["url"]).ok_or("it has no `url`")?;
        Ok(Self { raw: raw.to_owned(), url })
    }

    /// The raw description, without names of place or task.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What is shown there with each piece of news.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        text_of(&self.raw, &["token"]).filter(|token| !token.is_empty())
    }

    /// What is said there as `Authorization`: the scheme and the credential.
    #[must_use]
    pub fn authorization(&self) -> Option<String> {
        let text = |name| text_of(&self.raw, &["authentication", name]).filter(|text| !text.is_empty());
        Some(format!("{} {}", text("scheme")?, text("credentials")?))
    }

    /// The place as the client sees it, by the names that it knows.
    #[must_use]
    pub fn shown(&self, id: &str, task: &str) -> String {
        let (mut shown, members) = (Object::default(), json::members(&self.raw).unwrap_or_default());
        shown.set("id", quoted(id));
        shown.set("taskId", quoted(task));
        shown.extend(members.iter().map(|(name, value)| (name.as_ref(), value.get())));
        shown.to_string()
    }
}

/// The answer to [`Method::CreatePushConfig`] or [`Method::GetPushConfig`] with a place that [`Place::shown`] gave.
///
/// # Errors
///
/// What can't be read.
pub fn one(method: Method, shown: &str) -> Result<Reply, String> {
    Reply::read(method, Version::V1_0, shown)
}

/// The answer to [`Method::ListPushConfigs`] with places that [`Place::shown`] gave.
///
/// # Errors
///
/// What can't be read.
pub fn page(shown: &[String]) -> Result<Reply, String> {
    Reply::read(Method::ListPushConfigs, Version::V1_0, &format!("{{\"configs\":[{}]}}", shown.join(",")))
}

/// The answer to [`Method::DeletePushConfig`].
///
/// # Errors
///
/// Never; it is read as any other.
pub fn deleted() -> Result<Reply, String> {
    Reply::read(Method::DeletePushConfig, Version::V1_0, "{}")
}

/// Reads news that an agent sent, in whichever version they are: an agent of one may send those of the other.
///
/// # Errors
///
/// What is wrong with them.
pub fn read_news(raw: &str) -> Result<Reply, String> {
    let form = if text_of(raw, &["kind"]).is_some() { Version::V0_3 } else { Version::V1_0 };
    Reply::read_news(form, raw)
}

/// The news as a client of that version is told them; none where it can't be told at all. In 1.0 they are an event, in 0.3 a task: of a state that has changed
/// the task without what it has made, and of something that was made alone there is none.
///
/// # Errors
///
/// What can't be read.
pub fn told(news: &Reply, form: Version) -> Result<Option<String>, String> {
    let new = news.in_form(form)?;
    match (form, news.payload()) {
        (Version::V0_3, Some(Payload::StatusUpdate)) => {}
        (Version::V0_3, Some(Payload::ArtifactUpdate)) => return Ok(None),
        _ => return Ok(Some(new.raw().to_owned())),
    }
    let update = Object::read(new.raw())?;
    let mut task = Object::default();
    task.set("kind", quoted("task"));
    for (from, to) in [("taskId", "id"), ("contextId", "contextId"), ("status", "status"), ("metadata", "metadata")] {
        if let Some(raw) = update.raw(from).filter(|raw| *raw != "null") {
            task.set(to, raw.to_owned());
        }
    }
    Ok(Some(task.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::version::{Binding, Dialect};

    fn call(version: Version, method: Method, params: &'static str) -> A2aCall<'static> {
        let dialect = Dialect::new(version, Binding::JsonRpc);
        A2aCall { dialect, method, id: None, extensions: Vec::new(), params: params.into() }
    }

    #[test]
    fn a_place_is_the_same_however_it_is_asked_for() {
        use Method::{CreatePushConfig, SendMessage};
        let raw = r#"{"url":"https://c/x","token":"k","authentication":{"credentials":"c","scheme":"Bearer"}}"#;
        for (version, method, params) in [
            (
                Version::V1_0,
                CreatePushConfig,
                r#"{"taskId":"t","id":"mine","tenant":"z","url":"https://c/x","token":"k","authentication":{"credentials":"c","scheme":"Bearer"}}"#,
            ),
            (
                Version::V0_3,
                CreatePushConfig,
                r#"{"taskId":"t","pushNotificationConfig":{"id":"mine","url":"https://c/x","token":"k","authentication":{"credentials":"c","schemes":["Bearer"]}}}"#,
            ),
            (
                Version::V0_3,
                SendMessage,
                r#"{"message":{},"configuration":{"pushNotificationConfig":{"url":"https://c/x","token":"k","authentication":{"credentials":"c","schemes":["Bearer"]}}}}"#,
            ),
        ] {
            let place = Place::of(&call(version, method, params)).unwrap().unwrap();
            assert_eq!((place.raw(), place.url.as_str()), (raw, "https://c/x"), "{params}");
            let shown = (place.token(), place.authorization());
            assert_eq!((shown.0.as_deref(), shown.1.as_deref()), (Some("k"), Some("Bearer c")));
        }
        assert_eq!(Place::of(&call(Version::V1_0, SendMessage, r#"{"message":{}}"#)), Ok(None));
        let nowhere = Place::of(&call(Version::V1_0, CreatePushConfig, r#"{"taskId":"t"}"#)).unwrap_err();
        assert_eq!(nowhere.kind(), Some(Kind::InvalidParams));
        for unsent in [
            r#"{"taskId":"t","url":"https://c/x","token":"a\nb"}"#,
            r#"{"taskId":"t","url":"https://c/x","authentication":{"scheme":"Bearer","credentials":"a\u0000"}}"#,
        ] {
            let refused = Place::of(&call(Version::V1_0, CreatePushConfig, unsent)).unwrap_err();
            assert_eq!(refused.kind(), Some(Kind::InvalidParams), "{unsent}");
        }
    }

    #[test]
    fn a_client_sees_its_own_place_in_its_own_version() {
        let place = Place::read(r#"{"url":"u","authentication":{"scheme":"Basic"}}"#).unwrap();
        let shown = place.shown("p", "t");
        let old = one(Method::GetPushConfig, &shown).unwrap().in_form(Version::V0_3).unwrap();
        assert_eq!(
            old.raw(),
            r#"{"taskId":"t","pushNotificationConfig":{"id":"p","url":"u","authentication":{"schemes":["Basic"]}}}"#
        );
        assert_eq!(page(std::slice::from_ref(&shown)).unwrap().raw(), format!(r#"{{"configs":[{shown}]}}"#));
        assert_eq!(deleted().unwrap().in_form(Version::V0_3).unwrap().raw(), "null");
    }

    #[test]
    fn news_are_told_in_the_clients_version() {
        let update = r#"{"statusUpdate":{"taskId":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
        let made = r#"{"artifactUpdate":{"taskId":"t","contextId":"c","artifact":{"artifactId":"a","parts":[]}}}"#;
        let task = r#"{"kind":"task","id":"t","contextId":"c","status":{"state":"working"}}"#;
        let new = r#"{"task":{"id":"t","contextId":"c","status":{"state":"TASK_STATE_WORKING"}}}"#;
        for (raw, form, expected) in [
            (update, Version::V1_0, Some(update)),
            (update, Version::V0_3, Some(task)),
            (made, Version::V1_0, Some(made)),
            (made, Version::V0_3, None),
            (task, Version::V0_3, Some(task)),
            (task, Version::V1_0, Some(new)),
        ] {
            let news = read_news(raw).unwrap();
            assert_eq!(told(&news, form).unwrap().as_deref(), expected, "{raw}");
        }
        assert!(read_news("{}").is_err() && read_news(r#"{"kind":"x"}"#).is_err());
    }
}
