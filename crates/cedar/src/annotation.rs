//! What may stand before a policy: `@id`, `@message`, and words for people.

use crate::problem::{Problem, nearest};
use crate::source::Statement;

/// What has an effect, or is meant for people.
const KNOWN: [&str; 5] = ["id", "message", "mode", "label", "description"];
/// What `@mode` may say.
pub(crate) const MODES: [&str; 2] = ["enforce", "audit"];

/// Says what is wrong with the annotations of a policy.
pub(crate) fn check(statement: &Statement<'_>, problems: &mut Vec<Problem>) {
    for (name, text) in statement.policy.annotations() {
        let problem = |message: String| statement.problem(&format!("@{name}"), message);
        if name == "ask" {
            // Taken as a plain permit it would allow what a person should have been asked for.
            problems.push(problem("`@ask` is not supported yet".to_owned()));
        } else if !KNOWN.contains(&name) {
            let message = format!("the annotation `@{name}` has no effect");
            problems.push(problem(message).suggesting(nearest(name, KNOWN)).into_warning());
        } else if name == "mode" && !MODES.contains(&text) {
            let message = format!("`@mode` is \"enforce\" or \"audit\", and not \"{text}\"");
            problems.push(problem(message).suggesting(nearest(text, MODES)));
        } else if text.is_empty() && matches!(name, "id" | "message") {
            problems.push(problem(format!("`@{name}` needs a text, as in `@{name}(\"…\")`")));
        } else if name == "message" && statement.policy.effect() == cedar_policy::Effect::Permit {
            problems.push(problem("`@message` has an effect on `forbid` only".to_owned()).into_warning());
        }
    }
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
        check_text(
            "@id(\"x\") @mesage(\"no\") forbid(principal, action, resource);",
            &["a:1:10: warning: the annotation `@mesage` has no effect; did you mean `message`?"],
        );
        check_text(
            "@message(\"no\") permit(principal, action, resource);",
            &["a:1:1: warning: `@message` has an effect on `forbid` only"],
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
        check_text("@ask(\"manager\") permit(principal, action, resource);", &["a:1:1: `@ask` is not supported yet"]);
        check_text("@id permit(principal, action, resource);", &["a:1:1: `@id` needs a text, as in `@id(\"…\")`"]);
    }
}
