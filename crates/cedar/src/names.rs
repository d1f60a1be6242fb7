//! Principals, roles, models, tools and servers that rules name and that nobody knows.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::EntityUid;

use crate::facts::{Facts, Tool};
use crate::problem::{Problem, nearest};
use crate::schema::{CALL_AGENT, CALL_FUNCTION, CALL_MODEL, CALL_TOOL};
use crate::source::Statement;

/// The actions that rules name of servers which could not be asked, and that were never seen.
pub(crate) fn unseen_actions(statements: &[Statement<'_>], facts: &Facts) -> BTreeSet<String> {
    let seen = action_names(facts);
    let named = statements.iter().flat_map(|statement| statement.policy.entity_literals());
    let actions = named.filter(|uid| uid.type_name().basename() == "Action").map(|uid| uid.id().unescaped().to_owned());
    actions.filter(|name| !seen.contains(name) && unreachable_server(name, facts).is_some()).collect()
}

fn action_names(facts: &Facts) -> HashSet<String> {
    let tools = facts.tools.iter().map(Tool::capability_name);
    tools.chain([CALL_TOOL, CALL_MODEL, CALL_AGENT, CALL_FUNCTION].map(str::to_owned)).collect()
}

/// The server, among those that could not be asked, that a tool of this name would belong to.
fn unreachable_server<'a>(tool: &str, facts: &'a Facts) -> Option<&'a str> {
    let servers = facts.unreachable_servers.iter().map(|server| server.as_str());
    servers.into_iter().find(|server| tool.strip_prefix(server).is_some_and(|rest| rest.starts_with("__")))
}

/// Warns of principals, roles, models, tools and servers that rules name and that nobody knows: such a rule holds for nothing.
pub(crate) fn check(statements: &[Statement<'_>], facts: &Facts, problems: &mut Vec<Problem>) {
    let known = Known::of(facts);
    for statement in statements {
        problems.extend(known.nobody_to_ask(statement));
        let mut told = HashSet::new();
        for uid in statement.policy.entity_literals() {
            if told.insert(uid.clone()) {
                problems.extend(known.problem(statement, &uid, facts));
            }
        }
    }
}

/// All names, by type of entity.
struct Known {
    names: Vec<(&'static str, HashSet<String>)>,
}

impl Known {
    fn of(facts: &Facts) -> Self {
        let principals = facts.principals.iter().map(|principal| principal.name.to_string()).collect();
        let roles = facts.principals.iter().flat_map(|principal| &principal.roles);
        let roles =
            roles.chain(facts.issuers.iter().flat_map(|issuer| &issuer.roles)).map(ToString::to_string).collect();
        let tools: HashSet<String> = facts.tools.iter().map(Tool::capability_name).collect();
        let servers = facts.tools.iter().map(|tool| &tool.server).chain(&facts.unreachable_servers);
        let servers = servers.map(ToString::to_string).collect();
        let models = facts.models.iter().cloned().collect();
        let agents = facts.agents.iter().cloned().collect();
        let names = vec![
            ("Principal", principals),
            ("Role", roles),
            ("Tool", tools),
            ("Action", action_names(facts)),
            ("Server", servers),
            ("Model", models),
            ("Agent", agents),
        ];
        Self { names }
    }

    fn problem(&self, statement: &Statement<'_>, uid: &EntityUid, facts: &Facts) -> Option<Problem> {
        let (ty, name) = (uid.type_name().to_string(), uid.id().unescaped());
        let (_, names) = self.names.iter().find(|(known, names)| *known == ty && !names.contains(name))?;
        if ty == "Principal" && facts.issuers.iter().any(|issuer| name.starts_with(&issuer.prefix)) {
            return None;
        }
        let shown = format!("{ty}::\"{name}\"");
        if matches!(ty.as_str(), "Action" | "Tool")
            && let Some(server) = unreachable_server(name, facts)
        {
            let message = format!("`{shown}` was never seen, because the server `{server}` can't be reached");
            return Some(statement.problem(&shown, message).into_warning());
        }
        // Validation says what is wrong with other actions.
        let message = format!("there is no `{shown}`, so this holds for nothing");
        let suggestion = nearest(name, names.iter().map(String::as_str)).map(|name| format!("{ty}::\"{name}\""));
        (ty != "Action").then(|| statement.problem(&shown, message).suggesting(suggestion.as_deref()).into_warning())
    }
}

impl Known {
    /// A warning for a role that nobody of the configuration has: whoever comes with a token may have it all the same.
    fn nobody_to_ask(&self, statement: &Statement<'_>) -> Option<Problem> {
        let role = statement.policy.annotation("ask").filter(|role| !role.is_empty())?;
        let (_, roles) = self.names.iter().find(|(known, _)| *known == "Role")?;
        let message = format!("no principal of the configuration has the role `{role}` that `@ask` names");
        let suggestion = nearest(role, roles.iter().map(String::as_str));
        (!roles.contains(role)).then(|| statement.problem("@ask", message).suggesting(suggestion).into_warning())
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;

    fn check(policy: &str, expected: &[&str]) {
        let mut facts = fixture::claims();
        facts.unreachable_servers.push("hr".parse().unwrap());
        let expected: Vec<String> = expected.iter().map(|problem| format!("claims.cedar:{problem}")).collect();
        assert_eq!(fixture::problems(policy, &facts), expected, "{policy}");
    }

    #[test]
    fn a_name_that_nobody_has_is_told_with_what_was_meant() {
        check(
            "permit(principal in Role::\"ajduster\", action, resource in Server::\"clams\");",
            &[
                "1:21: warning: there is no `Role::\"ajduster\"`, so this holds for nothing; did you mean `Role::\"adjuster\"`?",
                "1:59: warning: there is no `Server::\"clams\"`, so this holds for nothing; did you mean `Server::\"claims\"`?",
            ],
        );
        check(
            "forbid(principal == Principal::\"an\", action == Action::\"call_model\", resource)\nwhen { resource == Model::\"gpt4o\" };",
            &[
                "1:21: warning: there is no `Principal::\"an\"`, so this holds for nothing; did you mean `Principal::\"ann\"`?",
                "2:20: warning: there is no `Model::\"gpt4o\"`, so this holds for nothing; did you mean `Model::\"gpt-4o\"`?",
            ],
        );
        check("forbid(principal, action == Action::\"call_function\", resource == Function::\"anything\");", &[]);
    }

    #[test]
    fn a_role_that_nobody_has_is_asked_in_vain() {
        check(
            "@ask(\"manger\") permit(principal, action, resource);",
            &[
                "1:1: warning: no principal of the configuration has the role `manger` that `@ask` names; did you mean `manager`?",
            ],
        );
        check("@ask(\"manager\") permit(principal, action, resource);", &[]);
    }

    #[test]
    fn a_tool_of_a_server_that_can_not_be_asked_is_no_error() {
        let never_seen = "was never seen, because the server `hr` can't be reached";
        check(
            "permit(principal, action == Action::\"hr__fire\", resource) when { context.arguments.who == \"ann\" };",
            &[&format!("1:29: warning: `Action::\"hr__fire\"` {never_seen}")],
        );
        check(
            "forbid(principal, action in [Action::\"hr__fire\", Action::\"claims__list\"], resource) when { resource == Tool::\"hr__x\" };",
            &[
                &format!("1:30: warning: `Action::\"hr__fire\"` {never_seen}"),
                &format!("1:104: warning: `Tool::\"hr__x\"` {never_seen}"),
            ],
        );
        check(
            "permit(principal, action in [Action::\"hr__fire\", Action::\"claims__list\"], resource) when { context.arguments.cuont > 1 };",
            &[
                &format!("1:30: warning: `Action::\"hr__fire\"` {never_seen}"),
                "1:92: attribute `arguments.cuont` in context for Action::\"claims__list\" not found; did you mean `count`?",
            ],
        );
        check(
            "permit(principal, action == Action::\"hrm__fire\", resource);",
            &["1:29: unrecognized action `Action::\"hrm__fire\"`"],
        );
    }
}
