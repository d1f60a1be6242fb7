//! A payment that was blocked inside the model's answer.

use portcullis_domain::call::{Kind, Place};
use portcullis_testkit::effects;

use crate::cli::demo::page::Page;
use crate::cli::demo::record::Record;
use crate::cli::demo::stage::Stage;
use crate::cli::exit::Exit;

/// What the rule says to the model.
pub(super) const MESSAGE: &str = "Limit Exceeded. Escalate to Manager.";
/// The rule.
const RULE: &str = "approval-limit";

/// The journal says so with the arguments and the rule, and nothing was called or paid.
pub(super) fn check(stage: &Stage, page: &mut Page, record: &Record, amount: &str) -> Result<(), Exit> {
    let denied: Vec<_> = record
        .denied()
        .iter()
        .map(|judged| (judged.place, judged.arguments.as_str(), judged.policies.as_slice()))
        .collect();
    let arguments = format!("{{\"claim_id\":\"claim-99\",\"amount\":{amount}}}");
    let (rule, fact) =
        ([RULE.to_owned()], format!("the journal has the call with its arguments and the rule, `{RULE}`"));
    page.check(&fact, denied, vec![(Place::ModelAnswer, arguments.as_str(), rule.as_slice())])?;
    let is_tool_called = record.calls().iter().any(|call| call.capability.kind == Kind::Tool);
    page.check("the agent never saw it, and no tool was called", is_tool_called, false)?;
    check_paid(stage, page, "nothing more was paid", &[VERIFIED])
}

/// What was paid when the verification had come.
pub(super) const VERIFIED: &str = r#"{"payment_id":"payment-1","claim_id":"claim-99","amount":"9500","note":null}"#;

/// The claims server's own file has exactly these lines.
pub(super) fn check_paid(stage: &Stage, page: &mut Page, fact: &str, lines: &[&str]) -> Result<(), Exit> {
    let paid = effects::lines(&stage.payments());
    let paid = paid.map_err(|error| Exit::io(format!("can't read what was paid: {error}")))?;
    page.check(fact, paid.iter().map(String::as_str).collect(), lines.to_vec())
}
