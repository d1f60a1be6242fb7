//! Directives: lines of the last user message that say what the model should answer.
//!
//! | line | the answer |
//! |---|---|
//! | `SAY text` | has this text |
//! | `CALL name {json}` | calls this tool; the arguments are handed on byte for byte, even if they are not JSON; several lines are parallel calls |
//! | `TOKENS n` | has a text of `n` tokens |
//! | `SLOW n ms` | has a text of `n` tokens and pauses `ms` milliseconds before every part of the stream |
//! | `INTERLEAVED` | the arguments of parallel calls come by turns, as some providers send them |
//! | `ERROR status text` | is an error of this status with this text |
//! | `HANG` | never comes; after `SAY`, `TOKENS` or `SLOW`, its stream stops after that text instead and stays open |
//! | `CUT` | breaks off in the middle |
//!
//! Lines can be combined. A line that is none of these is text of the answer, before the calls. When results of tools are the
//! last messages, the answer quotes them. A system message at the end says that something was refused: the answer then says
//! so, unless the user's text has the word "insist", in which case the directives are obeyed again.

use std::time::Duration;

use http::StatusCode;

use super::reply::{Ending, Reply};
use super::turn::Request;

/// More tokens than an answer can be told to have.
const MAX_TOKENS: usize = 100_000;
/// A longer pause than an answer can be told to make.
const MAX_PAUSE_MS: u64 = 60_000;

enum Directive<'a> {
    Say(&'a str),
    Call(&'a str, &'a str),
    Tokens(usize),
    Slow(usize, u64),
    Interleaved,
    Error(StatusCode, &'a str),
    Hang,
    Cut,
}

/// The answer that `instruction` asks for; none when it has no directive.
pub(super) fn obey(instruction: &str, request: &Request<'_>) -> Option<Reply> {
    let mut reply = Reply::default();
    let mut has_directive = false;
    let mut texts = Vec::new();
    for line in instruction.lines().map(str::trim) {
        let Some(directive) = read(line) else {
            texts.push(line.to_owned());
            continue;
        };
        has_directive = true;
        match directive {
            Directive::Say(text) => texts.push(text.to_owned()),
            Directive::Call(name, arguments) => {
                reply = reply.calling(request.declared(name).unwrap_or(name), arguments)
            }
            Directive::Tokens(count) => texts.push(words(count)),
            Directive::Slow(count, pause_ms) => {
                texts.push(words(count));
                reply.pause = Duration::from_millis(pause_ms);
            }
            Directive::Interleaved => reply.is_interleaved = true,
            Directive::Error(status, text) => reply.ending = Ending::Error(status, text.to_owned()),
            Directive::Hang => reply.ending = Ending::Hang,
            Directive::Cut => reply.ending = Ending::Cut,
        }
    }
    texts.retain(|text| !text.is_empty());
    reply.text = texts.join("\n");
    has_directive.then_some(reply)
}

fn read(line: &str) -> Option<Directive<'_>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    let pair = || rest.split_once(' ').map_or((rest, ""), |(one, other)| (one, other.trim()));
    match word {
        "SAY" => Some(Directive::Say(rest)),
        "CALL" if !rest.is_empty() => Some(Directive::Call(pair().0, pair().1)),
        "TOKENS" => Some(Directive::Tokens(count(rest)?)),
        "SLOW" => {
            Some(Directive::Slow(count(pair().0)?, pair().1.parse().ok().filter(|&pause| pause <= MAX_PAUSE_MS)?))
        }
        "ERROR" => Some(Directive::Error(error_status(pair().0)?, pair().1)),
        "INTERLEAVED" if rest.is_empty() => Some(Directive::Interleaved),
        "HANG" if rest.is_empty() => Some(Directive::Hang),
        "CUT" if rest.is_empty() => Some(Directive::Cut),
        _ => None,
    }
}

fn count(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&count| count <= MAX_TOKENS)
}

fn error_status(text: &str) -> Option<StatusCode> {
    let status: StatusCode = text.parse().ok()?;
    (status.is_client_error() || status.is_server_error()).then_some(status)
}

fn words(count: usize) -> String {
    (1..=count).map(|number| format!("word{number}")).collect::<Vec<_>>().join(" ")
}
