//! Holds the engine against Cedar itself: its authorizer over *all* rules as they were written, over all entities, with the
//! whole context and Cedar's own decimals. Whatever `slice`, `scope`, `reads`, `lower` and `population` leave out or replace
//! must not be missed.

use std::collections::{BTreeMap, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision as Answer, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
    Schema,
};
use portcullis_domain::call::{Door, Kind, Place};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Arguments, Ask, Decision, Effect, Moment, Said, Value};
use portcullis_domain::time::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::fixture::{self, Asked};
use crate::{Engine, Facts};

/// Cedar with everything.
pub(crate) struct Oracle {
    policies: PolicySet,
    entities: Entities,
    schema: Schema,
    /// The rules in the order of the text.
    order: Vec<Written>,
}

/// What stands before a rule.
struct Written {
    id: String,
    message: Option<String>,
    ask: Option<Ask>,
}

/// Effect, rules, message, who is asked, and errors.
pub(crate) type Parts = (Effect, Vec<String>, Option<String>, Vec<Ask>, Vec<String>);

fn uid(ty: &str, name: &str) -> EntityUid {
    format!("{ty}::{name:?}").parse().unwrap()
}

fn expression(value: &Value) -> RestrictedExpression {
    match value {
        Value::Text(text) => RestrictedExpression::new_string(text.clone()),
        Value::Bool(yes) => RestrictedExpression::new_bool(*yes),
        Value::Long(number) => RestrictedExpression::new_long(*number),
        Value::Decimal(number) => {
            let (sign, number) = (if *number < 0 { "-" } else { "" }, number.unsigned_abs());
            RestrictedExpression::new_decimal(format!("{sign}{}.{:04}", number / 10_000, number % 10_000))
        }
        Value::Set(values) => RestrictedExpression::new_set(values.iter().map(expression)),
        Value::Record(members) => RestrictedExpression::new_record(attributes(members)).unwrap(),
    }
}

fn attributes(members: &Arguments) -> HashMap<String, RestrictedExpression> {
    members.iter().map(|(name, value)| (name.clone(), expression(value))).collect()
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn long(number: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(number).unwrap())
}

fn record<const N: usize>(members: [(&str, RestrictedExpression); N]) -> RestrictedExpression {
    RestrictedExpression::new_record(members.map(|(name, value)| (name.to_owned(), value))).unwrap()
}

/// The whole context but for the arguments.
fn context(asked: &Asked) -> Vec<(String, RestrictedExpression)> {
    let (question, at) = (asked.question(), asked.moment.at.unwrap());
    let session = record([
        ("owner", text(asked.session.owner.as_str())),
        ("name", text(asked.session.name.as_str())),
        ("calls", long(asked.moment.calls.unwrap())),
        ("refused", long(asked.moment.refused.unwrap())),
        ("age_s", long(asked.moment.age_s.unwrap())),
        ("spent", expression(&Value::Decimal(asked.moment.spent.unwrap().nanos() as i64 / 100_000))),
        (
            "labels",
            RestrictedExpression::new_set(asked.moment.labels.iter().flatten().map(|label| text(label.as_str()))),
        ),
    ]);
    let date = at.to_string();
    let part = |range: std::ops::Range<usize>| date[range].replace('-', "").parse::<u64>().unwrap();
    let time = record([
        ("date", long(part(0..10))),
        ("weekday", long((at.0 / 86_400_000_000 + 3) % 7 + 1)),
        ("hour", long(part(11..13))),
        ("minute", long(part(14..16))),
        ("unix_s", long(at.0 / 1_000_000)),
    ]);
    let members = [
        ("subject", RestrictedExpression::new_entity_uid(uid("Principal", question.chain.subject.as_str()))),
        ("depth", long(asked.through.len() as u64)),
        ("through", RestrictedExpression::new_set(asked.through.iter().map(|name| text(name.as_str())))),
        ("session", session),
        ("time", time),
        ("door", text(asked.door.as_str())),
        ("protocol", text(asked.door.as_str())),
        ("place", text(asked.place.as_str())),
    ];
    members.map(|(name, value)| (name.to_owned(), value)).into()
}

impl Oracle {
    /// Every rule of `rules` must have an `@id`.
    pub(crate) fn new(rules: &str, schema_text: &str, facts: &Facts) -> Self {
        let schema = Schema::from_cedarschema_str(schema_text).unwrap().0;
        let mut policies = PolicySet::new();
        for policy in rules.parse::<PolicySet>().unwrap().policies() {
            policies.add(policy.new_id(cedar_policy::PolicyId::new(policy.annotation("id").unwrap()))).unwrap();
        }
        let mut order: Vec<_> = policies
            .policies()
            .map(|policy| {
                let at = rules.find(&format!("@id({:?})", policy.annotation("id").unwrap())).unwrap();
                let approvals = policy.annotation("approvals").map_or(1, |number| number.parse().unwrap());
                let by_client = policy.annotation("approver").is_some();
                let ask =
                    policy.annotation("ask").map(|role| Ask { role: role.parse().unwrap(), approvals, by_client });
                let message = policy.annotation("message").map(str::to_owned);
                (at, Written { id: policy.id().to_string(), message, ask })
            })
            .collect();
        order.sort_by_key(|(at, _)| *at);
        let principals = facts.principals.iter().map(|principal| {
            let roles: HashSet<_> = principal.roles.iter().map(|role| uid("Role", role.as_str())).collect();
            Entity::new(uid("Principal", principal.name.as_str()), attributes(&principal.attributes), roles).unwrap()
        });
        let tools = facts.tools.iter().map(|tool| {
            let server = HashSet::from([uid("Server", tool.server.as_str())]);
            Entity::new(uid("Tool", &tool.capability_name()), attributes(&tool.attributes()), server).unwrap()
        });
        let entities = Entities::from_entities(principals.chain(tools), Some(&schema)).unwrap();
        Self { policies, entities, schema, order: order.into_iter().map(|(_, written)| written).collect() }
    }

    pub(crate) fn decide(&self, asked: &Asked) -> Parts {
        let name: &str = &asked.capability.name;
        let (action, resource) = match asked.capability.kind {
            Kind::Model => ("call_model", "Model"),
            Kind::Tool => (name, "Tool"),
            Kind::Agent => ("call_agent", "Agent"),
            Kind::Function => ("call_function", "Function"),
        };
        let mut context = context(asked);
        if let Some(arguments) = &asked.arguments {
            context.push(("arguments".to_owned(), RestrictedExpression::new_record(attributes(arguments)).unwrap()));
            let said = asked.said.as_ref().unwrap();
            let origin = |(name, value): (&String, &Value)| (name.clone(), text(said.origin(value).as_str()));
            let origins = RestrictedExpression::new_record(arguments.iter().map(origin)).unwrap();
            context.push(("origins".to_owned(), origins));
            let claim = |values: &Vec<String>| record([("claim", text(&values[0])), ("status", text(&values[1]))]);
            let claims = RestrictedExpression::new_set(said.stated.records("claim").map(claim));
            let known = RestrictedExpression::new_set(said.stated.records("known").map(|values| text(&values[0])));
            context.push(("stated".to_owned(), record([("claim", claims), ("known", known)])));
        }
        let request = Request::new(
            uid("Principal", asked.principal.as_str()),
            uid("Action", action),
            uid(resource, name),
            Context::from_pairs(context).unwrap(),
            Some(&self.schema),
        );
        let response = Authorizer::new().is_authorized(&request.unwrap(), &self.policies, &self.entities);
        let mut errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        errors.sort();
        let is_allowed = response.decision() == Answer::Allow && errors.is_empty();
        let reasons: HashSet<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        // What permits does not decide where an error denies, nor a plain permit where another one asks.
        let holds = |rule: &&Written| reasons.contains(&rule.id) && (is_allowed || response.decision() == Answer::Deny);
        let holding: Vec<&Written> = self.order.iter().filter(holds).collect();
        let asks = is_allowed && holding.iter().any(|rule| rule.ask.is_some());
        let deciding: Vec<&Written> = holding.into_iter().filter(|rule| !asks || rule.ask.is_some()).collect();
        let effect = match (is_allowed, asks) {
            (true, false) => Effect::Allow,
            (true, true) => Effect::Ask,
            (false, _) => Effect::Deny,
        };
        let message = deciding.iter().filter(|_| effect != Effect::Allow).find_map(|rule| rule.message.clone());
        let mut most: BTreeMap<_, (u8, bool)> = BTreeMap::new();
        for ask in deciding.iter().filter_map(|rule| rule.ask.as_ref()) {
            let (approvals, by_client) = most.entry(ask.role.clone()).or_insert((0, true));
            *approvals = ask.approvals.max(*approvals);
            *by_client &= ask.by_client;
        }
        let asked = most.into_iter().map(|(role, (approvals, by_client))| Ask { role, approvals, by_client }).collect();
        (effect, deciding.iter().map(|rule| rule.id.clone()).collect(), message, asked, errors)
    }
}

const PRINCIPALS: [&str; 10] = [
    "principal",
    "principal",
    "principal == Principal::\"ann\"",
    "principal == Principal::\"nobody\"",
    "principal in Role::\"junior\"",
    "principal in Role::\"adjuster\"",
    "principal in Role::\"nothing\"",
    "principal is Principal",
    "principal is Principal in Role::\"manager\"",
    "principal in Principal::\"mia\"",
];

/// Action and resource, and whether the arguments are those of `approve_payment`.
const CAPABILITIES: [(&str, &str, bool); 15] = [
    ("action", "resource", false),
    ("action", "resource", false),
    ("action", "resource in Server::\"claims\"", false),
    ("action", "resource == Function::\"web\"", false),
    ("action", "resource is Model", false),
    ("action", "resource is Tool in Server::\"mail\"", false),
    ("action in Action::\"call_tool\"", "resource", false),
    ("action in Action::\"call_tool\"", "resource == Tool::\"claims__list\"", false),
    ("action == Action::\"call_model\"", "resource == Model::\"small\"", false),
    ("action == Action::\"call_function\"", "resource", false),
    ("action in [Action::\"call_model\", Action::\"claims__list\"]", "resource", false),
    ("action == Action::\"claims__list\"", "resource", false),
    ("action == Action::\"claims__approve_payment\"", "resource", true),
    ("action == Action::\"claims__approve_payment\"", "resource in Server::\"claims\"", true),
    ("action in [Action::\"claims__approve_payment\"]", "resource is Tool", true),
];

/// What any rule may ask.
const CONDITIONS: [&str; 34] = [
    "true",
    "context.door == \"mcp\"",
    "context.place == \"request\" || context.door == \"openai\"",
    "context.session.owner == \"ann\"",
    "context.session == {owner: \"ann\", name: \"claim-99\", calls: 1, refused: 0, age_s: 0, spent: decimal(\"0.5\"), labels: [\"untrusted\"]}",
    "context.session.labels.contains(\"untrusted\")",
    "context.session.spent.greaterThan(decimal(\"0.9999\"))",
    "context.session.calls + context.session.refused > 2",
    "context.session has age_s && context.session.age_s >= 60",
    "context.time.weekday <= 5 && context.time.hour >= 8",
    "context.time.date > 20260101 && context.time.unix_s > 5",
    "context.depth <= 1 && context.through.contains(\"bob\")",
    "context.subject == Principal::\"ann\"",
    "context.subject == principal",
    "context.subject in Role::\"manager\" || context.subject.level > 3",
    "context.protocol == context.door",
    "context has arguments",
    "context has arguments.amount && context.arguments.amount.greaterThan(decimal(\"9.9999\"))",
    "context has arguments && context.arguments has count && context.arguments.count > 2",
    "principal in Role::\"junior\"",
    "principal == Principal::\"mia\"",
    "principal in [Principal::\"eve\", Principal::\"ann\"]",
    "principal.limit.lessThan(decimal(\"10000.0\"))",
    "(if principal.level > 3 then context else context).door == \"mcp\"",
    "principal.limit == decimal(\"10000.00\")",
    "Principal::\"mia\".limit.greaterThan(principal.limit)",
    "Principal::\"mia\" in Role::\"junior\"",
    "Tool::\"mail__send\" in Server::\"mail\" && Tool::\"mail__send\" has read_only && Tool::\"mail__send\".read_only",
    "principal has region && principal.region like \"n*\"",
    "principal.areas.contains(\"north\")",
    "principal.steps.containsAny([decimal(\"1.5\"), decimal(\"-2.0\")])",
    "principal.level + 9223372036854775800 > 0",
    "action in Action::\"call_tool\" && resource is Tool && resource has read_only && resource.read_only",
    "resource is Function && resource in [Function::\"web\", Function::\"shell\"]",
];

/// What a rule about `approve_payment` may ask.
const ARGUMENT_CONDITIONS: [&str; 15] = [
    "context.arguments has note && context.stated.known.contains(context.arguments.note)",
    "context.stated.claim.contains({claim: \"open\", status: \"new\"}) || context.stated.claim.isEmpty()",
    "context.arguments has note && context.stated.claim.contains({claim: context.arguments.note, status: \"new\"})",
    "context.origins.amount == \"user\"",
    "context.origins has note && [\"user\", \"trusted\"].contains(context.origins.note)",
    "context.arguments.amount.greaterThan(decimal(\"10000.0\"))",
    "context.arguments.amount.lessThanOrEqual(principal.limit)",
    "principal.limit.greaterThanOrEqual(context.arguments.amount)",
    "context.arguments has note && context.arguments.note like \"x*\"",
    "context.arguments has payee && context.arguments.payee.country == \"DE\"",
    "context.arguments has payee.share && context.arguments.payee.share.lessThan(decimal(\"0.5\"))",
    "context.arguments has rates && context.arguments.rates.contains(decimal(\"1.50\"))",
    "context.arguments has rates && principal.steps.containsAll(context.arguments.rates)",
    "context.arguments has count && context.arguments.count * 4611686018427387904 > 0",
    "if context.arguments.amount == decimal(\"1.0\") then context.door == \"mcp\" else principal.level > 3",
];

pub(crate) fn facts() -> Facts {
    let stated = [("claim", vec!["claim", "status"]), ("known", vec!["word"])];
    let stated = stated.map(|(name, fields)| (name.to_owned(), fields.into_iter().map(str::to_owned).collect())).into();
    let mut facts = Facts { stated, models: vec!["small".to_owned(), "large".to_owned()], ..Facts::default() };
    let people: [(&str, &[&str], i64, i64); 6] = [
        ("ann", &["junior", "adjuster"], 100_000_000, 1),
        ("bob", &["junior", "adjuster"], 100_000_000, 1),
        ("cid", &["adjuster", "junior"], 100_000_000, 9),
        ("mia", &["manager"], 900_000_000, 5),
        ("eve", &["manager", "junior"], -5, 8),
        ("tom", &[], 0, 0),
    ];
    for (name, roles, limit, level) in people {
        let mut principal = fixture::principal(name, roles);
        let areas = if level > 4 { vec![Value::Text("north".to_owned())] } else { Vec::new() };
        let steps = vec![Value::Decimal(15_000), Value::Decimal(level * 10_000)];
        let all = [
            ("limit", Value::Decimal(limit)),
            ("level", Value::Long(level)),
            ("areas", Value::Set(areas)),
            ("steps", Value::Set(steps)),
        ];
        principal.attributes = all.map(|(name, value)| (name.to_owned(), value)).into();
        if level == 5 {
            principal.attributes.insert("region".to_owned(), Value::Text("north".to_owned()));
        }
        facts.principals.push(principal);
    }
    let payment = json!({"type": "object", "required": ["amount"], "properties": {
        "amount": {"type": "number"}, "note": {"type": "string"}, "count": {"type": "integer"},
        "rates": {"type": "array", "items": {"type": "number"}},
        "payee": {"type": "object", "required": ["country"], "properties": {"country": {"type": "string"}, "share": {"type": "number"}}},
    }});
    facts.tools.push(fixture::tool("claims", "approve_payment", &payment));
    facts.tools.push(fixture::tool(
        "claims",
        "list",
        &json!({"type": "object", "properties": {"count": {"type": "integer"}}}),
    ));
    facts.tools.push(fixture::tool("mail", "send", &json!({"type": "object"})));
    facts.tools[1].read_only = Some(true);
    facts.tools[2].read_only = Some(false);
    facts
}

prop_compose! {
    pub(crate) fn rule()(
        forbids in prop::bool::weighted(0.35),
        principal in prop::sample::select(&PRINCIPALS[..]),
        (action, resource, has_arguments) in prop::sample::select(&CAPABILITIES[..]),
        parts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 0..4),
        unless in any::<bool>(),
        message in prop::option::of("[a-c]"),
        ask in prop::option::weighted(0.4, (prop::sample::select(&["manager", "auditor"][..]), prop::option::of(1_u8..4), any::<bool>())),
    ) -> String {
        let mut all = CONDITIONS.to_vec();
        if action.contains("claims__list") {
            // What its arguments don't have is no guard but an error.
            all.retain(|condition| !condition.contains("amount"));
        }
        if has_arguments {
            all.extend(ARGUMENT_CONDITIONS);
        }
        let mut condition = String::new();
        for (index, is_negated, is_or) in parts {
            let joint = if condition.is_empty() { "" } else if is_or { " || " } else { " && " };
            let not = if is_negated { "!" } else { "" };
            condition = format!("{condition}{joint}{not}({})", index.get(&all));
        }
        let effect = if forbids { "forbid" } else { "permit" };
        let ask = ask.filter(|_| !forbids);
        let message = message.filter(|_| forbids || ask.is_some());
        let message = message.map(|message| format!("@message({message:?}) ")).unwrap_or_default();
        let ask = ask.map(|(role, approvals, by_client)| {
            let approvals = approvals.map(|number| format!("@approvals(\"{number}\") ")).unwrap_or_default();
            let approver = if by_client { "@approver(\"client\") " } else { "" };
            format!("@ask({role:?}) {approvals}{approver}")
        });
        let ask = ask.unwrap_or_default();
        let word = if unless { "unless" } else { "when" };
        let condition = if condition.is_empty() { condition } else { format!(" {word} {{ {condition} }}") };
        format!("{message}{ask}{effect}({principal}, {action}, {resource}){condition};")
    }
}

prop_compose! {
    pub(crate) fn question()(
        principal in prop::sample::select(&["ann", "bob", "cid", "mia", "eve", "tom"][..]),
        capability in 0_usize..9,
        amount in prop::sample::select(&[0, 10_000, 99_999, 100_000, 100_000_000, 100_000_001, -5, i64::MAX, i64::MIN][..]),
        note in prop::option::of("[xy]{0,2}"),
        payee in prop::option::of((prop::sample::select(&["DE", "FR"][..]), prop::option::of(0_i64..10_000))),
        rates in prop::option::of(prop::collection::vec(prop::sample::select(&[15_000_i64, 10_000, -20_000][..]), 0..3)),
        count in prop::option::of(0_i64..4),
        session in prop::sample::select(&["ann:claim-99", "ann:x", "bob:claim-99"][..]),
        is_mcp in any::<bool>(),
        is_request in any::<bool>(),
        through in prop::sample::select(vec![vec![], vec!["bob"], vec!["bob", "mia"]]),
        (calls, refused, spent) in (0_u64..3, 0_u64..3, prop::sample::select(&[0_u64, 500_000_000, 1_000_000_000][..])),
        (age_s, at) in (0_u64..90, 1_700_000_000_u64..1_900_000_000),
        (is_labelled, words) in (any::<bool>(), prop::sample::select(&["", "x", "pay 10000 or 1.5"][..])),
    ) -> Asked {
        let count = count.map(|count| ("count".to_owned(), Value::Long(count)));
        let share = |share: Option<i64>| share.map(|share| ("share".to_owned(), Value::Decimal(share)));
        let payee = payee.map(|(country, part)| {
            let country = ("country".to_owned(), Value::Text(country.to_owned()));
            ("payee".to_owned(), Value::Record(share(part).into_iter().chain([country]).collect()))
        });
        let rates = rates.map(|rates| ("rates".to_owned(), Value::Set(rates.into_iter().map(Value::Decimal).collect())));
        let note = note.map(|note| ("note".to_owned(), Value::Text(note)));
        let amount = ("amount".to_owned(), Value::Decimal(amount));
        let payment: BTreeMap<_, _> = [amount].into_iter().chain(note).chain(payee).chain(rates).chain(count.clone()).collect();
        let (kind, name, arguments) = match capability {
            0 => (Kind::Model, "small", None),
            1 => (Kind::Model, "large", None),
            2 => (Kind::Function, "web", None),
            3 => (Kind::Function, "never heard of", None),
            4 => (Kind::Tool, "mail__send", Some(Arguments::new())),
            5 => (Kind::Tool, "claims__list", Some(count.into_iter().collect())),
            _ => (Kind::Tool, "claims__approve_payment", Some(payment)),
        };
        let mut asked = Asked::new(principal, kind, name);
        asked.arguments = arguments;
        asked.session = session.parse().unwrap();
        asked.door = if is_mcp { Door::Mcp } else { Door::Openai };
        asked.place = if is_request { Place::Request } else { Place::ModelAnswer };
        asked.through = through.iter().map(|name| name.parse().unwrap()).collect();
        asked.moment = Moment {
            at: Some(Timestamp(at * 1_000_000)),
            age_s: Some(age_s),
            spent: Some(Nanodollars::new(spent)),
            calls: Some(calls),
            refused: Some(refused),
            labels: Some(is_labelled.then(|| "untrusted".parse().unwrap()).into_iter().collect()),
        };
        let mut said = Said::default();
        said.by_user(words);
        for word in words.split_whitespace().map(str::to_owned) {
            said.stated.take("claim", [(word.clone(), Some(vec![word.clone(), "new".to_owned()]))]);
            said.stated.take("known", [(word.clone(), Some(vec![word]))]);
        }
        asked.said = Some(said);
        asked
    }
}

fn engine(rules: &str) -> Engine {
    fixture::engine(rules, &facts())
}

pub(crate) fn parts(decision: Decision) -> Parts {
    (decision.effect, decision.policies, decision.message, decision.asks, decision.errors)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_as_cedar_does_with_everything(
        rules in prop::collection::vec(rule(), 1..12),
        questions in prop::collection::vec(question(), 1..40),
    ) {
        let rules: Vec<String> = rules.iter().enumerate().map(|(number, rule)| format!("@id(\"r{number}.\") {rule}")).collect();
        let rules = rules.join("\n");
        let engine = engine(&rules);
        let oracle = Oracle::new(&rules, engine.schema_text(), &facts());
        for asked in questions {
            prop_assert_eq!(parts(asked.decide(&engine)), oracle.decide(&asked), "{}\n{:?}", rules, asked);
        }
    }
}
