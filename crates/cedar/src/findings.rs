//! Rules that can be taken and that do nothing: about no call, said already, or overruled as a whole.
//!
//! Only what is certainly so is told. Which calls a rule is about is counted over everything that there is to call; whether it is for the same principals is seen
//! from its scope, since principals come and go. Conditions are not reasoned about: one rule covers another where it has none, or the very same.

use cedar_policy::Effect;

use crate::facts::Facts;
use crate::population::Population;
use crate::problem::{Problem, Severity, position};
use crate::rule::Rule;
use crate::source::Statement;

/// Says which rules do nothing, and what to do about it.
pub(crate) fn find(
    statements: &[Statement<'_>],
    rules: &[Rule],
    population: &Population,
    facts: &Facts,
    problems: &mut Vec<Problem>,
) {
    // Tools that were never seen can't be counted.
    if !facts.unreachable_servers.is_empty() {
        return;
    }
    let all: Vec<Subject<'_>> =
        statements.iter().zip(rules).map(|(statement, rule)| Subject::of(statement, rule, population)).collect();
    let mut found = Vec::new();
    for (place, one) in all.iter().enumerate() {
        if one.is_about_nothing() {
            if !problems.iter().any(|problem| one.is_place_of(problem)) {
                found.push(one.warning(
                    "it is about no call: no action in its scope is on a resource in its scope; correct one of them",
                ));
            }
            continue;
        }
        let others = all.iter().enumerate().filter(|(other, _)| *other != place);
        found.extend(others.filter_map(|(other, covering)| one.problem(covering, other < place, population)).min());
    }
    problems.extend(found);
}

/// A rule with what it is about.
struct Subject<'a> {
    statement: &'a Statement<'a>,
    rule: &'a Rule,
    /// The capabilities in its scope, one bit each.
    targets: Vec<u64>,
    /// Its conditions; empty where it has none.
    conditions: String,
    /// Whether it decides by itself: not on trial, and with no person to be asked.
    is_plain: bool,
}

impl<'a> Subject<'a> {
    fn of(statement: &'a Statement<'a>, rule: &'a Rule, population: &Population) -> Self {
        let mut targets = Vec::new();
        for (place, target) in population.targets().enumerate() {
            if place % 64 == 0 {
                targets.push(0);
            }
            if let Some(last) = targets.last_mut()
                && rule.scope.has_capability(&target.action, &target.resource)
            {
                *last |= 1 << (place % 64);
            }
        }
        let has_none = statement.conditions.as_array().is_some_and(Vec::is_empty);
        let conditions = if has_none { String::new() } else { statement.conditions.to_string() };
        let is_plain = !rule.is_audit && statement.policy.annotation("ask").is_none();
        Self { statement, rule, targets, conditions, is_plain }
    }

    fn is_about_nothing(&self) -> bool {
        self.targets.iter().all(|targets| *targets == 0)
    }

    /// Whether every call that `other` holds for is one that this holds for.
    fn covers(&self, other: &Self, population: &Population) -> bool {
        let has = |(mine, others): (&u64, &u64)| mine & others == *others;
        (self.conditions.is_empty() || self.conditions == other.conditions)
            && self.targets.iter().zip(&other.targets).all(has)
            && self.rule.scope.covers_principals(&other.rule.scope, |uid, group| population.is_in(uid, group))
    }

    /// What is wrong with this one because of `covering`, which stands before it or after it.
    fn problem(&self, covering: &Self, is_after: bool, population: &Population) -> Option<Problem> {
        if !self.is_plain || !covering.is_plain || !covering.covers(self, population) {
            return None;
        }
        let (name, place) = (covering.rule.name(), covering.place());
        let by = if name == place { format!("`{name}`") } else { format!("`{name}` at {place}") };
        match (self.rule.effect, covering.rule.effect) {
            (Effect::Permit, Effect::Forbid) => Some(self.warning(&format!(
                "it permits nothing, because {by} forbids all that it is about; delete it, or narrow `{name}`"
            ))),
            (Effect::Forbid, Effect::Permit) => None,
            (Effect::Permit, Effect::Permit) | (Effect::Forbid, Effect::Forbid) => {
                let is_told_first = self.rule.message.is_none() || is_after && covering.rule.message.is_some();
                let is_mutual = self.covers(covering, population);
                if !is_told_first || is_mutual && !is_after {
                    return None;
                }
                let verb = if self.rule.effect == Effect::Permit { "permits" } else { "forbids" };
                Some(self.warning(&if is_mutual {
                    format!("it says the same as {by}; delete one of the two")
                } else {
                    format!("it has no effect, because {by} {verb} all that it is about; delete it, or narrow `{name}`")
                }))
            }
        }
    }

    fn warning(&self, message: &str) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::at(self.statement.source, self.statement.start, message) }
    }

    fn place(&self) -> String {
        let source = self.statement.source;
        format!("{}:{}", source.file, position(&source.text, self.statement.start).0)
    }

    /// Whether something was said of this rule already.
    fn is_place_of(&self, problem: &Problem) -> bool {
        let source = self.statement.source;
        let line = |offset| position(&source.text, offset).0;
        let lines = line(self.statement.start)..=line(self.statement.start + self.statement.text.len());
        problem.file == source.file && lines.contains(&problem.line)
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    fn check(rules: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|problem| format!("claims.cedar:{problem}")).collect();
        assert_eq!(fixture::problems(rules, &fixture::claims()), expected, "{rules}");
    }

    #[test]
    fn a_rule_that_is_about_no_call_is_told() {
        check(
            "\npermit(principal, action == Action::\"claims__list\", resource == Tool::\"mail__send\");",
            &[
                "2:1: warning: it is about no call: no action in its scope is on a resource in its scope; correct one of them",
            ],
        );
        check("permit(principal, action == Action::\"claims__list\", resource in Server::\"claims\");", &[]);
        check("permit(principal, action, resource == Function::\"never heard of\");", &[]);
    }

    #[test]
    fn a_rule_that_is_said_already_is_told_once() {
        let narrow =
            "@id(\"narrow\") permit(principal in Role::\"junior\", action == Action::\"claims__list\", resource);";
        let wide = "@id(\"wide\") permit(principal, action in Action::\"call_tool\", resource in Server::\"claims\");";
        let told = "warning: it has no effect, because `wide` at claims.cedar:";
        let rest = "permits all that it is about; delete it, or narrow `wide`";
        check(&format!("{narrow}\n{wide}"), &[&format!("1:1: {told}2 {rest}")]);
        check(&format!("{wide}\n{narrow}"), &[&format!("2:1: {told}1 {rest}")]);
        check(
            &format!("{narrow}\n{}", narrow.replace("narrow", "again")),
            &["2:1: warning: it says the same as `narrow` at claims.cedar:1; delete one of the two"],
        );
        // Another tool, another role, other conditions, or only on trial.
        for other in [narrow.replace("claims__list", "mail__send"), format!("@mode(\"audit\") {narrow}")] {
            check(&format!("{wide}\n{other}"), &[]);
        }
        let when = wide.replace(';', " when { context.door == \"mcp\" };");
        check(&format!("{when}\n{narrow}"), &[]);
        let role = wide.replace("(principal,", "(principal in Role::\"manager\",");
        check(&format!("{role}\n{narrow}"), &[]);
    }

    #[test]
    fn who_has_a_role_is_covered_by_it() {
        let role = "permit(principal in Role::\"junior\", action, resource);";
        let told = "2:1: warning: it has no effect, because `claims.cedar:1` permits all that it is about; delete it, or narrow `claims.cedar:1`";
        check(&format!("{role}\npermit(principal == Principal::\"ann\", action, resource);"), &[told]);
        check(&format!("{role}\npermit(principal == Principal::\"mia\", action, resource);"), &[]);
        check(
            &format!("permit(principal == Principal::\"ann\", action, resource);\n{role}").replace("\n", "//\n"),
            &[
                "1:1: warning: it has no effect, because `claims.cedar:2` permits all that it is about; delete it, or narrow `claims.cedar:2`",
            ],
        );
    }

    #[test]
    fn a_permit_that_is_forbidden_as_a_whole_is_told() {
        let when = "when { context.arguments.count > 3 }";
        let scope = "principal, action == Action::\"claims__list\", resource";
        let told = "1:1: warning: it permits nothing, because `claims.cedar:2` forbids all that it is about; delete it, or narrow `claims.cedar:2`";
        check(&format!("permit({scope}) {when};\nforbid({scope});"), &[told]);
        check(&format!("permit({scope}) {when};\nforbid({scope}) {when};"), &[told]);
        check(&format!("permit({scope});\nforbid({scope}) {when};"), &[]);
        check(&format!("permit({scope});\nforbid(principal, action == Action::\"mail__send\", resource);"), &[]);
    }

    #[test]
    fn a_message_that_would_be_told_is_an_effect() {
        let plain = "forbid(principal, action, resource);";
        let told = "@message(\"no\") forbid(principal in Role::\"junior\", action, resource);";
        check(&format!("{plain}\n{told}"), &[]);
        check(&format!("{told}\n@message(\"x\") {plain}"), &[]);
        let said = "2:1: warning: it has no effect, because `claims.cedar:1` forbids all that it is about; delete it, or narrow `claims.cedar:1`";
        check(&format!("@message(\"x\") {plain}\n{told}"), &[said]);
    }
}
