//! Reading what an agent says of itself.

use portcullis_domain::json;

use super::interface::Interface;
use crate::a2a::call::{member, text_of};
use crate::a2a::shape::{Place, Shape};
use crate::a2a::walk;

/// The names in a card of either version that the gateway replaces or that clients rely on. Others that look like them would
/// be taken for them by some clients.
static CARD: Shape = Shape(&[
    ("name", Place::Plain),
    ("description", Place::Plain),
    ("version", Place::Plain),
    ("provider", Place::Plain),
    ("documentationUrl", Place::Plain),
    ("iconUrl", Place::Plain),
    ("capabilities", Place::One(&CAPABILITIES)),
    ("securitySchemes", Place::Plain),
    ("securityRequirements", Place::Plain),
    ("security", Place::Plain),
    ("defaultInputModes", Place::Plain),
    ("defaultOutputModes", Place::Plain),
    ("skills", Place::Many(&SKILL)),
    ("signatures", Place::Plain),
    ("supportedInterfaces", Place::Many(&INTERFACE)),
    ("additionalInterfaces", Place::Many(&INTERFACE)),
    ("url", Place::Plain),
    ("preferredTransport", Place::Plain),
    ("protocolVersion", Place::Plain),
    ("supportsAuthenticatedExtendedCard", Place::Plain),
]);

static CAPABILITIES: Shape = Shape(&[
    ("streaming", Place::Plain),
    ("pushNotifications", Place::Plain),
    ("extensions", Place::Plain),
    ("extendedAgentCard", Place::Plain),
    ("stateTransitionHistory", Place::Plain),
]);

static SKILL: Shape = Shape(&[
    ("id", Place::Plain),
    ("name", Place::Plain),
    ("description", Place::Plain),
    ("tags", Place::Plain),
    ("examples", Place::Plain),
    ("inputModes", Place::Plain),
    ("outputModes", Place::Plain),
    ("security", Place::Plain),
    ("securityRequirements", Place::Plain),
]);

static INTERFACE: Shape = Shape(&[
    ("url", Place::Plain),
    ("protocolBinding", Place::Plain),
    ("transport", Place::Plain),
    ("protocolVersion", Place::Plain),
    ("tenant", Place::Plain),
]);

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    pub(super) raw: String,
    interfaces: Vec<Interface>,
    problems: Vec<String>,
}

/// A skill of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is good for.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
}

impl Card {
    /// Reads a card of either version, or of both at once.
    ///
    /// # Errors
    ///
    /// All that is wrong, when the agent can't be used: the card is no object, it has no name, or nothing can be spoken with
    /// the agent.
    pub fn read(bytes: &[u8]) -> Result<Self, Vec<String>> {
        let text = std::str::from_utf8(bytes).map_err(|_| vec!["the card is not UTF-8".to_owned()])?;
        if walk::is_too_deep(bytes) {
            return Err(vec![format!("the card is nested deeper than {} levels", walk::DEPTH_LIMIT)]);
        }
        let raw = walk::normal(text, &CARD).map_err(|problem| vec![format!("the card can't be read: {problem}")])?;
        let mut problems = lacks(&raw);
        let has_name = text_of(&raw, &["name"]).is_some_and(|name| !name.is_empty());
        let (mut interfaces, unusable) = interfaces(&raw);
        if interfaces.is_empty() && unusable.is_empty() {
            problems.push("there is neither `supportedInterfaces` nor `url`".to_owned());
        }
        problems.extend(unusable);
        if !has_name || interfaces.is_empty() {
            return Err(problems);
        }
        interfaces.sort_by_key(Interface::rank);
        Ok(Self { raw: raw.into_owned(), interfaces, problems })
    }

    /// The raw card, with names as we write them.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// What is wrong with it, though it can be used.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Where the agent can be reached, the best first.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The agent's name.
    #[must_use]
    pub fn name(&self) -> String {
        text_of(&self.raw, &["name"]).unwrap_or_default()
    }

    /// What the agent is good for.
    #[must_use]
    pub fn description(&self) -> String {
        text_of(&self.raw, &["description"]).unwrap_or_default()
    }

    /// The agent's own version.
    #[must_use]
    pub fn version(&self) -> String {
        text_of(&self.raw, &["version"]).unwrap_or_default()
    }

    /// Whether it answers by streams.
    #[must_use]
    pub fn streams(&self) -> bool {
        member(&self.raw, &["capabilities", "streaming"]) == Some("true")
    }

    /// Whether it sends news to webhooks.
    #[must_use]
    pub fn pushes(&self) -> bool {
        member(&self.raw, &["capabilities", "pushNotifications"]) == Some("true")
    }

    /// Whether it declares the extension of that URI.
    #[must_use]
    pub fn declares(&self, extension: &str) -> bool {
        let declared = member(&self.raw, &["capabilities", "extensions"]);
        let declared = json::items(declared.unwrap_or("[]")).unwrap_or_default();
        declared.into_iter().any(|raw| text_of(raw.get(), &["uri"]).as_deref() == Some(extension))
    }

    /// Whether it has another card for known callers.
    #[must_use]
    pub fn has_extended(&self) -> bool {
        let new = member(&self.raw, &["capabilities", "extendedAgentCard"]);
        new.or_else(|| member(&self.raw, &["supportsAuthenticatedExtendedCard"])) == Some("true")
    }

    /// What it can do.
    #[must_use]
    pub fn skills(&self) -> Vec<Skill> {
        let text = |raw: &str, name| text_of(raw, &[name]).unwrap_or_default();
        let tags = |raw| json::items(member(raw, &["tags"]).unwrap_or("[]")).unwrap_or_default();
        items(&self.raw, "skills")
            .into_iter()
            .map(|raw| Skill {
                id: text(raw, "id"),
                name: text(raw, "name"),
                description: text(raw, "description"),
                tags: tags(raw).into_iter().filter_map(json::text).map(std::borrow::Cow::into_owned).collect(),
            })
            .collect()
    }
}

/// What the specification demands and the card does not have.
fn lacks(raw: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut demand = |path: &[&str], opening: char, what: &str| {
        if !member(raw, path).is_some_and(|raw| raw.starts_with(opening)) {
            problems.push(format!("`{}` is not {what}", path.join(".")));
        }
    };
    demand(&["name"], '"', "a text");
    demand(&["description"], '"', "a text");
    demand(&["version"], '"', "a text");
    demand(&["capabilities"], '{', "an object");
    demand(&["defaultInputModes"], '[', "an array");
    demand(&["defaultOutputModes"], '[', "an array");
    demand(&["skills"], '[', "an array");
    for (place, skill) in items(raw, "skills").into_iter().enumerate() {
        for (name, opening, what) in
            [("id", '"', "a text"), ("name", '"', "a text"), ("description", '"', "a text"), ("tags", '[', "an array")]
        {
            if !member(skill, &[name]).is_some_and(|raw| raw.starts_with(opening)) {
                problems.push(format!("`skills[{place}].{name}` is not {what}"));
            }
        }
    }
    problems
}

/// The interfaces that can be used, and what is wrong with the others.
fn interfaces(raw: &str) -> (Vec<Interface>, Vec<String>) {
    let text = |raw: &str, name| text_of(raw, &[name]).filter(|text| !text.is_empty());
    let mut found = Vec::new();
    for (place, one) in items(raw, "supportedInterfaces").into_iter().enumerate() {
        let (url, binding) = (text(one, "url").unwrap_or_default(), text(one, "protocolBinding").unwrap_or_default());
        // Cards of early releases name no version here; only later ones have this member at all.
        let version = text(one, "protocolVersion").unwrap_or_else(|| "1.0".to_owned());
        let read = Interface::read(&url, &binding, &version, text(one, "tenant"));
        found.push(read.map_err(|problem| format!("`supportedInterfaces[{place}]`: {problem}")));
    }
    let version = text(raw, "protocolVersion").unwrap_or_else(|| "0.3.0".to_owned());
    if let Some(url) = text(raw, "url") {
        let binding = text(raw, "preferredTransport").unwrap_or_else(|| "JSONRPC".to_owned());
        found.push(Interface::read(&url, &binding, &version, None).map_err(|problem| format!("`url`: {problem}")));
    }
    for (place, one) in items(raw, "additionalInterfaces").into_iter().enumerate() {
        let (url, binding) = (text(one, "url").unwrap_or_default(), text(one, "transport").unwrap_or_default());
        let read = Interface::read(&url, &binding, &version, None);
        found.push(read.map_err(|problem| format!("`additionalInterfaces[{place}]`: {problem}")));
    }
    let mut usable: Vec<Interface> = Vec::new();
    let mut problems = Vec::new();
    for interface in found {
        match interface {
            Ok(interface) if usable.contains(&interface) => {}
            Ok(interface) => usable.push(interface),
            Err(problem) => problems.push(problem),
        }
    }
    (usable, problems)
}

/// The objects in an array.
pub(super) fn items<'a>(raw: &'a str, name: &str) -> Vec<&'a str> {
    let items = json::items(member(raw, &[name]).unwrap_or("[]")).unwrap_or_default();
    items.into_iter().map(|item| item.get()).filter(|item| item.starts_with('{')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::version::{Binding, Dialect, Version};

    const NEW: &str = r#"{"name":"a","description":"d","version":"1","capabilities":{"streaming":true,"pushNotifications":true,"extendedAgentCard":true},"defaultInputModes":[],"defaultOutputModes":[],"skills":[{"id":"s","name":"n","description":"x","tags":["t"]}],"supportedInterfaces":[{"url":"https://a/soap","protocolBinding":"SOAP","protocolVersion":"1.0"},{"url":"https://a/http","protocolBinding":"HTTP+JSON","protocolVersion":"1.0"},{"url":"https://a/rpc","protocolBinding":"JSONRPC","protocolVersion":"1.0","tenant":"t"}]}"#;
    const OLD: &str = r#"{"name":"a","url":"https://a/rpc","protocolVersion":"0.3.0","additionalInterfaces":[{"url":"https://a/rpc","transport":"JSONRPC"},{"url":"https://a/http","transport":"HTTP+JSON"}],"supportsAuthenticatedExtendedCard":true}"#;

    #[test]
    fn the_best_interface_comes_first() {
        let card = Card::read(NEW.as_bytes()).unwrap();
        let (rpc, tenant) = ("https://a/rpc".to_owned(), Some("t".to_owned()));
        let dialect = Dialect::new(Version::V1_0, Binding::JsonRpc);
        assert_eq!(card.interfaces()[0], Interface { url: rpc, dialect, tenant });
        assert_eq!(card.interfaces().len(), 2);
        assert_eq!(card.problems(), ["`supportedInterfaces[0]`: the binding `SOAP` is not spoken here"]);
        assert!(card.streams() && card.pushes() && card.has_extended());
        let tags = vec!["t".to_owned()];
        let skill = Skill { id: "s".into(), name: "n".into(), description: "x".into(), tags };
        assert_eq!(card.skills(), [skill]);
    }

    #[test]
    fn an_old_card_that_lacks_much_can_be_used_and_says_what_it_lacks() {
        let card = Card::read(OLD.as_bytes()).unwrap();
        let dialects: Vec<Dialect> = card.interfaces().iter().map(|interface| interface.dialect).collect();
        let dialect = |binding| Dialect::new(Version::V0_3, binding);
        assert_eq!(dialects, [dialect(Binding::JsonRpc), dialect(Binding::HttpJson)]);
        assert_eq!(card.problems()[..2], ["`description` is not a text", "`version` is not a text"]);
        assert!(card.has_extended() && !card.streams());
    }

    #[test]
    fn a_card_that_can_not_be_used_says_all_that_is_wrong() {
        for (raw, problem) in [
            ("[]", "the card can't be read: "),
            ("{", "the card can't be read: "),
            (r#"{"name":"a","name":"b","url":"https://a"}"#, "the card can't be read: `name` stands twice"),
            (r#"{"name":"a","url":"https://a","Url":"https://b"}"#, "the card can't be read: `Url` is written `url`"),
            (r#"{"url":"https://a"}"#, "`name` is not a text"),
            (r#"{"name":"a"}"#, "there is neither `supportedInterfaces` nor `url`"),
            (r#"{"name":"a","url":"ftp://a"}"#, "`url`: `ftp://a` is no plain web address"),
            (
                r#"{"name":"a","url":"https://a","protocolVersion":"0.2.0"}"#,
                "`url`: version `0.2.0` is not spoken here",
            ),
        ] {
            let problems = Card::read(raw.as_bytes()).unwrap_err();
            assert!(problems.iter().any(|found| found.starts_with(problem)), "{problems:?}");
        }
    }
}
