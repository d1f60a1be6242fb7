//! Whether statements that can be read hold together, by the schema.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{PolicySet, Schema, ValidationMode, Validator};

use crate::problem::{Problem, nearest};
use crate::reads::Reads;
use crate::schema::{CALL_TOOL, Declared, ENTITY_TYPES};
use crate::scope::Scope;
use crate::source::Statement;

/// Validates each statement strictly: what passes can't fail for its types.
pub(crate) fn check(
    statements: &[Statement<'_>],
    declared: &Declared<'_>,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) {
    let whole = Validator::new(schema.clone());
    let mut smaller: HashMap<BTreeSet<String>, Option<Validator>> = HashMap::new();
    for statement in statements {
        let validator = tools_that_matter(statement, declared).and_then(|tools| {
            let make = |tools: &BTreeSet<String>| {
                declared.generate_of(tools.iter()).map(|made| Validator::new(made.schema)).ok()
            };
            smaller.entry(tools).or_insert_with_key(make).as_ref()
        });
        problems.extend(found(statement, validator.unwrap_or(&whole), declared));
    }
}

/// The tools by which a statement can be checked, where that need not be all: Cedar checks it once for every action, which for
/// a thousand rules and a thousand tools takes seconds.
///
/// Only those matter that the scope names. Where it names none, actions differ by nothing but their arguments; where these are
/// not read, one tool stands for all that are not named.
fn tools_that_matter(statement: &Statement<'_>, declared: &Declared<'_>) -> Option<BTreeSet<String>> {
    let literals = statement.policy.entity_literals();
    let actions = literals.iter().filter(|uid| uid.type_name().basename() == "Action");
    let named: BTreeSet<&str> = actions.map(|uid| uid.id().unescaped()).collect();
    let is_known = |name: &&str| declared.tools.contains_key(*name) || declared.is_no_tool(name);
    if !named.iter().all(is_known) {
        // What was meant is looked for among all.
        return None;
    }
    let mut tools: BTreeSet<String> =
        named.iter().filter(|name| !declared.is_no_tool(name)).map(|name| (*name).to_owned()).collect();
    if !names_tools(statement) {
        if Reads::of(&statement.conditions).context.has("arguments") {
            return None;
        }
        tools.extend(declared.tools.keys().find(|name| !named.contains(name.as_str())).cloned());
    }
    Some(tools)
}

/// One sentence for a place: Cedar validates a statement once for every action that it may be about.
fn found(statement: &Statement<'_>, validator: &Validator, declared: &Declared<'_>) -> Vec<Problem> {
    let set = match PolicySet::from_policies([statement.policy.clone()]) {
        Ok(set) => set,
        Err(error) => return vec![statement.problem("", error.to_string())],
    };
    let result = validator.validate(&set, ValidationMode::Strict);
    let problem = |error| Problem::of_cedar(statement.source, statement.start, &error);
    let mut problems: Vec<Problem> =
        result.validation_errors().map(|error| problem(DetailedError::from(error))).collect();
    problems.iter_mut().for_each(|problem| suggest(problem, declared));
    if !names_tools(statement) {
        problems.iter_mut().for_each(about_one_tool);
    }
    let literals = statement.policy.entity_literals();
    let names_unseen = || literals.iter().any(|uid| declared.unseen.contains(uid.id().unescaped()));
    if problems.is_empty() && !names_unseen() {
        problems
            .extend(result.validation_warnings().map(|warning| problem(DetailedError::from(warning)).into_warning()));
    }
    // Cedar finds them in any order.
    problems.sort();
    let mut places = HashSet::new();
    problems.retain(|problem| places.insert((problem.line, problem.column)));
    problems
}

/// Whether the scope says which tools the statement is about.
fn names_tools(statement: &Statement<'_>) -> bool {
    let scope = Scope::of(&statement.policy);
    let actions = scope.named_actions();
    !actions.is_empty() && !actions.iter().any(|uid| uid.id().unescaped() == CALL_TOOL)
}

/// What was meant by an action or a type that there is not: of several that are as near, Cedar suggests one at random.
fn suggest(problem: &mut Problem, declared: &Declared<'_>) {
    let unrecognized = problem.message.strip_prefix("unrecognized ").and_then(|rest| rest.strip_suffix('`'));
    let Some((kind, name)) = unrecognized.and_then(|rest| rest.split_once(" `")) else { return };
    let action = name.strip_prefix("Action::\"").and_then(|name| name.strip_suffix('"'));
    problem.suggestion = match (kind, action) {
        ("action", Some(name)) => nearest(name, declared.actions()).map(|name| format!("Action::\"{name}\"")),
        ("entity type", _) => nearest(name, ENTITY_TYPES).map(str::to_owned),
        _ => return,
    };
}

/// Arguments have types only where it is known which tool's they are, which Cedar's sentence leaves to be guessed.
fn about_one_tool(problem: &mut Problem) {
    if problem.message.starts_with("attribute `arguments") {
        problem.suggestion = None;
        problem
            .message
            .push_str(": a rule on arguments names its tool's action in the scope, or asks with `has` first");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    /// What is said of a rule about `approve_payment` with this condition.
    fn check(condition: &str, expected: &[&str]) {
        let head = "permit(principal, action == Action::\"claims__approve_payment\", resource)";
        check_policy(&format!("{head}\nwhen {{ {condition} }};"), expected);
    }

    fn check_policy(policy: &str, expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|problem| format!("claims.cedar:{problem}")).collect();
        assert_eq!(fixture::problems(policy, &fixture::claims()), expected, "{policy}");
    }

    #[test]
    fn a_misspelt_argument_is_found_with_its_place_and_what_was_meant() {
        check(
            "context.arguments.amuont.lessThan(decimal(\"1.0\"))",
            &[
                "2:8: attribute `arguments.amuont` in context for Action::\"claims__approve_payment\" not found; did you mean `amount`?",
            ],
        );
        check(
            "principal.aproval_limit == decimal(\"1.0\")",
            &["2:8: attribute `aproval_limit` on entity type `Principal` not found; did you mean `approval_limit`?"],
        );
        check(
            "context.dor == \"mcp\"",
            &[
                "2:8: attribute `dor` in context for Action::\"claims__approve_payment\" not found; did you mean `door`?",
            ],
        );
        check(
            "context.arguments.amount.lesThan(decimal(\"1.0\"))",
            &["2:8: `lesThan` is not a valid method; did you mean `lessThan`?"],
        );
    }

    #[test]
    fn misspelt_actions_and_types_are_found() {
        check_policy(
            "permit(principal, action == Action::\"claims__aprove_payment\", resource);",
            &[
                "1:29: unrecognized action `Action::\"claims__aprove_payment\"`; did you mean `Action::\"claims__approve_payment\"`?",
            ],
        );
        check_policy(
            "permit(principal is Princpal, action, resource);",
            &["1:21: unrecognized entity type `Princpal`; did you mean `Principal`?"],
        );
    }

    #[test]
    fn of_several_actions_that_are_as_near_always_the_first_is_suggested() {
        let mut facts = fixture::claims();
        let names = ["hold_b", "hold_a", "hold_d", "hold_c", "hold_f", "hold_e", "told_x", "hold_xyz"];
        facts.tools.extend(names.map(|name| fixture::tool("claims", name, &serde_json::json!({}))));
        for (misspelt, expected) in [
            ("claims__hold_x", "claims__hold_a"),
            ("claims__hold_xy", "claims__hold_xyz"),
            ("call_modle", "call_model"),
        ] {
            let rule = format!("permit(principal, action == Action::\"{misspelt}\", resource);");
            // Each time in another order, as that of a hash map is.
            for _ in 0..8 {
                let found = fixture::problems(&rule, &facts);
                let expected = format!(
                    "claims.cedar:1:29: unrecognized action `Action::\"{misspelt}\"`; did you mean `Action::\"{expected}\"`?"
                );
                assert_eq!(found, [expected]);
            }
        }
        check_policy(
            "permit(principal is Rolle, action, resource);",
            &["1:21: unrecognized entity type `Rolle`; did you mean `Role`?"],
        );
    }

    #[test]
    fn what_may_be_absent_needs_has() {
        check("context.arguments has note && context.arguments.note == \"x\"", &[]);
        let unsafe_note = "2:8: unable to guarantee safety of access to optional attribute `arguments.note` in context for \
            Action::\"claims__approve_payment\": try testing for the attribute's presence with `context.arguments has note && ..`";
        check("context.arguments.note == \"x\"", &[unsafe_note]);
        let unsafe_region = "2:8: unable to guarantee safety of access to optional attribute `region` on entity type `Principal`: \
            try testing for the attribute's presence with `e has region && ..`";
        check("principal.region == \"north\"", &[unsafe_region]);
    }

    #[test]
    fn types_are_strict() {
        check("context.arguments.amount < 5", &["2:8: unexpected type: expected Long but saw decimal"]);
        check("context.arguments.amount.lessThan(5)", &["2:42: unexpected type: expected decimal but saw Long"]);
        check(
            "principal.approval_limit == 5",
            &[
                "2:8: the types Long and decimal are not compatible: both operands to a `==` expression must have compatible types. Types must be exactly equal to be compatible",
            ],
        );
        check("false && decimal(\"5\") == decimal(\"6.0\")", &["2:17: `5` is no decimal"]);
        check(
            "decimal(context.door) == decimal(\"1.0\")",
            &["2:8: extension constructors may not be called with non-literal expressions: \
               consider applying extension constructors inside attribute values when constructing entity or context data"],
        );
    }

    #[test]
    fn arguments_belong_to_one_tool() {
        check_policy(
            "permit(principal, action in Action::\"call_tool\", resource) when { context.arguments.amount == decimal(\"1.0\") };",
            &["1:67: attribute `arguments.amount` in context for Action::\"claims__list\" not found: \
               a rule on arguments names its tool's action in the scope, or asks with `has` first"],
        );
        check_policy(
            "permit(principal, action, resource) when { context.arguments.amount == decimal(\"1.0\") };",
            &["1:44: attribute `arguments.amount` in context for Action::\"claims__list\" not found: \
               a rule on arguments names its tool's action in the scope, or asks with `has` first"],
        );
        check_policy(
            "permit(principal, action in Action::\"call_tool\", resource)
             when { context.arguments has amount && context.arguments.amount == decimal(\"1.0\") };",
            &[],
        );
    }

    #[test]
    fn what_can_never_hold_is_told() {
        check(
            "principal is Role",
            &["1:1: warning: policy is impossible: the policy expression evaluates to false for all valid requests"],
        );
        check_policy(
            "permit(principal, action == Action::\"claims__list\", resource is Model);",
            &["1:1: warning: policy is impossible: the policy expression evaluates to false for all valid requests"],
        );
    }

    #[test]
    fn the_tools_that_matter_say_the_same_as_all() {
        let facts = fixture::claims();
        let (principal, unseen) = (crate::attributes::types(&facts, &mut Vec::new()), BTreeSet::new());
        let declared = Declared::of(&facts, &principal, &unseen);
        let whole = Validator::new(declared.generate().unwrap().schema);
        let list = "action == Action::\"claims__list\"";
        let scopes = [
            ("action", Some(1)),
            ("action in Action::\"call_tool\"", Some(1)),
            ("action == Action::\"call_model\"", Some(0)),
            ("action == Action::\"claims__lst\"", None),
            (list, Some(1)),
            ("action in [Action::\"call_function\", Action::\"claims__list\"]", Some(1)),
        ];
        let conditions = [
            "true",
            "principal.region == \"\"",
            "resource.read_only",
            "resource is Model",
            "context.arguments.count > 1",
            "action == Action::\"mail__send\" || resource == Tool::\"claims__approve_payment\"",
            "context has arguments && context.arguments has count",
        ];
        for (scope, expected) in scopes {
            for condition in conditions {
                let source = fixture::source(&format!("permit(principal, {scope}, resource) when {{ {condition} }};"));
                let statement = crate::source::read(&[&source], &mut Vec::new()).remove(0);
                let mut problems = Vec::new();
                super::check(std::slice::from_ref(&statement), &declared, whole.schema(), &mut problems);
                assert_eq!(problems, found(&statement, &whole, &declared), "{}", source.text);
                let tools = tools_that_matter(&statement, &declared).map(|tools| tools.len());
                assert!(condition != "true" || tools == expected, "{}: {tools:?}", source.text);
            }
        }
    }
}
