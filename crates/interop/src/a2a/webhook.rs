//! Places for news, on the way back to the client. An agent is told the gateway's webhook and confirms that one; the client must
//! see its own again, and never the gateway's token.

use portcullis_domain::json;

use crate::a2a::call::text_of;
use crate::a2a::method::Method;
use crate::a2a::reply::Reply;
use crate::a2a::version::Version;
use crate::frame::object::Object;

/// The header in which the token of a place for news comes back with each piece of news.
pub const TOKEN_HEADER: &str = "x-a2a-notification-token";

/// The members by which a place is described.
const DESCRIBED: [&str; 4] = ["id", "url", "token", "authentication"];

/// The same reply with the places for news that the client asked for. `client_config` gives the raw object of a place by the id that
/// the agent knows it by, in the reply's form and as the client wrote it. A place without one is left out of a list.
///
/// # Errors
///
/// What can't be read, and a single place that is not the client's.
pub fn with_push_configs(
    reply: &Reply,
    mut client_config: impl FnMut(&str) -> Option<String>,
) -> Result<Reply, String> {
    let form = reply.form();
    let mut shown = |raw: &str| shown(form, raw, &mut client_config);
    let raw = match (reply.method(), form) {
        (Method::CreatePushConfig | Method::GetPushConfig, _) => {
            shown(reply.raw())?.ok_or("the agent named another place for news")?
        }
        (Method::ListPushConfigs, Version::V0_3) => each(reply.raw(), shown)?,
        (Method::ListPushConfigs, Version::V1_0) => {
            let mut page = Object::read(reply.raw())?;
            let configs = each(page.raw("configs").filter(|raw| *raw != "null").unwrap_or("[]"), shown)?;
            page.set("configs", configs);
            page.to_string()
        }
        (
            Method::SendMessage
            | Method::SendStreamingMessage
            | Method::GetTask
            | Method::ListTasks
            | Method::CancelTask
            | Method::SubscribeToTask
            | Method::DeletePushConfig
            | Method::GetExtendedCard,
            _,
        ) => return Ok(reply.clone()),
    };
    Reply::read(reply.method(), form, &raw)
}

fn each(raw: &str, mut shown: impl FnMut(&str) -> Result<Option<String>, String>) -> Result<String, String> {
    let mut items = Vec::new();
    for item in json::items(raw)? {
        items.extend(shown(item.get())?);
    }
    Ok(format!("[{}]", items.join(",")))
}

fn shown(
    form: Version,
    raw: &str,
    client_config: &mut impl FnMut(&str) -> Option<String>,
) -> Result<Option<String>, String> {
    let mut outer = Object::read(raw)?;
    let nested = match form {
        Version::V0_3 => outer.raw("pushNotificationConfig").unwrap_or("{}").to_owned(),
        Version::V1_0 => raw.to_owned(),
    };
    let id = text_of(&nested, &["id"]).unwrap_or_default();
    let Some(config) = client_config(&id) else { return Ok(None) };
    let config = json::members(&config)?;
    let described = config.iter().filter(|(name, _)| DESCRIBED.contains(&name.as_ref()));
    let described = described.map(|(name, value)| (name.as_ref(), value.get()));
    match form {
        Version::V1_0 => {
            outer.retain(|name| !DESCRIBED.contains(&name));
            outer.extend(described);
        }
        Version::V0_3 => {
            let mut place = Object::read(&nested)?;
            place.retain(|name| !DESCRIBED.contains(&name));
            place.extend(described);
            let place = place.to_string();
            outer.set("pushNotificationConfig", place);
        }
    }
    Ok(Some(outer.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, form: Version, raw: &str, expected: Option<&str>) {
        let reply = Reply::read(method, form, raw).unwrap();
        let client = |id: &str| (id == "p").then(|| r#"{"id":"mine","url":"https://client","z":1}"#.to_owned());
        let shown = with_push_configs(&reply, client);
        assert_eq!(shown.as_ref().ok().map(Reply::raw), expected);
    }

    #[test]
    fn a_client_sees_its_own_webhook_and_nothing_of_the_gateways() {
        use Method::{CreatePushConfig, DeletePushConfig, ListPushConfigs};
        let flat = r#"{"id":"p","taskId":"t","url":"https://gate","token":"ours","x":1.0}"#;
        let shown = r#"{"taskId":"t","x":1.0,"id":"mine","url":"https://client"}"#;
        let nested =
            r#"{"taskId":"t","pushNotificationConfig":{"x":1.0,"id":"p","url":"https://gate","token":"ours"}}"#;
        let shown_nested = r#"{"taskId":"t","pushNotificationConfig":{"x":1.0,"id":"mine","url":"https://client"}}"#;
        check(CreatePushConfig, Version::V1_0, flat, Some(shown));
        check(CreatePushConfig, Version::V0_3, nested, Some(shown_nested));
        check(CreatePushConfig, Version::V1_0, r#"{"id":"other","url":"https://gate"}"#, None);
        let page = format!(r#"{{"configs":[{flat},{{"id":"q","url":"u"}}]}}"#);
        check(ListPushConfigs, Version::V1_0, &page, Some(&format!(r#"{{"configs":[{shown}]}}"#)));
        check(ListPushConfigs, Version::V0_3, &format!("[{nested}]"), Some(&format!("[{shown_nested}]")));
        check(DeletePushConfig, Version::V0_3, "null", Some("null"));
    }
}
