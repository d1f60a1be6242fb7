//! The engine: rules and facts of one version, and what they answer.

use std::sync::Arc;

use portcullis_domain::call::Capability;
use portcullis_domain::ids::PrincipalName;
use portcullis_domain::policy::{Decision, Question, Version};
use portcullis_domain::profile::Profile;

use crate::facts::Mode;
use crate::population::{Population, Target};
use crate::problem::Problem;
use crate::slice::{Rules, Slice, Slices};
use crate::trial;

/// Rules that were checked against the facts, ready to decide. It never changes; other rules or facts make another engine.
#[derive(Debug)]
pub struct Engine {
    pub(crate) rules: Rules,
    pub(crate) population: Population,
    pub(crate) schema_text: String,
    pub(crate) warnings: Vec<Problem>,
    /// Filled as questions come.
    pub(crate) slices: Slices,
}

impl Engine {
    /// Answers one question.
    ///
    /// The answer is no where nothing permits, where anything forbids, and where anything is in doubt: a principal or
    /// capability that the facts don't know, a tool's arguments that are missing or don't fit, a rule that can't be evaluated.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        self.answer(question).unwrap_or_else(|error| self.rules.denial(error))
    }

    /// Whether this principal may be allowed this capability with some arguments, in some session. What may not is hidden from them.
    #[must_use]
    pub fn may_allow(&self, principal: &PrincipalName, profile: Option<&Profile>, capability: &Capability) -> bool {
        let slice = self.slice(principal, profile, capability);
        slice.is_ok_and(|(_, slice)| self.rules.mode() == Mode::Audit || slice.may_allow())
    }

    fn slice(
        &self,
        principal: &PrincipalName,
        profile: Option<&Profile>,
        capability: &Capability,
    ) -> Result<(&Arc<Target>, Arc<Slice>), String> {
        let actor = self.population.somebody(principal, profile)?;
        let target = self.population.target(capability).ok_or_else(|| format!("there is no `{capability}`"))?;
        let make = || Slice::of(&actor, target, &self.rules, &self.population);
        Ok((target, self.slices.get((actor.number, target.number), make)?))
    }

    fn answer(&self, question: &Question<'_>) -> Result<Decision, String> {
        let capability = question.capability;
        // Of agents an issuer says nothing.
        let profile = question.profile.filter(|_| question.principal == question.chain.subject);
        let (target, slice) = self.slice(question.principal, profile, capability)?;
        if let Some(types) = &target.arguments {
            let arguments = question.arguments.ok_or_else(|| format!("the arguments of `{capability}` are missing"))?;
            crate::argument::check(arguments, types)?;
        }
        let decision = slice.decide(question, &self.rules, &self.population)?;
        Ok(match self.rules.mode() {
            Mode::Enforce => decision,
            Mode::Audit => trial::of_all(question, decision),
        })
    }

    /// The digest of rules, schema and principals: two engines of the same version answer alike.
    #[must_use]
    pub fn version(&self) -> Version {
        self.rules.version()
    }

    /// How many rules there are.
    #[must_use]
    pub fn policies(&self) -> usize {
        self.rules.len()
    }

    /// The schema that rules are checked by, as Cedar writes it.
    #[must_use]
    pub fn schema_text(&self) -> &str {
        &self.schema_text
    }

    /// What somebody should look at, although the rules were taken.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use portcullis_domain::call::{Door, Kind, Place};
    use portcullis_domain::policy::{Effect, Value};

    use super::*;
    use crate::fixture::{self, Asked, CLAIMS, payment};

    const ESCALATE: &str = "Limit Exceeded. Escalate to Manager.";

    /// Allowed by these rules, or denied by them with this message.
    type Expected<'a> = Result<&'a [&'a str], (&'a [&'a str], Option<&'a str>)>;

    /// Asks twice, since the second answer may be a kept one.
    fn check(engine: &Engine, asked: &Asked, expected: Expected<'_>) {
        for _ in 0..2 {
            let decision = asked.decide(engine);
            let policies: Vec<&str> = decision.policies.iter().map(String::as_str).collect();
            let found = match decision.effect {
                Effect::Allow => Ok(policies.as_slice()),
                Effect::Ask | Effect::Deny => Err((policies.as_slice(), decision.message.as_deref())),
            };
            assert_eq!(found, expected, "{asked:?}");
            assert_eq!(decision.errors, Vec::<String>::new(), "{asked:?}");
            assert_eq!(decision.version, engine.version());
        }
    }

    /// Denied with an error that begins like this.
    fn check_error(engine: &Engine, asked: &Asked, error: &str) {
        let decision = asked.decide(engine);
        assert_eq!((decision.effect, decision.message.as_deref()), (Effect::Deny, None), "{asked:?}");
        let [found] = decision.errors.as_slice() else { panic!("{asked:?}: {:?}", decision.errors) };
        assert!(found.starts_with(error), "{asked:?}: {found}");
    }

    fn claims(rules: &str) -> Engine {
        fixture::engine(rules, &fixture::claims())
    }

    const LIMITED: &str = r#"
        permit(principal, action, resource);
        @id("limit") forbid(principal, action == Action::"claims__approve_payment", resource)
        unless { context.arguments.amount.lessThanOrEqual(principal.approval_limit) };
    "#;

    #[test]
    fn a_junior_adjuster_is_stopped_above_the_limit() {
        let engine = claims(CLAIMS);
        check(&engine, &payment("ann", 100_000_000), Ok(&["claims.cedar:2"]));
        check(&engine, &payment("ann", 100_000_100), Err((&["limit"], Some(ESCALATE))));
        check(&engine, &payment("ann", 500_000_000), Err((&["limit"], Some(ESCALATE))));
        check(&engine, &payment("mia", 500_000_000), Ok(&["claims.cedar:2"]));
        assert_eq!((engine.policies(), engine.warnings()), (2, [].as_slice()));
    }

    #[test]
    fn a_limit_may_be_an_attribute() {
        let engine = claims(LIMITED);
        check(&engine, &payment("ann", 100_000_000), Ok(&["claims.cedar:2"]));
        check(&engine, &payment("ann", 100_000_001), Err((&["limit"], None)));
        check(&engine, &payment("mia", 100_000_001), Ok(&["claims.cedar:2"]));
    }

    #[test]
    fn nothing_is_allowed_that_no_rule_permits() {
        let engine = claims(CLAIMS);
        check(&engine, &Asked::new("ann", Kind::Tool, "mail__send").with(&[]), Err((&[], None)));
        check(&engine, &Asked::new("ann", Kind::Model, "gpt-4o"), Err((&[], None)));
        check(&engine, &Asked::new("ann", Kind::Function, "get_weather"), Err((&[], None)));
    }

    #[test]
    fn what_no_question_could_be_allowed_is_hidden_and_nothing_else() {
        let rules = r#"
            permit(principal in Role::"adjuster", action in Action::"call_tool", resource in Server::"claims");
            forbid(principal in Role::"junior", action == Action::"claims__list", resource);
            forbid(principal in Role::"junior", action == Action::"claims__approve_payment", resource)
            when { context.arguments.amount.greaterThan(decimal("10000.0")) };
            permit(principal in Role::"manager", action == Action::"call_model", resource == Model::"small")
            when { context.door == "mcp" };
            permit(principal, action == Action::"call_model", resource == Model::"gpt-4o")
            when { principal has region && principal.region == "north" };
        "#;
        let engine = claims(rules);
        let check = |principal: &str, kind: Kind, name: &str, expected: bool| {
            let asked = Asked::new(principal, kind, name);
            let found = engine.may_allow(&asked.principal, asked.profile.as_ref(), &asked.capability);
            assert_eq!(found, expected, "{principal} {}", asked.capability);
        };
        // Permitted, with a condition on the arguments that some questions meet.
        check("ann", Kind::Tool, "claims__approve_payment", true);
        check("mia", Kind::Tool, "claims__approve_payment", true);
        // Forbidden whatever the question is.
        check("ann", Kind::Tool, "claims__list", false);
        check("mia", Kind::Tool, "claims__list", true);
        // No rule permits it.
        check("mia", Kind::Tool, "mail__send", false);
        // Permitted in some questions, to some.
        check("ann", Kind::Model, "small", false);
        check("mia", Kind::Model, "small", true);
        // Settled by what the principal is.
        check("ann", Kind::Model, "gpt-4o", false);
        check("mia", Kind::Model, "gpt-4o", true);
        // Nobody knows them.
        check("eve", Kind::Tool, "claims__list", false);
        check("mia", Kind::Tool, "claims__none", false);
        check("mia", Kind::Model, "none", false);
        check("ann", Kind::Function, "get_weather", false);
    }

    #[test]
    fn forbid_beats_permit_and_the_first_message_is_told() {
        let engine = claims(
            r#"
            @id("c") permit(principal, action, resource);
            @id("b") forbid(principal, action == Action::"call_model", resource) when { context.door == "openai" };
            @id("a") @message("first") forbid(principal, action == Action::"call_model", resource) unless { context.place == "x" };
            @id("0") @message("second") forbid(principal, action == Action::"call_model", resource == Model::"small");
            "#,
        );
        let mut asked = Asked::new("ann", Kind::Model, "small");
        check(&engine, &asked, Err((&["a", "0"], Some("first"))));
        asked.door = Door::Openai;
        check(&engine, &asked, Err((&["b", "a", "0"], Some("first"))));
        check(&engine, &Asked::new("ann", Kind::Function, "f"), Ok(&["c"]));
    }

    /// These rules, these roles with so many people each, and what they read.
    type ExpectedAsk<'a> = (&'a [&'a str], &'a [(&'a str, u8)], Option<&'a str>);

    /// Who must be asked by these rules before ann may pay that much, and what they read; none where nobody need.
    fn check_asked(rules: &str, amount: i64, expected: Option<ExpectedAsk<'_>>) {
        let decision = payment("ann", amount).decide(&claims(rules));
        let asks: Vec<(&str, u8)> = decision.asks.iter().map(|ask| (ask.role.as_str(), ask.approvals)).collect();
        let policies: Vec<&str> = decision.policies.iter().map(String::as_str).collect();
        let found = (decision.effect == Effect::Ask).then_some((
            policies.as_slice(),
            asks.as_slice(),
            decision.message.as_deref(),
        ));
        assert_eq!(found, expected, "{rules} {amount}: {decision:?}");
        assert!(decision.effect == Effect::Ask || asks.is_empty());
    }

    #[test]
    fn a_permit_that_asks_is_a_condition_that_no_wider_permit_takes_away() {
        let asking = r#"@id("ask") @ask("manager") @message("More than 10,000.") permit(principal, action == Action::"claims__approve_payment", resource)
            when { context.arguments.amount.greaterThan(decimal("10000.0")) };"#;
        let expected: Option<ExpectedAsk<'_>> = Some((&["ask"], &[("manager", 1)], Some("More than 10,000.")));
        check_asked(asking, 500_000_000, expected);
        let wider = format!(r#"@id("all") permit(principal, action, resource); {asking}"#);
        check_asked(&wider, 500_000_000, expected);
        check_asked(&wider, 100_000_000, None);
        assert_eq!(payment("ann", 100_000_000).decide(&claims(&wider)).effect, Effect::Allow);
        // What is forbidden is not asked about.
        let forbidden = format!(r#"{wider} @id("no") forbid(principal in Role::"junior", action, resource);"#);
        check_asked(&forbidden, 500_000_000, None);
        assert_eq!(payment("ann", 500_000_000).decide(&claims(&forbidden)).policies, ["no"]);
        // Nor is what an error denies.
        let erring = format!("{wider} permit(principal, action, resource) when {{ 9223372036854775807 + 1 > 0 }};");
        assert_eq!(payment("ann", 500_000_000).decide(&claims(&erring)).effect, Effect::Deny);
    }

    #[test]
    fn all_that_rules_ask_are_asked_and_of_one_role_as_many_as_the_strictest_says() {
        let rules = r#"
            @id("a") @ask("manager") @approvals("2") permit(principal, action, resource);
            @id("b") @ask("manager") permit(principal in Role::"junior", action, resource) when { context.door == "mcp" };
            @id("c") @ask("adjuster") @message("why") permit(principal, action in Action::"call_tool", resource);"#;
        check_asked(rules, 1, Some((&["a", "b", "c"], &[("adjuster", 1), ("manager", 2)], Some("why"))));
        let engine = claims(rules);
        let asked = Asked::new("ann", Kind::Model, "small");
        assert!(engine.may_allow(&asked.principal, None, &asked.capability), "what a person may allow is not hidden");
    }

    #[test]
    fn files_are_in_the_order_of_their_names() {
        let rule = |file: &str, text: &str| crate::Source { file: file.to_owned(), text: text.to_owned() };
        let one = rule("1.cedar", "@message(\"one\") forbid(principal, action, resource);");
        let two = rule("2.cedar", "@message(\"two\") forbid(principal, action, resource);");
        for sources in [[one.clone(), two.clone()], [two, one]] {
            let engine = crate::compile(&sources, &fixture::claims()).unwrap();
            check(&engine, &payment("ann", 0), Err((&["1.cedar:1", "2.cedar:1"], Some("one"))));
        }
    }

    #[test]
    fn rules_may_read_session_door_and_place() {
        let engine = claims(
            r#"permit(principal, action, resource)
               when { context.session.owner == "ann" && context.session.name == "claim-99" }
               when { context.door == "mcp" && context.place == "model_answer" };"#,
        );
        let mut asked = Asked::new("ann", Kind::Function, "f");
        check(&engine, &asked, Err((&[], None)));
        asked.place = Place::ModelAnswer;
        check(&engine, &asked, Ok(&["claims.cedar:1"]));
        asked.session = "bob:claim-99".parse().unwrap();
        check(&engine, &asked, Err((&[], None)));
    }

    #[test]
    fn a_function_may_be_named_and_all_others_are_alike() {
        let engine = claims(
            r#"permit(principal, action == Action::"call_function", resource);
               @id("web") forbid(principal, action, resource == Function::"web_search");
               @id("odd") forbid(principal, action, resource) when { resource is Function && [Function::"any other"].contains(resource) };"#,
        );
        check(&engine, &Asked::new("ann", Kind::Function, "web_search"), Err((&["web"], None)));
        check(&engine, &Asked::new("ann", Kind::Function, "any other"), Err((&["odd"], None)));
        for name in ["get_weather", "any other*", ""] {
            check(&engine, &Asked::new("ann", Kind::Function, name), Ok(&["claims.cedar:1"]));
        }
    }

    #[test]
    fn who_is_named_is_told_apart_from_others_with_the_same_roles() {
        let mut facts = fixture::claims();
        facts.principals.push(fixture::principal("bob", &["junior", "adjuster"]));
        facts.principals.push(fixture::principal("eve", &["adjuster", "junior"]));
        let engine = fixture::engine(
            r#"permit(principal in Role::"junior", action, resource) unless { principal == Principal::"eve" };
               @id("limit") forbid(principal, action, resource)
               when { principal has approval_limit && Principal::"mia" has approval_limit
                   && principal.approval_limit.lessThan(Principal::"mia".approval_limit) };"#,
            &facts,
        );
        check(&engine, &Asked::new("bob", Kind::Model, "small"), Ok(&["claims.cedar:1"]));
        check(&engine, &Asked::new("eve", Kind::Model, "small"), Err((&[], None)));
        check(&engine, &Asked::new("ann", Kind::Model, "small"), Err((&["limit"], None)));
    }

    #[test]
    fn capabilities_are_never_taken_for_one_another() {
        let mut facts = fixture::claims();
        facts.models = ["small", "small", "large", "small"].map(str::to_owned).to_vec();
        let rules = r#"permit(principal, action == Action::"call_model", resource == Model::"small");"#;
        let engine = fixture::engine(rules, &facts);
        check(&engine, &Asked::new("ann", Kind::Model, "small"), Ok(&["claims.cedar:1"]));
        check(&engine, &Asked::new("ann", Kind::Model, "large"), Err((&[], None)));
        check(&engine, &Asked::new("ann", Kind::Function, "small"), Err((&[], None)));
        check(&engine, &Asked::new("ann", Kind::Tool, "mail__send").with(&[]), Err((&[], None)));
    }

    #[test]
    fn what_the_server_says_of_a_tool_can_be_read() {
        let mut facts = fixture::claims();
        facts.tools[1].read_only = Some(true);
        let rules = r#"permit(principal, action in Action::"call_tool", resource is Tool in Server::"claims")
                       when { resource has read_only && resource.read_only };"#;
        let engine = fixture::engine(rules, &facts);
        check(
            &engine,
            &Asked::new("ann", Kind::Tool, "claims__list").with(&[("count", Value::Long(1))]),
            Ok(&["claims.cedar:1"]),
        );
        check(&engine, &payment("ann", 0), Err((&[], None)));
    }

    #[test]
    fn a_rule_that_can_not_be_evaluated_denies() {
        let engine = claims(
            r#"permit(principal, action, resource);
               @id("big") permit(principal, action == Action::"claims__list", resource)
               when { context.arguments.count + 1 > 0 };"#,
        );
        let list = |count| Asked::new("ann", Kind::Tool, "claims__list").with(&[("count", Value::Long(count))]);
        check(&engine, &list(1), Ok(&["claims.cedar:1", "big"]));
        check_error(&engine, &list(i64::MAX), "error while evaluating policy `big`: integer overflow");

        let settled = claims("permit(principal, action, resource) when { 9223372036854775807 + 1 > 0 };");
        check_error(&settled, &list(1), "error while evaluating policy `claims.cedar:1`: integer overflow");
    }

    #[test]
    fn what_is_in_doubt_is_denied() {
        let engine = claims("permit(principal, action, resource);");
        check_error(&engine, &Asked::new("eve", Kind::Model, "small"), "there is no principal `eve`");
        check_error(&engine, &Asked::new("ann", Kind::Model, "large"), "there is no `model/large`");
        check_error(&engine, &Asked::new("ann", Kind::Tool, "claims__x").with(&[]), "there is no `tool/claims__x`");
        let none = Asked::new("ann", Kind::Tool, "claims__list");
        check_error(&engine, &none, "the arguments of `tool/claims__list` are missing");
        check_error(&engine, &none.clone().with(&[]), "argument `count` is missing");
        check_error(&engine, &none.with(&[("count", Value::Bool(true))]), "argument `count` is of another type");
    }

    /// Somebody whom the issuer `corp.` describes.
    fn guest(mut asked: Asked, roles: &[&str], attributes: &[(&str, Value)]) -> Asked {
        asked.profile = Some(Profile {
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        });
        asked
    }

    fn with_issuer() -> crate::Facts {
        let field = |ty, required| portcullis_domain::policy::Field { ty, required, nullable: false };
        let attributes = [
            ("approval_limit".to_owned(), field(portcullis_domain::policy::Type::Decimal, true)),
            ("grade".to_owned(), field(portcullis_domain::policy::Type::Long, false)),
        ];
        let issuer = crate::Issuer {
            prefix: "corp.".to_owned(),
            roles: vec!["junior".parse().unwrap(), "clerk".parse().unwrap()],
            attributes: attributes.into(),
        };
        crate::Facts { issuers: vec![issuer], ..fixture::claims() }
    }

    #[test]
    fn who_is_vouched_for_is_judged_by_what_the_issuer_says_now() {
        let engine = fixture::engine(
            r#"permit(principal in Role::"junior", action, resource);
               @id("limit") forbid(principal, action == Action::"claims__approve_payment", resource)
               when { context.arguments.amount.greaterThan(principal.approval_limit) };
               @id("grade") forbid(principal, action, resource == Model::"small")
               unless { principal has grade && principal.grade > 3 };
               @id("eve") forbid(principal == Principal::"corp.eve", action, resource);"#,
            &with_issuer(),
        );
        let limit = |limit| ("approval_limit", Value::Decimal(limit));
        let pays = |amount: i64, roles: &[&str], own: i64| guest(payment("corp.ann", amount), roles, &[limit(own)]);
        check(&engine, &pays(5, &["junior"], 5), Ok(&["claims.cedar:1"]));
        check(&engine, &pays(6, &["junior"], 5), Err((&["limit"], None)));
        check(&engine, &pays(6, &["junior"], 6), Ok(&["claims.cedar:1"]));
        check(&engine, &pays(5, &["clerk"], 5), Err((&[], None)));
        check(&engine, &pays(5, &[], 5), Err((&[], None)));
        let small = |name: &str, grade| {
            guest(Asked::new(name, Kind::Model, "small"), &["junior"], &[limit(1), ("grade", Value::Long(grade))])
        };
        check(&engine, &small("corp.ann", 3), Err((&["grade"], None)));
        check(&engine, &small("corp.ann", 4), Ok(&["claims.cedar:1"]));
        check(&engine, &small("corp.eve", 4), Err((&["eve"], None)));
        // Who is in the configuration is judged by that alone.
        check(&engine, &guest(payment("mia", 5), &["junior"], &[limit(5)]), Err((&[], None)));
        check_error(&engine, &payment("corp.ann", 5), "there is no principal `corp.ann`");
    }

    #[test]
    fn rules_about_who_asked_first_read_what_the_issuer_says_of_them() {
        let engine = fixture::engine(
            r#"permit(principal == Principal::"mia", action, resource) when { context.subject in Role::"junior" };
               @id("limit") forbid(principal, action, resource == Model::"small")
               when { context.subject.approval_limit.lessThan(decimal("0.0005")) };
               @id("eve") forbid(principal, action, resource) when { context.subject == Principal::"corp.eve" };"#,
            &with_issuer(),
        );
        let asks = |subject: &str, roles: &[&str], limit| {
            let asked = Asked::new("mia", Kind::Model, "small").on_behalf_of(subject, &["mia"]);
            guest(asked, roles, &[("approval_limit", Value::Decimal(limit))])
        };
        check(&engine, &asks("corp.ann", &["junior"], 5), Ok(&["claims.cedar:1"]));
        check(&engine, &asks("corp.ann", &["junior"], 4), Err((&["limit"], None)));
        check(&engine, &asks("corp.ann", &["clerk"], 5), Err((&[], None)));
        check(&engine, &asks("corp.eve", &["junior"], 5), Err((&["eve"], None)));
        // What is said of who asked first is not said of the agent.
        let agent = Asked::new("corp.mia", Kind::Model, "small").on_behalf_of("corp.ann", &["corp.mia"]);
        let agent = guest(agent, &["junior"], &[("approval_limit", Value::Decimal(5))]);
        check_error(&engine, &agent, "there is no principal `corp.mia`");
    }

    #[test]
    fn a_guest_can_share_the_class_of_somebody_else_and_never_of_a_different_one() {
        let engine = fixture::engine(r#"permit(principal in Role::"junior", action, resource);"#, &with_issuer());
        let of = |roles: &[&str]| guest(Asked::new("corp.ann", Kind::Model, "small"), roles, &[]);
        let number =
            |asked: &Asked| engine.population.guest(&asked.principal, asked.profile.as_ref().unwrap()).unwrap().number;
        let ann = engine.population.actor(&"ann".parse().unwrap()).unwrap().number;
        assert_eq!(number(&of(&["adjuster", "junior"])), ann);
        assert_ne!(number(&of(&["junior"])), ann);
        assert_eq!(number(&of(&["junior"])), number(&of(&["junior"])));
    }

    #[test]
    fn what_an_issuer_can_say_is_what_rules_may_read() {
        let check = |rule: &str, expected: &[&str]| {
            assert_eq!(fixture::problems(rule, &with_issuer()), expected, "{rule}");
        };
        let when = |condition: &str| format!("permit(principal, action, resource) when {{ {condition} }};");
        check(&when("principal.approval_limit.lessThan(decimal(\"1.0\"))"), &[]);
        check(&when("principal has grade && principal.grade > 1"), &[]);
        check(&when("principal == Principal::\"corp.anybody\" && principal in Role::\"clerk\""), &[]);
        for (condition, expected) in [
            ("principal.grade > 1", "optional attribute `grade`"),
            ("principal has grade && principal.grade == \"x\"", "not compatible"),
            ("principal == Principal::\"crop.ann\"", "there is no `Principal::\"crop.ann\"`"),
            ("principal in Role::\"clark\"", "did you mean `Role::\"clerk\"`"),
        ] {
            let found = fixture::problems(&when(condition), &with_issuer());
            assert!(found.len() == 1 && found[0].contains(expected), "{condition}: {found:?}");
        }
        let mut facts = with_issuer();
        let field = portcullis_domain::policy::Field {
            ty: portcullis_domain::policy::Type::Text,
            required: true,
            nullable: false,
        };
        facts.issuers[0].attributes.insert("region".to_owned(), field.clone());
        assert_eq!(fixture::problems("", &facts), Vec::<String>::new());
        facts.issuers[0].attributes.insert("approval_limit".to_owned(), field);
        assert_eq!(
            fixture::problems("", &facts),
            ["principals: the attribute `approval_limit` is a decimal for `ann` and text for `corp.`"]
        );
    }

    #[test]
    fn engines_are_shared_between_threads() {
        fn is_shared<T: Send + Sync>(_: &T) {}
        let engine = claims(CLAIMS);
        is_shared(&engine);
        let asked = payment("ann", 100_000_100);
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| check(&engine, &asked, Err((&["limit"], Some(ESCALATE)))));
            }
        });
    }
}
