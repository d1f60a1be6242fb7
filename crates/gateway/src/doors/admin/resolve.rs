//! Calls of which nobody knows whether they took effect: a person has found out, and says so.

use bytes::Bytes;
use portcullis_domain::admission::ResolveCall;
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::json;
use portcullis_domain::refusal::{Code, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::doors::admin::form::read;
use crate::doors::admin::health::administrator;
use crate::doors::admin::session::resolve;
use crate::doors::answer::Answer;
use crate::doors::arrived::Arrived;
use crate::doors::once;
use crate::life::Gate;

/// What is said of the call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolution<'a> {
    outcome: Outcome,
    /// The result of `tools/call` that the caller gets; without one, a sentence.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Completed,
    Failed,
}

/// What the caller reads of a call that was found to be done, when nothing better is known.
const DONE: &str = r#"{"content":[{"type":"text","text":"This call took effect. A person has found that out; what the tool answered is not known."}]}"#;

/// `POST /api/v1/sessions/{id}/calls/{call}/resolve`, by administrators: whoever made the call must not be the one who says that it may be made again.
pub(super) async fn call(gate: &Gate, arrived: &Arrived, id: &str, call: &str) -> Result<Answer, Refusal> {
    let invalid = |problem: String| Refusal::new(Code::InvalidRequest, problem);
    let session = resolve(gate, &arrived.caller, id)?;
    administrator(gate, &arrived.caller)?;
    let call: CallId = call.parse().map_err(|problem: String| invalid(problem).about("call"))?;
    let resolution: Resolution<'_> = read(&arrived.body)?;
    let result = match (resolution.outcome, resolution.result) {
        (Outcome::Failed, Some(_)) => return Err(invalid("a call that had no effect has no result".to_owned())),
        (Outcome::Failed, None) => None,
        (Outcome::Completed, None) => Some(DONE.to_owned()),
        (Outcome::Completed, Some(raw)) => {
            let members = json::members(raw.get()).map_err(|problem| invalid(problem).about("result"))?;
            json::member(&members, "content")
                .filter(|content| content.get().starts_with('['))
                .ok_or_else(|| invalid("a result of a tool has a list `content`".to_owned()).about("result"))?;
            Some(raw.get().to_owned())
        }
    };
    let result = result.map(|raw| Body::new(Bytes::from(raw)));
    let command = ResolveCall { session: session.clone(), call, by: arrived.caller.principal.clone(), result };
    once::answered(gate, arrived, Some(&session), command, |()| once::empty(204)).await
}
