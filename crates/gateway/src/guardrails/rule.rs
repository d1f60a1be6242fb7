//! One guardrail, ready to be used, and what it says of something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use portcullis_domain::call::Capability;
use portcullis_domain::ids::{LabelName, RuleName};
use portcullis_domain::policy::guarded::{KIND_LIMIT_BYTES, KINDS_LIMIT};
use portcullis_domain::policy::{Deed, Guarded, Point};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::scope::Scope;
use portcullis_guard::{Detector, Finding, Spec};

use crate::credential::bearer;
use crate::guardrails::content::{self, Content};
use crate::guardrails::said;
use crate::guardrails::table::{Action, At, GuardrailTable, OnError};

/// How many guardrails there may be.
const RULES_LIMIT: usize = 256;
/// The longest time that one may take, in milliseconds.
const TIMEOUT_LIMIT_MS: u64 = 120_000;
/// The most of a stream that one may hold back, in bytes.
const HOLD_LIMIT_BYTES: usize = 16 << 20;

/// The most that is looked at of what a server says of one tool, in bytes.
const ENTRY_LIMIT_BYTES: usize = 256 << 10;
/// The same of all its tools together.
pub const LISTED_LIMIT_BYTES: usize = 8 << 20;

/// All guardrails, in their order.
#[derive(Debug, Default)]
pub struct Guardrails {
    rules: Vec<Arc<Rule>>,
}

/// A guardrail.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// How it looks.
    pub check: Check,
    /// What happens when something is found.
    pub action: Action,
    /// How long it may take.
    pub timeout: Duration,
    /// How much of a stream it holds back at most.
    pub hold_bytes: usize,
    at: Vec<Point>,
    capabilities: Option<Scope>,
    is_open: bool,
    message: String,
}

/// How a guardrail looks.
#[derive(Debug)]
pub enum Check {
    /// By itself.
    Detect(Detector, View),
    /// By asking a service.
    Ask(Service),
}

/// What of JSON is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The texts in it.
    Texts,
    /// All of it: its size.
    Whole,
    /// What has a shape, each by itself.
    Shapes,
}

/// A service that is asked.
#[derive(Debug)]
pub struct Service {
    /// Where it is.
    pub url: String,
    /// What is sent to it as `Authorization`.
    pub authorization: Option<HeaderValue>,
}

/// What a guardrail says.
#[derive(Debug, Default)]
pub enum Ruling {
    /// There is nothing to say.
    #[default]
    Nothing,
    /// It goes on, and this is written down.
    Noted(Guarded),
    /// It goes on as this.
    Changed(Guarded, Content),
    /// It goes no further.
    Blocked(Guarded),
}

impl Guardrails {
    /// What is made of the tables.
    ///
    /// # Errors
    ///
    /// One sentence for each thing that is wrong.
    pub fn new(tables: &[GuardrailTable]) -> Result<Self, Vec<String>> {
        let (mut rules, mut problems): (Vec<Arc<Rule>>, Vec<String>) = (Vec::new(), Vec::new());
        if tables.len() > RULES_LIMIT {
            problems.push(format!("`guardrails` has more than {RULES_LIMIT} rules"));
        }
        for table in tables {
            if rules.iter().any(|rule| rule.name == table.name) {
                problems.push(format!("guardrails.{}: there are two of that name", table.name));
            }
            match Rule::of_table(table) {
                Ok(rule) => rules.push(Arc::new(rule)),
                Err(problem) => problems.push(format!("guardrails.{}: {problem}", table.name)),
            }
        }
        if problems.is_empty() { Ok(Self { rules }) } else { Err(problems) }
    }

    /// Whether any rule looks there.
    #[must_use]
    pub fn look_at(&self, point: Point) -> bool {
        self.rules.iter().any(|rule| rule.at.contains(&point))
    }

    /// What is found in what a server says of a tool, as raw JSON: what rules did, of which the last may have blocked it. `left_bytes` is how much of what the server says may still be
    /// looked at: nothing else goes on meanwhile, and what is longer nobody can look at.
    #[must_use]
    pub fn listed(&self, tool: &Capability, entry: &str, left_bytes: &mut usize) -> Vec<Guarded> {
        let content = Content::Json(entry.to_owned());
        let mut did = Vec::new();
        let rules = self.at(Point::ToolList, tool);
        let left = left_bytes.checked_sub(entry.len()).filter(|_| entry.len() <= ENTRY_LIMIT_BYTES);
        if !rules.is_empty() {
            *left_bytes = left.unwrap_or(*left_bytes);
        }
        for rule in rules {
            let found = match left {
                Some(_) => rule.find(Point::ToolList, &content),
                None => Err(format!(
                    "there are more than {ENTRY_LIMIT_BYTES} bytes of it, or {LISTED_LIMIT_BYTES} of all that the server says of its tools"
                )),
            };
            let ruling = found.map_or_else(
                |fault| rule.failed(Point::ToolList, &fault),
                |found| rule.ruling(Point::ToolList, &content, &found),
            );
            match ruling {
                Ruling::Nothing => {}
                Ruling::Noted(guarded) | Ruling::Changed(guarded, _) => did.push(guarded),
                Ruling::Blocked(guarded) => {
                    did.push(guarded);
                    break;
                }
            }
        }
        did
    }

    /// Those that look at this there, in their order.
    #[must_use]
    pub fn at(&self, point: Point, capability: &Capability) -> Vec<Arc<Rule>> {
        let looks = |rule: &&Arc<Rule>| {
            rule.at.contains(&point) && rule.capabilities.as_ref().is_none_or(|scope| scope.covers(capability))
        };
        self.rules.iter().filter(looks).cloned().collect()
    }
}

impl Rule {
    fn of_table(table: &GuardrailTable) -> Result<Self, String> {
        if table.at.is_empty() {
            return Err("`at` names no point".to_owned());
        }
        if !(1..=TIMEOUT_LIMIT_MS).contains(&table.timeout_ms) {
            return Err(format!("`timeout_ms` is from 1 to {TIMEOUT_LIMIT_MS}"));
        }
        if table.hold_bytes > HOLD_LIMIT_BYTES {
            return Err(format!("`hold_bytes` is at most {HOLD_LIMIT_BYTES}"));
        }
        let check = Check::of_table(table)?;
        check.fits(table)?;
        let patterns = table.capabilities.iter().cloned().collect();
        Ok(Self {
            name: table.name.clone(),
            check,
            action: table.action.clone(),
            timeout: Duration::from_millis(table.timeout_ms),
            hold_bytes: table.hold_bytes,
            at: table.at.iter().map(|at| at.point()).collect(),
            capabilities: Scope::of_all(&patterns),
            is_open: table.on_error == OnError::Open,
            message: table.message.clone().unwrap_or_else(|| said_no(&table.name)),
        })
    }

    /// What it finds in this by itself; nothing where it asks a service.
    ///
    /// # Errors
    ///
    /// A sentence when it can't be looked at.
    pub fn find(&self, point: Point, content: &Content) -> Result<Vec<Finding>, String> {
        let Check::Detect(detector, view) = &self.check else { return Ok(Vec::new()) };
        match (content, view) {
            (Content::Text(text), _) => Ok(detector.find(text)),
            (Content::Data(raw), _) => Ok(detector.find_json(&content::whole(raw)?)),
            (Content::Json(raw), View::Texts) => Ok(detector.find_json(&content::texts(point, raw)?)),
            (Content::Json(raw), View::Shapes) if point == Point::ToolOut => {
                Ok(said::find(detector, &content::whole(raw)?))
            }
            (Content::Json(raw), View::Whole | View::Shapes) => Ok(detector.find_json(&content::whole(raw)?)),
        }
    }

    /// What follows from what was found.
    #[must_use]
    pub fn ruling(&self, point: Point, content: &Content, findings: &[Finding]) -> Ruling {
        let found = counted(findings);
        if found.is_empty() {
            return Ruling::Nothing;
        }
        let guarded = |deed| self.guarded(point, deed, found.clone());
        match &self.action {
            Action::Block => Ruling::Blocked(guarded(Deed::Blocked)),
            Action::Report => Ruling::Noted(guarded(Deed::Reported)),
            Action::Label(_) => Ruling::Noted(guarded(Deed::Labelled)),
            Action::Mask => match content.masked(findings) {
                Ok(masked) if findings.iter().all(|finding| !finding.range.is_empty()) => {
                    Ruling::Changed(guarded(Deed::Changed), masked)
                }
                // There is nothing that could stand in its place.
                Ok(_) | Err(_) => Ruling::Blocked(guarded(Deed::Blocked)),
            },
        }
    }

    /// What follows when it can't look. What would have been let through anyway is let through.
    #[must_use]
    pub fn failed(&self, point: Point, fault: &str) -> Ruling {
        let is_open = self.is_open || self.action == Action::Report;
        let deed = if is_open { Deed::Unseen } else { Deed::Blocked };
        let guarded = Guarded { fault: Some(fault.to_owned()), ..self.guarded(point, deed, BTreeMap::new()) };
        if is_open { Ruling::Noted(guarded) } else { Ruling::Blocked(guarded) }
    }

    /// What is written down of it.
    #[must_use]
    pub fn guarded(&self, at: Point, deed: Deed, found: BTreeMap<String, u64>) -> Guarded {
        Guarded { rule: self.name.clone(), at, deed, found, fault: None }
    }

    /// What whoever called reads when it says no.
    #[must_use]
    pub fn refusal(&self, guarded: &Guarded) -> Refusal {
        let found: Vec<&str> = guarded.found.keys().map(String::as_str).collect();
        let why = guarded.fault.clone().unwrap_or_else(|| format!("found {}", found.join(", ")));
        let reason = format!("guardrail `{}` at {}: {why}", self.name, guarded.at.as_str());
        Refusal::new(Code::Blocked, self.message.clone()).because(reason)
    }

    /// The label that it marks sessions with.
    #[must_use]
    pub fn label(&self) -> Option<&LabelName> {
        match &self.action {
            Action::Label(label) => Some(label),
            Action::Block | Action::Mask | Action::Report => None,
        }
    }

    /// Whether what it finds may still be stopped or changed.
    #[must_use]
    pub fn is_in_the_way(&self) -> bool {
        matches!(self.action, Action::Block | Action::Mask)
    }

    /// Whether it looks at texts by themselves, wherever they stand.
    #[must_use]
    pub fn reads_texts(&self) -> bool {
        matches!(self.check, Check::Detect(_, View::Texts))
    }
}

impl Check {
    fn of_table(table: &GuardrailTable) -> Result<Self, String> {
        match (&table.detect, &table.ask) {
            (Some(spec), None) if table.token.is_none() && table.allowed.is_empty() => {
                let view = match spec {
                    Spec::Schema(_) => View::Shapes,
                    Spec::Size(_) | Spec::Sql(_) => View::Whole,
                    Spec::Secrets(_) | Spec::Personal(_) | Spec::Pattern(_) | Spec::Poisoning(_) => View::Texts,
                };
                Ok(Self::Detect(Detector::new(spec).map_err(|problem| problem.to_string())?, view))
            }
            (Some(_), None) => Err("`token` and `allowed` are for a rule with `ask`".to_owned()),
            (None, Some(url)) => {
                let authorization = table.token.as_ref().map(|token| bearer(&token.0)).transpose()?;
                Ok(Self::Ask(Service { url: url.clone(), authorization }))
            }
            (Some(_), Some(_)) | (None, None) => Err("needs either `detect` or `ask`".to_owned()),
        }
    }

    /// Whether it can do what the table says, where the table says.
    fn fits(&self, table: &GuardrailTable) -> Result<(), String> {
        let is_masked = table.action == Action::Mask;
        if matches!(table.detect, Some(Spec::Sql(_))) && table.at.iter().any(|at| *at != At::ToolIn) {
            return Err("`sql` looks at arguments of tools: `at` can only be `tool_in`".to_owned());
        }
        match self {
            Self::Ask(_) if is_masked => {
                return Err("a service says itself what is replaced: leave `action` out".to_owned());
            }
            Self::Detect(_, View::Whole | View::Shapes) if is_masked => {
                return Err("what is wrong with a shape or a size can't be masked".to_owned());
            }
            Self::Ask(_) | Self::Detect(..) => {}
        }
        let is_listed = table.at.contains(&At::ToolList);
        match &table.action {
            Action::Mask | Action::Label(_) if is_listed => {
                Err("at `tool_list` the action is `block` or `report`".to_owned())
            }
            Action::Block | Action::Report | Action::Mask | Action::Label(_)
                if is_listed && matches!(self, Self::Ask(_)) =>
            {
                Err("at `tool_list` no service is asked".to_owned())
            }
            Action::Block | Action::Report | Action::Mask | Action::Label(_) => Ok(()),
        }
    }
}

fn said_no(name: &RuleName) -> String {
    format!(
        "What is in this is not let through by the guardrail `{name}`. Do not send it again as it is; leave out what does not belong in it, or go on without it."
    )
}

/// How many of each kind.
#[must_use]
pub fn counted(findings: &[Finding]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for finding in findings {
        if let Some(kind) = kind(&finding.kind)
            && (found.len() < KINDS_LIMIT || found.contains_key(&kind))
        {
            *found.entry(kind).or_default() += 1;
        }
    }
    found
}

/// The name of a kind as it may stand in the record.
#[must_use]
pub fn kind(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_kind = (1..=KIND_LIMIT_BYTES).contains(&text.len()) && text.bytes().all(is_plain);
    is_kind.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use portcullis_domain::call::Kind;

    use super::*;
    use crate::config::Config;

    fn rules(lines: &[&str]) -> Result<Guardrails, Vec<String>> {
        let text: String = lines.iter().map(|line| format!("  - {{ {line} }}\n")).collect();
        let config: Config = serde_saphyr::from_str(&format!("guardrails:\n{text}")).unwrap();
        Guardrails::new(&config.guardrails)
    }

    #[test]
    fn what_a_rule_can_not_do_is_said_before_it_is_to_do_it() {
        let check = |lines: &[&str], expected: &str| {
            let problems = rules(lines).map(drop).unwrap_err().join("\n");
            assert!(problems.contains(expected), "{problems}");
        };
        let word = "detect: { pattern: { name: word, regex: word } }";
        check(&[&format!("name: a, at: [], {word}")], "guardrails.a: `at` names no point");
        check(&["name: a, at: [tool_in]"], "either `detect` or `ask`");
        check(&[&format!("name: a, at: [tool_in], ask: 'https://x', {word}")], "either `detect` or `ask`");
        check(&[&format!("name: a, at: [tool_in], token: x, {word}")], "for a rule with `ask`");
        check(&["name: a, at: [tool_in], ask: 'https://x', action: mask"], "says itself what is replaced");
        check(&["name: a, at: [tool_in], action: mask, detect: { size: { bytes: 1 } }"], "can't be masked");
        let sql = "detect: { sql: { arguments: [/q] } }";
        check(&[&format!("name: a, at: [tool_in, model_in], {sql}")], "can only be `tool_in`");
        check(&[&format!("name: a, at: [tool_in], action: mask, {sql}")], "can't be masked");
        check(&["name: a, at: [tool_in], detect: { sql: {} }"], "`arguments`");
        check(
            &["name: a, at: [tool_in], detect: { schema: { schema: { type: nonsense } } }"],
            "guardrails.a: the schema",
        );
        check(&["name: a, at: [tool_list], detect: { poisoning: { others: [a] } }"], "too short");
        check(&["name: a, at: [tool_list], ask: 'https://x'"], "no service is asked");
        check(&[&format!("name: a, at: [tool_list], action: mask, {word}")], "`block` or `report`");
        check(&[&format!("name: a, at: [tool_in], timeout_ms: 0, {word}")], "`timeout_ms` is from 1");
        check(&["name: a, at: [tool_in], detect: { pattern: { name: w, regex: '(' } }"], "guardrails.a: ");
        let twice = format!("name: a, at: [tool_in], {word}");
        check(&[&twice, &twice], "two of that name");
    }

    #[test]
    fn a_size_is_that_of_all_that_a_tool_answers() {
        let all = rules(&["name: small, at: [tool_out], detect: { size: { characters: 200 } }"]).unwrap();
        let [rule] = &all.at(Point::ToolOut, &Capability::new(Kind::Tool, "x__a"))[..] else { panic!() };
        let check = |text: &str, structured: &str, expected: usize| {
            let content = serde_json::json!([{"type": "text", "text": text}]);
            let raw = format!(r#"{{"content":{content},"structuredContent":{structured}}}"#);
            assert_eq!(rule.find(Point::ToolOut, &Content::Json(raw)).unwrap().len(), expected, "{text}");
        };
        check("short", r#"{"a":"short"}"#, 0);
        check(&"long".repeat(50), r#"{"a":"short"}"#, 1);
        check("short", &format!("[{}1]", "1,".repeat(200)), 1);
    }

    #[test]
    fn more_than_is_looked_at_of_a_list_of_tools_is_blocked() {
        let all = rules(&["name: a, at: [tool_list], detect: { poisoning: {} }"]).unwrap();
        let tool = Capability::new(Kind::Tool, "x__a");
        let entry = |bytes: usize| format!(r#"{{"name":"{}"}}"#, "a".repeat(bytes - 11));
        let check = |bytes: usize, left: usize, expected: Option<Deed>, left_then: usize| {
            let mut left_bytes = left;
            let did = all.listed(&tool, &entry(bytes), &mut left_bytes);
            assert_eq!((did.first().map(|did| did.deed), left_bytes), (expected, left_then), "{bytes} of {left}");
        };
        check(100, 100, None, 0);
        check(101, 100, Some(Deed::Blocked), 100);
        check(ENTRY_LIMIT_BYTES, LISTED_LIMIT_BYTES, None, LISTED_LIMIT_BYTES - ENTRY_LIMIT_BYTES);
        check(ENTRY_LIMIT_BYTES + 1, LISTED_LIMIT_BYTES, Some(Deed::Blocked), LISTED_LIMIT_BYTES);
    }

    #[test]
    fn rules_look_where_they_say_in_their_order() {
        let word = "detect: { pattern: { name: word, regex: word } }";
        let all = rules(&[
            &format!("name: a, at: [tool_in, tool_out], capabilities: ['tool/x__*', model/m], {word}"),
            &format!("name: b, at: [tool_in], {word}"),
        ])
        .unwrap();
        let check = |point, kind, name: &str, expected: &[&str]| {
            let found = all.at(point, &Capability::new(kind, name));
            let names: Vec<&str> = found.iter().map(|rule| rule.name.as_str()).collect();
            assert_eq!(names, expected, "{point:?} {name}");
        };
        check(Point::ToolIn, Kind::Tool, "x__a", &["a", "b"]);
        check(Point::ToolIn, Kind::Tool, "y__a", &["b"]);
        check(Point::ToolOut, Kind::Tool, "x__a", &["a"]);
        check(Point::ModelIn, Kind::Model, "m", &[]);
    }
}
