//! The claims adjuster, for tests.

use std::sync::Arc;

use portcullis_domain::authority::{Chain, Credential};
use portcullis_domain::call::{Capability, Door, Kind, Place};
use portcullis_domain::ids::{PrincipalName, SessionId};
use portcullis_domain::policy::{Arguments, Decision, Moment, Question, RecordType, Said, Value};
use portcullis_domain::profile::Profile;
use serde_json::json;

use crate::{Engine, Facts, Principal, Problem, Source, Tool, compile};

/// Rules of the reference story.
pub(crate) const CLAIMS: &str = r#"
permit(principal in Role::"adjuster", action in Action::"call_tool", resource in Server::"claims");

@id("limit")
@message("Limit Exceeded. Escalate to Manager.")
forbid(principal in Role::"junior", action == Action::"claims__approve_payment", resource)
when { context.arguments.amount.greaterThan(decimal("10000.0")) };
"#;

/// Who and what there is in it.
pub(crate) fn claims() -> Facts {
    let mut ann = principal("ann", &["adjuster", "junior"]);
    ann.attributes.insert("approval_limit".to_owned(), Value::Decimal(100_000_000));
    let mut mia = principal("mia", &["adjuster", "manager"]);
    mia.attributes.insert("approval_limit".to_owned(), Value::Decimal(1_000_000_000));
    mia.attributes.insert("region".to_owned(), Value::Text("north".to_owned()));
    let payment = json!({
        "type": "object",
        "properties": {
            "amount": {"type": "number"}, "claim": {"type": "string"}, "note": {"type": ["string", "null"]},
            "raw": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        },
        "required": ["amount", "claim"],
    });
    let count = json!({"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]});
    Facts {
        principals: vec![ann, mia],
        issuers: Vec::new(),
        tools: vec![
            tool("claims", "approve_payment", &payment),
            tool("claims", "list", &count),
            tool("mail", "send", &json!({})),
        ],
        models: vec!["gpt-4o".to_owned(), "small".to_owned()],
        agents: vec!["adjuster".to_owned()],
        unreachable_servers: Vec::new(),
        stated: [("claim".to_owned(), vec!["claim".to_owned(), "status".to_owned()])].into(),
        mode: crate::Mode::Enforce,
    }
}

pub(crate) fn principal(name: &str, roles: &[&str]) -> Principal {
    let roles = roles.iter().map(|role| role.parse().unwrap()).collect();
    Principal { name: name.parse().unwrap(), roles, attributes: Arguments::new() }
}

pub(crate) fn tool(server: &str, name: &str, schema: &serde_json::Value) -> Tool {
    let arguments = RecordType::of_schema(schema);
    Tool {
        server: server.parse().unwrap(),
        name: name.to_owned(),
        arguments,
        read_only: None,
        destructive: None,
        idempotent: None,
    }
}

pub(crate) fn source(text: &str) -> Source {
    Source { file: "claims.cedar".to_owned(), text: text.to_owned() }
}

pub(crate) fn engine(text: &str, facts: &Facts) -> Engine {
    compile(&[source(text)], facts).unwrap_or_else(|problems| panic!("{}", shown(&problems).join("\n")))
}

/// What is said of rules, errors and warnings.
pub(crate) fn problems(text: &str, facts: &Facts) -> Vec<String> {
    match compile(&[source(text)], facts) {
        Ok(engine) => shown(engine.warnings()),
        Err(problems) => shown(&problems),
    }
}

fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

/// A question that owns its parts.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) principal: PrincipalName,
    pub(crate) credential: Credential,
    pub(crate) profile: Option<Profile>,
    pub(crate) capability: Capability,
    pub(crate) arguments: Option<Arguments>,
    pub(crate) session: SessionId,
    pub(crate) door: Door,
    pub(crate) place: Place,
    pub(crate) through: Vec<PrincipalName>,
    pub(crate) moment: Moment,
    pub(crate) said: Option<Said>,
}

impl Asked {
    pub(crate) fn new(principal: &str, kind: Kind, name: &str) -> Self {
        Self {
            principal: principal.parse().unwrap(),
            credential: "0123".parse().unwrap(),
            profile: None,
            capability: Capability { kind, name: Arc::from(name) },
            arguments: None,
            session: "ann:claim-99".parse().unwrap(),
            door: Door::Mcp,
            place: Place::Request,
            through: Vec::new(),
            moment: Moment::default(),
            said: None,
        }
    }

    /// The same in a session of that owner, by these agents for them.
    pub(crate) fn on_behalf_of(mut self, subject: &str, through: &[&str]) -> Self {
        self.session.owner = subject.parse().unwrap();
        self.through = through.iter().map(|name| name.parse().unwrap()).collect();
        self
    }

    pub(crate) fn with(mut self, arguments: &[(&str, Value)]) -> Self {
        self.arguments = Some(arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
        self
    }

    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            chain: self.chain(),
            principal: &self.principal,
            profile: self.profile.as_ref(),
            capability: &self.capability,
            arguments: self.arguments.as_ref(),
            session: &self.session,
            door: self.door,
            said: self.said.as_ref(),
            place: self.place,
            moment: &self.moment,
        }
    }

    fn chain(&self) -> Chain<'_> {
        let subject = if self.through.is_empty() { &self.principal } else { &self.session.owner };
        Chain { subject, through: &self.through, credential: &self.credential, scope: None }
    }

    pub(crate) fn decide(&self, engine: &Engine) -> Decision {
        engine.decide(&self.question())
    }
}

/// The call of the story: `approve_payment` of so many ten-thousandths.
pub(crate) fn payment(principal: &str, amount: i64) -> Asked {
    let arguments = [("amount", Value::Decimal(amount)), ("claim", Value::Text("claim-99".to_owned()))];
    Asked::new(principal, Kind::Tool, "claims__approve_payment").with(&arguments)
}
