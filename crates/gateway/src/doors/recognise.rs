//! Who is it? One kind of credential after the other; what each is worth is said where it is read.

use http::HeaderMap;
use http::header::AUTHORIZATION;
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
}

/// Recognises the caller by what stands in `Authorization: Bearer` (RFC 6750): a key, a task token, or a token of an issuer. An agent may show its own key there, and the token beside it in `Portcullis-Task`.
///
/// # Errors
///
/// [`Code::Unauthenticated`], with the same sentence whatever is wrong with the key.
pub fn authenticate<'a>(headers: &'a HeaderMap, known: &Known<'_>) -> Result<Shown<'a>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let message = "send the gateway's key as `Authorization: Bearer <key>`";
        return Err(Refusal::new(Code::Unauthenticated, message));
    };
    let presented = value.to_str().ok().and_then(|value| value.split_once(' '));
    let presented = presented.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let presented = presented.map(|(_, key)| key.trim()).ok_or_else(|| invalid_key_because("it can't be read"))?;
    let mut tokens = headers.get_all(TASK).iter();
    let caller = match (tokens.next(), tokens.next()) {
        (None, _) if is_task(presented) => task::caller(presented, None, known),
        (None, _) if Jwt::is_one(presented) => return Ok(Shown::Token(presented)),
        (None, _) => by_key(presented, known),
        (Some(token), None) => {
            let token = token.to_str().map_err(|_| invalid_key_because("the task token is no text"))?;
            match is_task(presented) {
                // Some clients send what they were given wherever they can.
                true if token == presented => task::caller(token, None, known),
                true => Err(invalid_key_because("two task tokens are shown")),
                false => task::caller(token, Some(&by_key(presented, known)?), known),
            }
        }
        (Some(_), Some(_)) => Err(invalid_key_because("two task tokens are shown")),
    };
    Ok(Shown::Known(Box::new(caller?)))
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
