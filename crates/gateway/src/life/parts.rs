//! Guardrails at Agent2Agent: the texts and the data in the parts of what is sent to an agent, and of what it says.
//!
//! The texts of one message or artifact are looked at as one, in the order in which they stand: whoever reads them joins them, and nothing is missed for standing in two of them. What is
//! found so stands in the first of them afterwards, and nothing in the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_domain::call::{Capability, Place};
use portcullis_domain::json;
use portcullis_domain::policy::{Effect, Point};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::a2a::A2aCall;
use serde_json::Value;

use crate::asking::Asking;
use crate::guardrails::{Content, Rule, content};
use crate::life::Gate;
use crate::life::guarding::{Guarding, Notes};
use crate::snapshot::{Setting, Snapshot};

/// How deep what is looked at may be.
const DEPTH_LIMIT: usize = 100;

/// The guardrails of what an agent says in one answer.
#[derive(Debug)]
pub struct Lookout {
    rules: Vec<Arc<Rule>>,
    /// What they did.
    pub notes: Notes,
}

impl Lookout {
    /// Whether none looks.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty()
    }
}

/// Something to be looked at.
enum Piece {
    /// The texts of one message or artifact, each with its pointer.
    Texts(Vec<(String, String)>),
    /// Raw JSON, with its pointer.
    Data(String, String),
}

impl Gate {
    /// The guardrails of what the agent says.
    #[must_use]
    pub fn lookout(&self, agent: &Capability) -> Lookout {
        Lookout { rules: self.snapshot.load().guardrails.at(Point::ModelOut, agent), notes: Notes::default() }
    }

    /// What the agent says, as they have made it.
    ///
    /// # Errors
    ///
    /// That it goes no further, or can't be looked at.
    pub async fn guard_said(
        &self,
        asking: &Asking,
        agent: &Capability,
        raw: &str,
        lookout: &mut Lookout,
    ) -> Result<String, Refusal> {
        let Lookout { rules, notes } = lookout;
        self.guard_parts(asking, rules, (Point::ModelOut, agent), raw, notes).await
    }

    /// A message as it may go to the agent.
    pub async fn guard_message(
        &self,
        asking: &Asking,
        agent: &Capability,
        call: A2aCall<'static>,
    ) -> (A2aCall<'static>, Guarding) {
        let snapshot = self.snapshot.load_full();
        if !call.method.is_sending() {
            return (call, Guarding::default());
        }
        let unseen = Guarding::unseen(Point::ModelIn);
        let rules = snapshot.guardrails.at(Point::ModelIn, agent);
        // Without the agent, there is nobody whom the message could reach.
        let Some(called) = snapshot.catalogue.agent(&agent.name).filter(|_| !rules.is_empty()).cloned() else {
            return (call, unseen);
        };
        let know =
            |snapshot: &Snapshot, setting: &Setting| snapshot.know_agent(asking, setting, Place::Request, &called);
        let known = self.judged(asking, &snapshot, know).await;
        // What policy denies, no service learns of.
        if known.obstacle.is_some() || known.decision.effect == Effect::Deny {
            return (call, unseen);
        }
        let mut notes = Notes::default();
        let at = (Point::ModelIn, agent);
        match self.guard_parts(asking, &rules, at, &call.params, &mut notes).await {
            Ok(params) => (A2aCall { params: params.into(), ..call }, Guarding::seen(notes, None)),
            Err(refusal) => (call, Guarding::seen(notes, Some(refusal))),
        }
    }

    /// The same JSON with its parts as the rules have made them.
    ///
    /// # Errors
    ///
    /// That it goes no further, or can't be looked at.
    async fn guard_parts(
        &self,
        asking: &Asking,
        rules: &[Arc<Rule>],
        at: (Point, &Capability),
        raw: &str,
        notes: &mut Notes,
    ) -> Result<String, Refusal> {
        let mut pieces = Vec::new();
        collect(raw, "", 0, &mut pieces).map_err(unreadable)?;
        let mut changed: BTreeMap<String, String> = BTreeMap::new();
        for piece in pieces {
            match piece {
                Piece::Texts(texts) => {
                    let whole: String = texts.iter().map(|(_, text)| text.as_str()).collect();
                    let made = self.guard(asking, rules, at, Content::Text(whole.clone()), notes).await?.into_string();
                    if made != whole {
                        let rest = std::iter::repeat(String::new());
                        let new = std::iter::once(made).chain(rest).map(|text| Value::from(text).to_string());
                        changed.extend(texts.into_iter().map(|(place, _)| place).zip(new));
                    }
                }
                Piece::Data(place, data) => {
                    let made = self.guard(asking, rules, at, Content::Data(data.clone()), notes).await?.into_string();
                    if made != data {
                        changed.insert(place, made);
                    }
                }
            }
        }
        if changed.is_empty() {
            return Ok(raw.to_owned());
        }
        content::with_values(raw, &changed).map_err(unreadable)
    }
}

/// Finds the parts, wherever a message or an artifact stands.
fn collect(raw: &str, place: &str, depth: usize, pieces: &mut Vec<Piece>) -> Result<(), String> {
    if depth > DEPTH_LIMIT {
        return Err(format!("it is deeper than {DEPTH_LIMIT} levels"));
    }
    match raw.as_bytes().first() {
        Some(b'{') => {
            for (name, value) in json::members(raw)? {
                let place = content::below(place, &name);
                if name == "parts" && value.get().starts_with('[') {
                    collect_parts(value.get(), &place, pieces)?;
                } else if name != "metadata" {
                    collect(value.get(), &place, depth + 1, pieces)?;
                }
            }
        }
        Some(b'[') => {
            for (index, item) in json::items(raw)?.into_iter().enumerate() {
                collect(item.get(), &format!("{place}/{index}"), depth + 1, pieces)?;
            }
        }
        // Whoever trims it first would find what is not found here.
        Some(byte) if byte.is_ascii_whitespace() => return Err("it begins with white space".to_owned()),
        Some(_) | None => {}
    }
    Ok(())
}

fn collect_parts(raw: &str, place: &str, pieces: &mut Vec<Piece>) -> Result<(), String> {
    let mut texts = Vec::new();
    for (index, part) in json::items(raw)?.into_iter().enumerate() {
        let Some(b'{') = part.get().as_bytes().first() else { continue };
        let members = json::members(part.get())?;
        if let Some(text) = json::member(&members, "text").and_then(json::text) {
            texts.push((format!("{place}/{index}/text"), text.into_owned()));
        }
        if let Some(data) = json::member(&members, "data").filter(|data| data.get() != "null") {
            pieces.push(Piece::Data(format!("{place}/{index}/data"), data.get().to_owned()));
        }
    }
    if !texts.is_empty() {
        pieces.push(Piece::Texts(texts));
    }
    Ok(())
}

fn unreadable(problem: String) -> Refusal {
    Refusal::new(Code::InvalidArguments, "what is said can't be looked at").because(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_wherever_a_message_or_an_artifact_stands() {
        let raw = r#"{"task":{"status":{"message":{"parts":[{"text":"a"},{"raw":"AA=="},{"text":"b"}],"metadata":{"parts":[{"text":"x"}]}}},"artifacts":[{"parts":[{"kind":"data","data":{"parts":[{"text":"c"}]}}]}],"history":[{"parts":[{"text":"d"}]}]}}"#;
        let mut pieces = Vec::new();
        collect(raw, "", 0, &mut pieces).unwrap();
        let shown: Vec<String> = pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Texts(texts) => {
                    texts.into_iter().map(|(place, text)| format!("{place}={text};")).collect::<String>()
                }
                Piece::Data(place, data) => format!("{place}={data}"),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "/task/status/message/parts/0/text=a;/task/status/message/parts/2/text=b;",
                r#"/task/artifacts/0/parts/0/data={"parts":[{"text":"c"}]}"#,
                "/task/history/0/parts/0/text=d;",
            ]
        );
    }
}
