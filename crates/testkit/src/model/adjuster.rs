//! The claims adjuster: looks up the policy, reads the damage report, waits for a verification, and pays what it is told to.

use super::reply::Reply;
use super::turn::{Request, Turn};
use crate::amount::Amount;
use crate::chat::{Message, Role};

/// The claim that is meant when nobody names one.
const DEFAULT_CLAIM: &str = "claim-99";
/// What a refusal says that a manager can lift.
const LIMIT: &str = "Limit Exceeded";

/// Whether the tools of the story are there.
pub(super) fn is_wanted(request: &Request<'_>) -> bool {
    ["policy_lookup", "approve_payment"].iter().any(|name| request.declared(name).is_some())
}

/// The next step.
pub(super) fn next(turn: &Turn<'_>, request: &Request<'_>) -> Reply {
    let claim = claim(request.messages);
    let results = turn.results();
    if let Some((_, refusal)) = results.iter().find(|(_, text)| text.contains(LIMIT)) {
        return give_in(turn, request, refusal);
    }
    if let Some(amount) = amount(turn.instruction) {
        if let Some((_, text)) = results.iter().find(|(name, _)| name.ends_with("approve_payment")) {
            return Reply::say(format!("The payment for {claim} is done: {text}"));
        }
        let arguments = format!("{{\"claim_id\":\"{claim}\",\"amount\":{amount}}}");
        return call(request, "approve_payment", format!("I now pay ${amount} for {claim}."), &arguments);
    }
    let arguments = format!("{{\"claim_id\":\"{claim}\"}}");
    if !called(request.messages, "policy_lookup") {
        return call(request, "policy_lookup", format!("First I look up the policy of {claim}."), &arguments);
    }
    if !called(request.messages, "damage_report") {
        return call(request, "damage_report", format!("Next I read the damage report of {claim}."), &arguments);
    }
    if turn.since.is_empty() && turn.instruction.to_lowercase().contains("verification") {
        return Reply::say(format!("The verification of {claim} is here. Which amount shall I pay?"));
    }
    Reply::say(format!(
        "I have the policy and the damage report of {claim}. I am waiting for the external verification."
    ))
}

/// The answer to a refusal.
pub(super) fn give_in(turn: &Turn<'_>, request: &Request<'_>, refusal: &str) -> Reply {
    if !refusal.contains(LIMIT) {
        return Reply::say(format!("I was told: \"{refusal}\" I leave it at that."));
    }
    let what = match amount(turn.instruction) {
        Some(amount) => format!("The payment of ${amount} for {}", claim(request.messages)),
        None => "That".to_owned(),
    };
    Reply::say(format!("{what} is beyond my limit. I escalate it to the manager."))
}

fn call(request: &Request<'_>, name: &str, text: String, arguments: &str) -> Reply {
    match request.declared(name) {
        Some(name) => Reply::say(text).calling(name, arguments),
        None => Reply::say(format!("I have no tool {name}.")),
    }
}

fn called(messages: &[Message], name: &str) -> bool {
    messages.iter().flat_map(|message| &message.calls).any(|call| call.name.ends_with(name))
}

/// The claim that a user has named last.
fn claim(messages: &[Message]) -> String {
    let users = messages.iter().rev().filter(|message| message.role == Role::User);
    users.filter_map(|message| claim_in(&message.text)).next().unwrap_or_else(|| DEFAULT_CLAIM.to_owned())
}

fn claim_in(text: &str) -> Option<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let mut names = text.split(|letter: char| !is_name(letter)).map(|name| name.trim_end_matches('-'));
    names.rfind(|name| name.strip_prefix("claim-").is_some_and(|rest| !rest.is_empty())).map(str::to_owned)
}

/// What is to be paid: after the word "approve" or "pay" the first amount with a dollar sign, else the first number.
fn amount(instruction: &str) -> Option<Amount> {
    let words: Vec<&str> = instruction.split_whitespace().collect();
    let is_order = |word: &&str| {
        let word = word.trim_matches(|letter: char| !letter.is_alphabetic()).to_lowercase();
        matches!(word.as_str(), "approve" | "pay")
    };
    let after = words.get(words.iter().position(is_order)? + 1..)?;
    let amounts = || {
        let next = after.iter().skip(1).copied().chain([""]);
        after.iter().zip(next).filter_map(|(word, next)| Some((word, Amount::from_words(word, next)?)))
    };
    let in_dollars = amounts().find(|(word, _)| word.contains('$'));
    in_dollars.or_else(|| amounts().next()).map(|(_, amount)| amount)
}
