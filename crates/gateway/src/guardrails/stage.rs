//! Text in pieces, as it goes through the guardrails of a stream one after the other.
//!
//! A rule whose findings are short holds back as much as may still become one ([`Detector::window`](portcullis_guard::Detector::window)); one that needs the whole text holds back all of it, up to its
//! limit. A rule that is not in the way holds back nothing.

use std::sync::Arc;

use portcullis_domain::policy::{Deed, Guarded, Point};
use portcullis_guard::{Released, Scanner, mask};

use crate::guardrails::content::Content;
use crate::guardrails::rule::{Check, Rule, Ruling, counted};
use crate::guardrails::table::Action;

/// One guardrail at one text.
#[derive(Debug)]
pub struct Stage {
    rule: Arc<Rule>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// It looks as the text comes.
    Scan(Box<Scanner>),
    /// It must have all of it. What came so far; none once it is too much.
    Whole(Option<String>),
}

/// What a stage makes of a piece.
#[derive(Debug, Default)]
pub struct Passed {
    /// What goes on.
    pub text: String,
    /// What is written down.
    pub noted: Option<Guarded>,
    /// It goes no further.
    pub is_blocked: bool,
}

/// What a stage has at the end.
#[derive(Debug)]
pub enum Last {
    /// This is the rest.
    Passed(Passed),
    /// All of it must be looked at now; where it was in the way, it goes on only then.
    Look(String),
}

impl Stage {
    /// The stage of this rule at the beginning of a text.
    #[must_use]
    pub fn new(rule: &Arc<Rule>) -> Self {
        let scanner = match &rule.check {
            Check::Detect(detector, _) => Scanner::new(detector),
            Check::Ask(_) => None,
        };
        let way = scanner.map_or(Way::Whole(Some(String::new())), |scanner| Way::Scan(Box::new(scanner)));
        Self { rule: rule.clone(), way }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// Takes a piece.
    pub fn push(&mut self, text: String) -> Passed {
        let is_in_the_way = self.rule.is_in_the_way();
        match &mut self.way {
            Way::Scan(scanner) => {
                let released = scanner.push(&text);
                let mut passed = taken(&self.rule, &released);
                if !is_in_the_way {
                    passed.text = text;
                }
                passed
            }
            Way::Whole(kept) => {
                let fits = kept.as_ref().is_some_and(|kept| kept.len() + text.len() <= self.rule.hold_bytes);
                match kept {
                    Some(kept) if fits => {
                        kept.push_str(&text);
                        Passed { text: if is_in_the_way { String::new() } else { text }, ..Passed::default() }
                    }
                    Some(_) => too_long(&self.rule, kept, text),
                    None => Passed { text, ..Passed::default() },
                }
            }
        }
    }

    /// Takes the end.
    #[must_use]
    pub fn finish(self) -> Last {
        match self.way {
            Way::Scan(scanner) => {
                let mut passed = taken(&self.rule, &scanner.finish());
                if !self.rule.is_in_the_way() {
                    passed.text.clear();
                }
                Last::Passed(passed)
            }
            Way::Whole(None) => Last::Passed(Passed::default()),
            Way::Whole(Some(text)) => Last::Look(text),
        }
    }
}

fn taken(rule: &Rule, released: &Released) -> Passed {
    let found = counted(&released.findings);
    if found.is_empty() {
        return Passed { text: released.text.clone(), ..Passed::default() };
    }
    let (deed, text) = match &rule.action {
        Action::Block => (Deed::Blocked, String::new()),
        Action::Mask => (Deed::Changed, mask(&released.text, &released.findings)),
        Action::Report => (Deed::Reported, released.text.clone()),
        Action::Label(_) => (Deed::Labelled, released.text.clone()),
    };
    Passed { text, noted: Some(rule.guarded(Point::ModelOut, deed, found)), is_blocked: deed == Deed::Blocked }
}

/// More than may be held back: nobody can look at all of it any more.
fn too_long(rule: &Rule, kept: &mut Option<String>, text: String) -> Passed {
    let held = kept.take().filter(|_| rule.is_in_the_way()).unwrap_or_default();
    let fault = format!("the text is longer than {} bytes", rule.hold_bytes);
    match rule.failed(Point::ModelOut, &fault) {
        Ruling::Blocked(guarded) => Passed { text: String::new(), noted: Some(guarded), is_blocked: true },
        Ruling::Noted(guarded) | Ruling::Changed(guarded, Content::Json(_) | Content::Text(_) | Content::Data(_)) => {
            Passed { text: held + &text, noted: Some(guarded), is_blocked: false }
        }
        Ruling::Nothing => Passed { text: held + &text, ..Passed::default() },
    }
}
