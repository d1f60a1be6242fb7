//! What clients see of an agent: its own words, with the gateway in its place.

use std::borrow::Cow;

use super::interface::Interface;
use super::read::{Card, items};
use crate::a2a::version::{Binding, Dialect, Version};
use crate::frame::object::{Object, quoted};

/// The name of the gateway's own security scheme in a card.
const SCHEME: &str = "portcullis";
/// Everything in a card of either version that says where to go and how to prove who one is.
const REPLACED: [&str; 10] = [
    "supportedInterfaces",
    "url",
    "preferredTransport",
    "additionalInterfaces",
    "protocolVersion",
    "protocolVersions",
    "security",
    "securitySchemes",
    "securityRequirements",
    "supportsAuthenticatedExtendedCard",
];

/// How the gateway serves an agent.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    /// Where, by JSON-RPC and HTTP+JSON and for all versions.
    pub url: &'a str,
    /// Where, by gRPC, if it is served.
    pub grpc: Option<ByGrpc<'a>>,
    /// The version that the client asked for. One that asked for none gets a card that both read: clients of 0.3 never ask, and
    /// most of 1.0 do not when they fetch a card.
    pub version: Option<Version>,
    /// Whether the gateway passes on news to webhooks.
    pub pushes: bool,
    /// Whether the gateway serves the card for known callers.
    pub has_extended: bool,
}

/// How the gateway is called by gRPC, whose paths name no agent.
#[derive(Debug, Clone, Copy)]
pub struct ByGrpc<'a> {
    /// Host and port, as libraries take them.
    pub address: &'a str,
    /// What requests say in `tenant` so that they are for the agent; 0.3 has no place for it.
    pub tenant: &'a str,
}

impl Card {
    /// The card that clients see.
    ///
    /// # Errors
    ///
    /// What can't be read in it.
    pub fn serve(&self, serving: &Serving<'_>) -> Result<String, String> {
        let mut card = Object::read(&self.raw)?;
        card.retain(|name| !REPLACED.contains(&name) && name != "signatures");
        // Strict clients refuse a card that lacks what must be there.
        for (name, default) in [
            ("description", "\"\""),
            ("version", "\"\""),
            ("capabilities", "{}"),
            ("defaultInputModes", "[]"),
            ("defaultOutputModes", "[]"),
            ("skills", "[]"),
        ] {
            require(&mut card, name, default);
        }
        let is_old = serving.version != Some(Version::V1_0);
        let is_new = serving.version != Some(Version::V0_3);
        let has_extended = serving.has_extended && self.has_extended();
        let skills: Vec<String> = items(&self.raw, "skills").into_iter().map(skill).collect::<Result<_, _>>()?;
        card.set("skills", format!("[{}]", skills.join(",")));
        card.set("capabilities", self.capabilities(serving, is_new.then_some(has_extended), is_old)?);
        if is_new {
            card.set("supportedInterfaces", interfaces(serving, is_old));
            card.set("securityRequirements", format!(r#"[{{"schemes":{{"{SCHEME}":{{"list":[]}}}}}}]"#));
        }
        if is_old {
            card.set("protocolVersion", quoted("0.3.0"));
            card.set("url", quoted(serving.url));
            card.set("preferredTransport", quoted("JSONRPC"));
            let url = quoted(serving.url);
            let grpc = serving.grpc.map(|grpc| ("GRPC", quoted(grpc.address)));
            let all = [("JSONRPC", url.clone()), ("HTTP+JSON", url)].into_iter().chain(grpc);
            let all: Vec<String> = all.map(|(name, url)| format!(r#"{{"url":{url},"transport":"{name}"}}"#)).collect();
            card.set("additionalInterfaces", format!("[{}]", all.join(",")));
            card.set("security", format!(r#"[{{"{SCHEME}":[]}}]"#));
            card.set("supportsAuthenticatedExtendedCard", has_extended.to_string());
        }
        card.set("securitySchemes", format!(r#"{{"{SCHEME}":{}}}"#, scheme(is_new, is_old)));
        Ok(card.to_string())
    }

    fn capabilities(&self, serving: &Serving<'_>, extended: Option<bool>, is_old: bool) -> Result<String, String> {
        let raw = crate::a2a::call::member(&self.raw, &["capabilities"]).filter(|raw| raw.starts_with('{'));
        let mut capabilities = Object::read(raw.unwrap_or("{}"))?;
        capabilities.set("pushNotifications", (serving.pushes && self.pushes()).to_string());
        capabilities.remove("extendedAgentCard");
        if let Some(extended) = extended {
            capabilities.set("extendedAgentCard", extended.to_string());
        }
        if !is_old {
            capabilities.remove("stateTransitionHistory");
        }
        Ok(capabilities.to_string())
    }
}

impl Interface {
    /// The interface as a card of 1.0 has it.
    fn written(&self) -> String {
        let mut object = Object::default();
        object.set("url", quoted(&self.url));
        let binding = match self.dialect.binding {
            Binding::JsonRpc => "JSONRPC",
            Binding::HttpJson => "HTTP+JSON",
            Binding::Grpc => "GRPC",
        };
        object.set("protocolBinding", quoted(binding));
        object.set("protocolVersion", quoted(self.dialect.version.as_str()));
        if let Some(tenant) = &self.tenant {
            object.set("tenant", quoted(tenant));
        }
        object.to_string()
    }
}

fn interfaces(serving: &Serving<'_>, is_old: bool) -> String {
    let versions = Version::ALL.into_iter().filter(|version| is_old || *version != Version::V0_3);
    let written: Vec<String> = versions
        .flat_map(|version| {
            let url = |binding| (serving.url, binding, None);
            let grpc = serving.grpc.map(|grpc| (grpc.address, Binding::Grpc, Some(grpc.tenant.to_owned())));
            let all = [url(Binding::JsonRpc), url(Binding::HttpJson)].into_iter().chain(grpc);
            all.map(move |(url, binding, tenant)| Interface {
                url: url.to_owned(),
                dialect: Dialect::new(version, binding),
                // 0.3 knows no tenants.
                tenant: tenant.filter(|_| version == Version::V1_0),
            })
        })
        .map(|interface| interface.written())
        .collect();
    format!("[{}]", written.join(","))
}

/// The gateway's scheme, as each version writes it; for clients of either, both ways at once.
fn scheme(is_new: bool, is_old: bool) -> String {
    let mut scheme = Object::default();
    let description = "A key or a task token of the gateway.";
    if is_new {
        let (name, text) = (quoted("Bearer"), quoted(description));
        scheme.set("httpAuthSecurityScheme", format!(r#"{{"description":{text},"scheme":{name}}}"#));
    }
    if is_old {
        scheme.set("type", quoted("http"));
        scheme.set("scheme", quoted("Bearer"));
        scheme.set("description", quoted(description));
    }
    scheme.to_string()
}

fn skill(raw: &str) -> Result<String, String> {
    let mut skill = Object::read(raw)?;
    skill.remove("security");
    skill.remove("securityRequirements");
    for (name, default) in [("id", "\"\""), ("name", "\"\""), ("description", "\"\""), ("tags", "[]")] {
        require(&mut skill, name, default);
    }
    Ok(skill.to_string())
}

fn require<'a>(object: &mut Object<'a>, name: &'a str, default: &'static str) {
    if object.raw(name).is_none_or(|raw| raw == "null") {
        object.set(name, Cow::Borrowed(default));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const UPSTREAM: &str = r#"{"name":"claims","description":"d","x":1.50,"url":"https://secret/rpc","security":[{"k":[]}],"securitySchemes":{"k":{"type":"apiKey","in":"header","name":"X-Key"}},"signatures":[{"protected":"p","signature":"s"}],"supportsAuthenticatedExtendedCard":true,"capabilities":{"streaming":true,"pushNotifications":true,"stateTransitionHistory":true,"extensions":[{"uri":"https://x"}]},"skills":[{"id":"s","name":"n","y":2.0,"security":[{"k":[]}]}]}"#;

    fn served(version: Option<Version>) -> Value {
        let card = Card::read(UPSTREAM.as_bytes()).unwrap();
        let grpc = Some(ByGrpc { address: "gate:443", tenant: "claims" });
        let serving = Serving { url: "https://gate/a2a/claims", grpc, version, pushes: true, has_extended: true };
        let served = card.serve(&serving).unwrap();
        assert!(!served.contains("secret") && !served.contains("X-Key") && !served.contains("signature"), "{served}");
        assert!(served.contains(r#""x":1.50"#) && served.contains(r#""y":2.0"#), "{served}");
        // What is served is a card again.
        assert!(Card::read(served.as_bytes()).unwrap().problems().is_empty());
        serde_json::from_str(&served).unwrap()
    }

    #[test]
    fn the_gateway_stands_where_the_agent_stood() {
        let url = "https://gate/a2a/claims";
        let new = served(Some(Version::V1_0));
        let interface =
            |binding: &str, version: &str| json!({"url": url, "protocolBinding": binding, "protocolVersion": version});
        let grpc = json!({"url": "gate:443", "protocolBinding": "GRPC", "protocolVersion": "1.0", "tenant": "claims"});
        let all = json!([interface("JSONRPC", "1.0"), interface("HTTP+JSON", "1.0"), grpc]);
        assert_eq!(new["supportedInterfaces"], all);
        assert_eq!(new["securityRequirements"], json!([{"schemes": {"portcullis": {"list": []}}}]));
        assert_eq!(new["securitySchemes"]["portcullis"]["httpAuthSecurityScheme"]["scheme"], "Bearer");
        assert_eq!(
            new["capabilities"],
            json!({"streaming": true, "pushNotifications": true, "extensions": [{"uri": "https://x"}], "extendedAgentCard": true})
        );
        for name in ["url", "preferredTransport", "protocolVersion", "security", "supportsAuthenticatedExtendedCard"] {
            assert_eq!(new[name], Value::Null, "{name}");
        }

        let skill = json!({"id": "s", "name": "n", "y": 2.0, "description": "", "tags": []});
        assert_eq!(new["skills"], json!([skill]));

        let old = served(Some(Version::V0_3));
        assert_eq!(old["skills"], json!([skill]));
        assert_eq!(
            (&old["url"], &old["preferredTransport"], &old["protocolVersion"]),
            (&json!(url), &json!("JSONRPC"), &json!("0.3.0"))
        );
        assert_eq!(old["additionalInterfaces"][2], json!({"url": "gate:443", "transport": "GRPC"}));
        assert_eq!(old["security"], json!([{"portcullis": []}]));
        assert_eq!(old["capabilities"]["stateTransitionHistory"], true);
        assert_eq!(
            (&old["supportedInterfaces"], &old["supportsAuthenticatedExtendedCard"]),
            (&Value::Null, &json!(true))
        );
    }

    #[test]
    fn who_does_not_ask_for_a_version_can_read_the_card_as_either() {
        let both = served(None);
        for card in [served(Some(Version::V1_0)), served(Some(Version::V0_3))] {
            for name in card.as_object().unwrap().keys() {
                assert_ne!(both[name], Value::Null, "{name}");
            }
        }
        assert_eq!(both["supportedInterfaces"].as_array().unwrap().len(), 6);
        assert_eq!(both["supportedInterfaces"][5]["tenant"], Value::Null);
        let scheme = &both["securitySchemes"]["portcullis"];
        assert_eq!((&scheme["type"], &scheme["httpAuthSecurityScheme"]["scheme"]), (&json!("http"), &json!("Bearer")));
    }

    #[test]
    fn what_the_gateway_does_not_do_is_not_promised() {
        let card = Card::read(UPSTREAM.as_bytes()).unwrap();
        let serving =
            Serving { url: "https://g", grpc: None, version: Some(Version::V1_0), pushes: false, has_extended: false };
        let served: Value = serde_json::from_str(&card.serve(&serving).unwrap()).unwrap();
        assert_eq!(served["capabilities"]["pushNotifications"], false);
        assert_eq!(served["capabilities"]["extendedAgentCard"], false);
    }
}
