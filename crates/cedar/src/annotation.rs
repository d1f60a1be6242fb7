//! What may stand before a policy: `@id`, `@message`, `@ask` with `@approvals` and `@approver`, and words for people.

use cedar_policy::{Effect, Policy};
use portcullis_domain::policy::{APPROVALS_LIMIT, Ask};

use crate::problem::{Problem, nearest};
use crate::source::Statement;

/// What has an effect, or is meant for people.
/// What `@mode` may say.
pub(crate) const MODES: [&str; 2] = ["enforce", "audit"];
const KNOWN: [&str; 8] = ["id", "message", "mode", "ask", "approvals", "approver", "label", "description"];
/// What `@approver` may say: the client in which the call is made.
const CLIENT: &str = "client";

/// Says what is wrong with the annotations of a policy.
pub(crate) fn check(statement: &Statement<'_>, problems: &mut Vec<Problem>) {
    let policy = &statement.policy;
    let is_permit = policy.effect() == Effect::Permit;
    let asks = policy.annotation("ask").is_some();
    for (name, text) in policy.annotations() {
        let problem = |message: String| statement.problem(&format!("@{name}"), message);
        if !KNOWN.contains(&name) {
            let message = format!("the annotation `@{name}` has no effect");
            problems.push(problem(message).suggesting(nearest(name, KNOWN)).into_warning());
        } else if name == "mode" && !MODES.contains(&text) {
            let message = format!("`@mode` is \"enforce\" or \"audit\", and not \"{text}\"");
            problems.push(problem(message).suggesting(nearest(text, MODES)));
        } else if text.is_empty() && matches!(name, "id" | "message" | "ask" | "approvals") {
            problems.push(problem(format!("`@{name}` needs a text, as in `@{name}(\"…\")`")));
        } else if name == "message" && is_permit && !asks {
            problems.push(
                problem("`@message` has an effect on `forbid`, and on `permit` with `@ask`, only".to_owned())
                    .into_warning(),
            );
        } else if name == "ask" && !is_permit {
            // Taken as a plain forbid it would be one, which nobody can have meant.
            problems.push(problem("`@ask` stands before `permit`: it permits once a person has said yes".to_owned()));
        } else if name == "approvals" && !asks {
            problems
                .push(problem("`@approvals` says how many must say yes to an `@ask`, and there is none".to_owned()));
        } else if name == "approver" && !asks {
            problems.push(problem("`@approver` says who else may say yes to an `@ask`, and there is none".to_owned()));
        } else if name == "approver" && text != CLIENT {
            let message = format!("`@approver` is \"{CLIENT}\", and not \"{text}\"");
            problems.push(problem(message).suggesting(nearest(text, [CLIENT])));
        } else if name == "ask"
            && let Err(message) = ask(policy)
        {
            problems.push(problem(message));
        }
    }
}

/// Who must say yes before the policy permits; none where nobody need.
///
/// # Errors
///
/// A sentence: the role is no name, or the number of approvals is none.
pub(crate) fn ask(policy: &Policy) -> Result<Option<Ask>, String> {
    let Some(role) = policy.annotation("ask") else { return Ok(None) };
    let role = role.parse()?;
    let approvals = policy.annotation("approvals").unwrap_or("1");
    let wrong = || format!("`@approvals` is a number from 1 to {APPROVALS_LIMIT}, as in `@approvals(\"2\")`");
    let approvals = approvals.parse().ok().filter(|number| (1..=APPROVALS_LIMIT).contains(number)).ok_or_else(wrong)?;
    Ok(Some(Ask { role, approvals, by_client: policy.annotation("approver") == Some(CLIENT) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Source;

    fn check_text(text: &str, expected: &[&str]) {
        let source = Source { file: "a".to_owned(), text: text.to_owned() };
        let mut problems = Vec::new();
        for statement in crate::source::read(&[&source], &mut Vec::new()) {
            check(&statement, &mut problems);
        }
        let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn known_annotations_pass_and_others_are_told() {
        check_text(
            "@id(\"x\") @message(\"no\") @label(\"l\") @description(\"d\") forbid(principal, action, resource);",
            &[],
        );
        check_text("@ask(\"manager\") @approvals(\"2\") @message(\"why\") permit(principal, action, resource);", &[]);
        check_text(
            "@id(\"x\") @mesage(\"no\") forbid(principal, action, resource);",
            &["a:1:10: warning: the annotation `@mesage` has no effect; did you mean `message`?"],
        );
        check_text(
            "@message(\"no\") permit(principal, action, resource);",
            &["a:1:1: warning: `@message` has an effect on `forbid`, and on `permit` with `@ask`, only"],
        );
    }

    #[test]
    fn a_mode_that_is_none_is_refused() {
        check_text("@mode(\"audit\") forbid(principal, action, resource);", &[]);
        check_text("@mode(\"enforce\") permit(principal, action, resource);", &[]);
        check_text(
            "@mode(\"adit\") permit(principal, action, resource);",
            &["a:1:1: `@mode` is \"enforce\" or \"audit\", and not \"adit\"; did you mean `audit`?"],
        );
    }

    #[test]
    fn what_would_be_taken_for_more_than_it_is_is_refused() {
        check_text(
            "@ask(\"manager\") forbid(principal, action, resource);",
            &["a:1:1: `@ask` stands before `permit`: it permits once a person has said yes"],
        );
        check_text(
            "@approvals(\"2\") permit(principal, action, resource);",
            &["a:1:1: `@approvals` says how many must say yes to an `@ask`, and there is none"],
        );
        for number in ["0", "9", "two", "-1"] {
            check_text(
                &format!("@ask(\"manager\") @approvals({number:?}) permit(principal, action, resource);"),
                &["a:1:1: `@approvals` is a number from 1 to 8, as in `@approvals(\"2\")`"],
            );
        }
        check_text(
            "@approver(\"client\") permit(principal, action, resource);",
            &["a:1:1: `@approver` says who else may say yes to an `@ask`, and there is none"],
        );
        check_text(
            "@ask(\"manager\") @approver(\"clint\") permit(principal, action, resource);",
            &["a:1:17: `@approver` is \"client\", and not \"clint\"; did you mean `client`?"],
        );
        check_text("@ask(\"manager\") @approver(\"client\") permit(principal, action, resource);", &[]);
        check_text("@id permit(principal, action, resource);", &["a:1:1: `@id` needs a text, as in `@id(\"…\")`"]);
    }
}
