//! What services are asked, and what they answer: JSON by POST.

use std::collections::BTreeMap;

use portcullis_domain::authority::Chain;
use portcullis_domain::call::Capability;
use portcullis_domain::ids::SessionId;
use portcullis_domain::policy::guarded::KINDS_LIMIT;
use portcullis_domain::policy::{Deed, Point};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::guardrails::content::Content;
use crate::guardrails::rule::{Rule, Ruling, kind};
use crate::guardrails::table::Action;

/// What is written down of a service that names no kinds.
const FOUND: &str = "service";

/// What a service is told.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    rule: &'a str,
    point: Point,
    capability: String,
    /// Who asks first, then the agents through whom it comes.
    chain: Vec<&'a str>,
    session: &'a str,
    content: &'a RawValue,
}

/// What it says.
#[derive(Debug, Deserialize)]
struct Answered {
    action: Said,
    #[serde(default)]
    content: Option<Box<RawValue>>,
    #[serde(default)]
    kinds: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Allow,
    Block,
    Mutate,
}

/// The request to a service.
///
/// # Errors
///
/// A sentence when the content is no JSON.
pub fn question(
    rule: &Rule,
    point: Point,
    capability: &Capability,
    (chain, session): (Chain<'_>, &SessionId),
    content: &Content,
) -> Result<String, String> {
    let content = RawValue::from_string(content.to_json()).map_err(|error| error.to_string())?;
    let asked = Asked {
        rule: rule.name.as_str(),
        point,
        capability: capability.to_string(),
        chain: std::iter::once(chain.subject).chain(chain.through).map(|name| name.as_str()).collect(),
        session: session.name.as_str(),
        content: &content,
    };
    serde_json::to_string(&asked).map_err(|error| error.to_string())
}

/// What follows from its answer.
///
/// # Errors
///
/// A sentence when it is no answer.
pub fn ruling(rule: &Rule, point: Point, content: &Content, answer: &[u8]) -> Result<Ruling, String> {
    let answered: Answered = serde_json::from_slice(answer).map_err(|_| "its answer can't be read".to_owned())?;
    if answered.action == Said::Allow {
        return Ok(Ruling::Nothing);
    }
    let found = kinds(&answered.kinds);
    Ok(match (&rule.action, answered.action) {
        (Action::Report, _) => Ruling::Noted(rule.guarded(point, Deed::Reported, found)),
        (Action::Label(_), _) => Ruling::Noted(rule.guarded(point, Deed::Labelled, found)),
        (Action::Block | Action::Mask, Said::Block | Said::Allow) => {
            Ruling::Blocked(rule.guarded(point, Deed::Blocked, found))
        }
        (Action::Block | Action::Mask, Said::Mutate) => {
            let new = answered.content.ok_or("it changes the content and names none")?;
            Ruling::Changed(rule.guarded(point, Deed::Changed, found), like(content, new.get())?)
        }
    })
}

/// The new content, which is of the kind of the old one.
fn like(content: &Content, raw: &str) -> Result<Content, String> {
    match content {
        Content::Text(_) => {
            let text = serde_json::from_str(raw).map_err(|_| "its content is not a text, and was one".to_owned())?;
            Ok(Content::Text(text))
        }
        Content::Data(_) => Ok(Content::Data(raw.to_owned())),
        Content::Json(old) => {
            let is_like = old.trim_start().bytes().next() == raw.bytes().next();
            let new = Content::Json(raw.to_owned());
            if is_like { Ok(new) } else { Err("its content is of another type than it was".to_owned()) }
        }
    }
}

/// Kinds as they may stand in the record: a service has no way to write into it what it has read.
fn kinds(said: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let plain = said.iter().filter(|(_, count)| **count > 0).filter_map(|(name, count)| Some((kind(name)?, *count)));
    let mut found: BTreeMap<String, u64> = plain.take(KINDS_LIMIT).collect();
    if found.is_empty() {
        found.insert(FOUND.to_owned(), 1);
    }
    found
}
