//! A rule's detector, ready to be used.

use std::cmp::Reverse;
use std::sync::Arc;

use serde_json::Value;

use crate::expression::Expression;
use crate::look::{CONTEXT, Cursors, Hit, Look, Looks, PATIENCE};
use crate::places::{self, Text};
use crate::poisoning::Suspicion;
use crate::schema::Shape;
use crate::size::Limits;
use crate::sql::Statements;
use crate::{Finding, Spec, personal, secrets};

/// Why a rule can't be used: a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSpec(pub String);

/// What a rule looks for, compiled. Copies share what they are made of.
#[derive(Debug, Clone)]
pub struct Detector {
    what: Arc<What>,
}

#[derive(Debug)]
enum What {
    /// Also whether members of JSON with a name like `password` count.
    Looks(Looks, bool),
    Expression(Expression),
    Size(Limits),
    Sql(Statements),
    Schema(Shape),
    Poisoning(Suspicion),
}

impl Detector {
    /// Compiles what a rule says.
    ///
    /// # Errors
    ///
    /// A sentence about the first thing that is wrong with it.
    pub fn new(spec: &Spec) -> Result<Self, BadSpec> {
        let what = match spec {
            Spec::Secrets(rule) => What::Looks(looks(secrets::looks(rule))?, secrets::is_generic(rule)),
            Spec::Personal(rule) => What::Looks(looks(personal::looks(rule))?, false),
            Spec::Pattern(rule) => What::Expression(Expression::new(rule).map_err(BadSpec)?),
            Spec::Size(rule) => What::Size(Limits::new(rule).map_err(BadSpec)?),
            Spec::Sql(rule) => What::Sql(Statements::new(rule).map_err(BadSpec)?),
            Spec::Schema(rule) => What::Schema(Shape::new(rule).map_err(BadSpec)?),
            Spec::Poisoning(rule) => What::Poisoning(Suspicion::new(rule).map_err(BadSpec)?),
        };
        Ok(Self { what: Arc::new(what) })
    }

    /// What is in a text, each range inside the text and between characters. Secrets, personal data and patterns are in order and none overlaps another; findings of size, SQL and schema are about the whole text.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Finding> {
        match &*self.what {
            What::Looks(..) | What::Expression(_) => {
                let mut hits = Vec::new();
                self.scan(text, true, &mut Cursors::new(), &mut hits);
                self.settle(hits, &mut 0)
            }
            What::Size(limits) => limits.find(text),
            What::Sql(statements) => statements.find(text),
            What::Schema(shape) => shape.find(text),
            What::Poisoning(suspicion) => suspicion.find(text),
        }
    }

    /// What is in JSON: in its strings, its numbers and the names of its members, each with its place.
    #[must_use]
    pub fn find_json(&self, value: &Value) -> Vec<Finding> {
        match &*self.what {
            What::Looks(_, is_generic) => self.find_in_texts(value, *is_generic),
            What::Expression(_) | What::Poisoning(_) => self.find_in_texts(value, false),
            What::Size(limits) => limits.find_json(value),
            What::Sql(statements) => statements.find_json(value),
            What::Schema(shape) => shape.find_json(value),
        }
    }

    /// How much of a stream is held back at most to find the same as in the whole, in bytes; none where only the whole can be judged.
    #[must_use]
    pub fn window(&self) -> Option<usize> {
        let reach = match &*self.what {
            What::Looks(looks, _) => looks.looks().iter().map(|look| look.window).max().unwrap_or(0),
            What::Expression(expression) => expression.window(),
            What::Size(_) | What::Sql(_) | What::Schema(_) | What::Poisoning(_) => return None,
        };
        Some(reach + reach / PATIENCE + CONTEXT)
    }

    /// Looks on in a text from where the cursors are, and says before which place everything is settled.
    pub(crate) fn scan(&self, text: &str, is_whole: bool, cursors: &mut Cursors, hits: &mut Vec<Hit>) -> usize {
        match &*self.what {
            What::Looks(looks, _) => looks.scan(text, is_whole, cursors, hits),
            What::Expression(expression) => {
                cursors.resize(1, 0);
                cursors.first_mut().map_or(text.len(), |cursor| expression.scan(text, is_whole, cursor, hits))
            }
            What::Size(_) | What::Sql(_) | What::Schema(_) | What::Poisoning(_) => text.len(),
        }
    }

    /// Makes findings that do not overlap: of two that do, the later one begins where the other ends, so that all of both is covered. Nothing begins before what is covered already.
    pub(crate) fn settle(&self, mut hits: Vec<Hit>, covered: &mut usize) -> Vec<Finding> {
        hits.sort_by_key(|hit| (hit.range.start, Reverse(hit.range.end), hit.look));
        let mut findings = Vec::new();
        for hit in hits {
            let start = hit.range.start.max(*covered);
            if start < hit.range.end {
                *covered = hit.range.end;
                let (kind, replacement) = self.named(hit.look);
                findings.push(Finding::new(kind, start..hit.range.end, replacement));
            }
        }
        findings
    }

    fn named(&self, look: usize) -> (&str, &str) {
        match &*self.what {
            What::Looks(looks, _) => looks.looks().get(look).map_or(("", ""), |look| (look.kind, look.replacement)),
            What::Expression(expression) => (&expression.name, &expression.replacement),
            What::Size(_) | What::Sql(_) | What::Schema(_) | What::Poisoning(_) => ("", ""),
        }
    }

    fn find_in_texts(&self, value: &Value, is_generic: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        places::each(value, |place, text| {
            let (found, in_name) = match text {
                Text::Name(name) => (self.find(name), true),
                Text::Number(number) => (self.find(&number.to_string()), false),
                Text::String(text, name) => (self.find_in_member(text, name.filter(|_| is_generic)), false),
            };
            findings.extend(found.into_iter().map(|finding| finding.at(place, in_name)));
        });
        findings
    }

    fn find_in_member(&self, text: &str, name: Option<&str>) -> Vec<Finding> {
        let found = self.find(text);
        if found.is_empty() && name.is_some_and(|name| secrets::names_a_secret(name, text)) {
            let (kind, replacement) = secrets::NAMED;
            return vec![Finding::new(kind, 0..text.len(), replacement)];
        }
        found
    }
}

fn looks(looks: Vec<Look>) -> Result<Looks, BadSpec> {
    if looks.is_empty() { Err(BadSpec("no kind is left to look for".to_owned())) } else { Ok(Looks::new(looks)) }
}
