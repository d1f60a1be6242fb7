//! Who is it? One kind of credential after the other; what each is worth is said where it is read.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use portcullis_domain::authority::Authority;
use portcullis_domain::identity::Presented;
use portcullis_domain::refusal::{Code, Refusal};

use crate::doors::caller::{Caller, INVALID_KEY, Known, TASK, invalid_key_because};
use crate::doors::task;
use crate::identity::jwt::Jwt;
use crate::identity::task::is_task;

/// Who is shown, as far as it is known without asking anybody.
pub enum Shown<'a> {
    /// Somebody who is known.
    Known(Box<Caller>),
    /// Whoever this token stands for: its issuer has to say.
    Token(&'a str),
    /// Whoever the certificate of the connection is for.
    Certified,
}

/// Recognises the caller by what stands in `Authorization: Bearer` (RFC 6750): a key, a task token, or a token of an issuer. An agent may show its own key there, and the token beside it in `Portcullis-Task`.
///
/// Whoever shows nothing of this is known by the certificate of the connection. Beside a key or an issuer's token a certificate says nothing of who calls; beside a task token it is what the agent shows of itself, as its key would be.
///
/// # Errors
///
/// [`Code::Unauthenticated`], with the same sentence whatever is wrong with the key.
pub fn authenticate<'a>(headers: &'a HeaderMap, known: &Known<'_>) -> Result<Shown<'a>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let presented = match (values.next(), values.next()) {
        (Some(value), None) => Some(bearer(value)?),
        (None, _) if known.certified.is_some() => None,
        _ => {
            let message = "send the gateway's key as `Authorization: Bearer <key>`";
            return Err(Refusal::new(Code::Unauthenticated, message));
        }
    };
    let mut tokens = headers.get_all(TASK).iter();
    let token = match (tokens.next(), tokens.next()) {
        (None, _) => None,
        (Some(token), None) => Some(token.to_str().map_err(|_| invalid_key_because("the task token is no text"))?),
        (Some(_), Some(_)) => return Err(invalid_key_because("two task tokens are shown")),
    };
    let caller = match (presented, token) {
        (None, None) => return Ok(Shown::Certified),
        (None, Some(token)) => task::caller(token, known.certified, known),
        (Some(presented), None) if is_task(presented) => task::caller(presented, known.certified, known),
        (Some(presented), None) if Jwt::is_one(presented) => return Ok(Shown::Token(presented)),
        (Some(presented), None) => by_key(presented, known),
        (Some(presented), Some(token)) => match is_task(presented) {
            // Some clients send what they were given wherever they can.
            true if token == presented => task::caller(token, known.certified, known),
            true => Err(invalid_key_because("two task tokens are shown")),
            false => task::caller(token, Some(&by_key(presented, known)?), known),
        },
    };
    Ok(Shown::Known(Box::new(caller?)))
}

fn bearer(value: &HeaderValue) -> Result<&str, Refusal> {
    let presented = value.to_str().ok().and_then(|value| value.split_once(' '));
    let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    presented.map(|(_, key)| key.trim()).ok_or_else(|| invalid_key_because("it can't be read"))
}

/// What a key is not for, nothing that comes of it is for.
fn by_key(text: &str, known: &Known<'_>) -> Result<Caller, Refusal> {
    let caller = Presented::read(text).and_then(|key| {
        let principal = known.keys.authenticate(&key, known.now)?.clone();
        let scope = known.keys.find(&key.id)?.scope.of_tasks();
        Some(Caller {
            principal,
            authority: Authority { scope, ..Authority::of_key(key.id) },
            bound: None,
            token: None,
        })
    });
    caller.ok_or_else(|| Refusal::new(Code::Unauthenticated, INVALID_KEY))
}
