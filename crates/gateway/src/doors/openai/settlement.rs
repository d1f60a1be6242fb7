//! What a model call comes to.

use portcullis_domain::admission::Settle;
use portcullis_domain::event::{Judged, Outcome};
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::money::{Nanodollars, Price, Tokens};
use portcullis_domain::policy::Effect;

/// A call that ended with these tokens; without a count the whole hold is charged, without a price nothing.
#[must_use]
pub fn settle(call: CallId, outcome: Outcome, price: Option<Price>, tokens: Option<Tokens>) -> Settle {
    let cost = match (price, tokens) {
        (None, _) => Some(Nanodollars::ZERO),
        (Some(price), Some(tokens)) => Some(price.cost(tokens)),
        (Some(_), None) => None,
    };
    Settle { call, outcome, tokens, cost, answer: None, judged: Vec::new(), labels: Vec::new(), guarded: Vec::new() }
}

/// The same, with what was answered and judged.
#[must_use]
pub fn with_answer(settle: Settle, answer: Body, judged: Vec<Judged>) -> Settle {
    Settle { answer: Some(answer), judged, ..settle }
}

/// What the model is told about the calls that were denied, each message once.
#[must_use]
pub fn system_message(judged: &[Judged]) -> String {
    let mut messages: Vec<&str> = Vec::new();
    for message in
        judged.iter().filter(|judged| judged.effect == Effect::Deny).filter_map(|judged| judged.message.as_deref())
    {
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    messages.join("\n")
}

/// What the client reads in place of the calls that were taken out.
#[must_use]
pub fn note(judged: &[(String, Judged)]) -> String {
    let denied = judged.iter().filter(|(_, judged)| judged.effect == Effect::Deny);
    let lines: Vec<String> = denied
        .map(|(name, judged)| format!("[blocked: {name}: {}]", judged.message.as_deref().unwrap_or_default()))
        .collect();
    lines.join("\n")
}
