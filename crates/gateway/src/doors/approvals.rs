//! Links by which one person answers one approval, without a key: `GET` shows what is asked, and only `POST` answers, so that whoever looks into a mail for dangerous links approves
//! nothing. Whoever has the link can say yes or no to this one call in the person's name, and nothing else.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};
use portcullis_domain::admission::AnswerApproval;
use portcullis_domain::ids::PrincipalName;
use portcullis_domain::policy::Standing;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::refuse;
use serde::Deserialize;

use crate::doors::admin::approval::{no_agent, shown, status};
use crate::doors::answer::{self, Answer};
use crate::doors::arrived::Doors;
use crate::doors::caller::text_header;
use crate::doors::links::{self, Ticket};
use crate::doors::path::decoded;

/// The largest answer, in bytes.
pub const ANSWER_LIMIT_BYTES: usize = 16 << 10;
/// The page runs nothing, loads nothing, and is shown in no other one.
const CONTENT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What is asked: a page with two buttons, or JSON for who would rather have that.
pub async fn show(doors: &Doors, path: &str, headers: &HeaderMap) -> Answer {
    let shown = async {
        let ticket = links::open(&doors.transport, path.strip_prefix(links::PATH).unwrap_or_default())?;
        let found = doors.gate.journal.read(move |world| world.approvals.find(ticket.call).cloned()).await?;
        let approval = found.filter(|found| doors.gate.snapshot.load().may_answer(&ticket.by, found));
        let approval = approval.ok_or_else(links::none)?;
        let body = serde_json::to_value(shown(&doors.gate, ticket.call, &approval).await?);
        let body = body.map_err(|error| Refusal::new(Code::NotFound, error.to_string()))?;
        if text_header(headers, &ACCEPT).is_some_and(|accept| accept.contains("application/json")) {
            return Ok(answer::json(200, body.to_string()));
        }
        Ok(page(200, &question(&body, &ticket.by, approval.standing == Standing::Pending)))
    };
    let shown: Result<Answer, Refusal> = shown.await;
    private(shown.unwrap_or_else(|refusal| refused(&refusal)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said<'a> {
    #[serde(borrow)]
    answer: Cow<'a, str>,
    #[serde(default)]
    comment: Option<Cow<'a, str>>,
}

/// Takes an answer, from the page's form or as JSON `{"answer": "approve", "comment": "…"}`.
///
/// # Errors
///
/// Why it does not count.
pub async fn take(doors: &Doors, ticket: Ticket, headers: &HeaderMap, body: &[u8]) -> Result<Answer, Refusal> {
    let is_form = text_header(headers, &http::header::CONTENT_TYPE)
        .is_some_and(|media| media.starts_with("application/x-www-form-urlencoded"));
    let said = if is_form { read_form(body)? } else { read_json(body)? };
    let is_yes = match said.answer.as_ref() {
        "approve" => true,
        "deny" => false,
        _ => return Err(invalid("`answer` is `approve` or `deny`").about("answer")),
    };
    let snapshot = doors.gate.snapshot.load_full();
    if snapshot.catalogue.acting(&ticket.by).is_some() {
        return Err(no_agent());
    }
    let command = AnswerApproval {
        call: ticket.call,
        roles: snapshot.roles(&ticket.by),
        by: ticket.by,
        authority: None,
        is_by_client: false,
        policy_version: snapshot.policy.version(),
        is_yes,
        comment: said.comment.map(Cow::into_owned).filter(|comment| !comment.is_empty()),
    };
    let answered = doors.gate.journal.execute(command).await?;
    doors.gate.approvals.notify_one();
    match answered {
        Ok(standing) if is_form => Ok(private(page(200, &told(&format!("The call is {}.", status(standing)))))),
        Err(refusal) if is_form => Ok(private(refused(&refusal))),
        Ok(standing) => {
            let shown = serde_json::json!({"id": ticket.call.to_string(), "status": status(standing)});
            Ok(private(answer::json(200, shown.to_string())))
        }
        Err(refusal) => Err(refusal),
    }
}

fn read_json(body: &[u8]) -> Result<Said<'_>, Refusal> {
    serde_json::from_slice(body).map_err(|error| invalid(&format!("the body can't be read: {error}")))
}

fn read_form(body: &[u8]) -> Result<Said<'_>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|error| invalid(&error.to_string()))?;
    let value = |name: &str| {
        let pair = text.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
        pair.map(|(_, value)| decoded(&value.replace('+', " ")).map(|value| Cow::Owned(value.into_owned()))).transpose()
    };
    Ok(Said { answer: value("answer")?.unwrap_or_default(), comment: value("comment")? })
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidRequest, message)
}

fn refused(refusal: &Refusal) -> Answer {
    let refuse::Answer { status, .. } = refuse::problem(refusal);
    page(status, &told(&format!("{}.", refusal.message)))
}

/// Nobody keeps it, and no page learns where it was.
fn private(answer: Answer) -> Answer {
    let frame = HeaderName::from_static("x-frame-options");
    [
        (CACHE_CONTROL, "no-store"),
        // The form's own origin is needed to know that it is ours.
        (REFERRER_POLICY, "same-origin"),
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY),
        (frame, "DENY"),
    ]
    .into_iter()
    .fold(answer, |answer, (name, value)| answer::with_header(answer, name, value))
}

fn page(status: u16, inside: &str) -> Answer {
    const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}pre{background:#f3f3f3;padding:1rem;overflow:auto}dt{color:#666}dd{margin:0 0 .6rem}button{font:inherit;padding:.4rem 1.2rem;margin-right:.6rem}";
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Portcullis approval</title><style>{STYLE}</style>{inside}</html>"
    );
    answer::whole(status, "text/html; charset=utf-8", text)
}

fn told(sentence: &str) -> String {
    format!("<p>{}</p>", escaped(sentence))
}

/// What is asked, by the form of the API.
fn question(shown: &serde_json::Value, by: &PrincipalName, is_pending: bool) -> String {
    let text = |name: &str| match shown.get(name) {
        Some(serde_json::Value::String(text)) => escaped(text),
        None | Some(serde_json::Value::Null) => "-".to_owned(),
        Some(other) => escaped(&other.to_string()),
    };
    let arguments = shown.get("arguments").and_then(|arguments| serde_json::to_string_pretty(arguments).ok());
    let rows = [
        ("Why", "message"),
        ("Call", "capability"),
        ("Asked by", "by"),
        ("Through", "through"),
        ("Session", "session"),
        ("Cost", "cost"),
        ("Until", "expires_at"),
    ];
    let rows: String = rows.map(|(label, name)| format!("<dt>{label}</dt><dd>{}</dd>", text(name))).concat();
    let buttons = "<form method=\"post\"><p><input name=\"comment\" placeholder=\"Comment\" size=\"40\"></p><button name=\"answer\" value=\"approve\">Approve</button><button name=\"answer\" value=\"deny\">Deny</button></form>";
    let form = if is_pending { buttons.to_owned() } else { told(&format!("It is {}.", text("status"))) };
    format!(
        "<h1>May this call be made?</h1><dl>{rows}</dl><pre>{}</pre><p>You answer as <b>{}</b>.</p>{form}",
        escaped(&arguments.unwrap_or_default()),
        escaped(by.as_str()),
    )
}

/// Text as HTML shows it: what an agent has written is nothing but text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What would turn the direction of writing around could show another amount than there is.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_what_an_agent_has_written_as_text() {
        let shown = serde_json::json!({
            "message": "</dd><script>alert(1)</script>", "arguments": {"to": "<img src=x onerror=\"x\">", "amount": "00005\u{202e}"},
        });
        let page = question(&shown, &"boss".parse().unwrap(), true);
        for evil in ["<script", "<img", "onerror=\"", "\u{202e}"] {
            assert!(!page.contains(evil), "{page}");
        }
        assert!(page.contains("<button name=\"answer\" value=\"approve\">"), "{page}");
        assert!(!question(&shown, &"boss".parse().unwrap(), false).contains("<button"));
    }

    #[test]
    fn an_answer_is_read_from_a_form_and_from_json() {
        let said = read_form(b"comment=too+much%21&answer=deny").unwrap();
        assert_eq!((said.answer.as_ref(), said.comment.as_deref()), ("deny", Some("too much!")));
        let said = read_json(br#"{"answer":"approve"}"#).unwrap();
        assert_eq!((said.answer.as_ref(), said.comment.as_deref()), ("approve", None));
        assert!(read_json(b"{}").is_err() && read_json(br#"{"answer":"approve","x":1}"#).is_err());
    }
}
