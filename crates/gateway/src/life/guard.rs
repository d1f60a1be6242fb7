//! Guardrails in the way of a call: after policy has allowed it and before it is admitted, and once there is an answer and before anybody hears it.
//!
//! What they make of a request is what policy is asked about, what is journaled and what goes out; what they make of an answer is what the session has heard.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_domain::call::{Capability, Place};
use portcullis_domain::policy::{Effect, Guarded, Point};
use portcullis_domain::refusal::Refusal;
use portcullis_interop::llm::chat::ChatRequest;
use portcullis_interop::refuse;
use serde_json::Value;

use crate::asking::Asking;
use crate::guardrails::rule::{Check, Service};
use crate::guardrails::{Content, Rule, Ruling, service};
use crate::life::Gate;
use crate::life::guarding::{Guarding, Notes, Prompt};
use crate::registry::Tool;
use crate::reply::ToolAnswer;
use crate::snapshot::{Setting, Snapshot};

/// The largest answer of a service, in bytes.
const ANSWER_LIMIT_BYTES: usize = 16 << 20;

impl Gate {
    /// The request as it may go to the model, or to the agent that is called like one.
    pub async fn prompt(&self, asking: &Asking, request: ChatRequest) -> Prompt {
        let snapshot = self.snapshot.load_full();
        let as_it_is = |request| Prompt { request, guarding: Guarding::unseen(Point::ModelIn) };
        let Some(capability) = self.asked(&snapshot, asking, request.model()) else { return as_it_is(request) };
        let rules = snapshot.guardrails.at(Point::ModelIn, &capability);
        if rules.is_empty() || !self.may_ask(&snapshot, asking, &request).await {
            return as_it_is(request);
        }
        let content = Content::Json(request.raw_messages().to_owned());
        let mut notes = Notes::default();
        let made = self.guard(asking, &rules, (Point::ModelIn, &capability), content, &mut notes).await;
        let made = made.and_then(|content| {
            let is_same = content.as_str() == request.raw_messages();
            if is_same { Ok(request.clone()) } else { request.with_messages(content.as_str()) }
        });
        match made {
            Ok(request) => Prompt { request, guarding: Guarding::seen(notes, None) },
            Err(refusal) => Prompt { request, guarding: Guarding::seen(notes, Some(refusal)) },
        }
    }

    /// What is asked when that name is.
    fn asked(&self, snapshot: &Snapshot, asking: &Asking, name: &str) -> Option<Capability> {
        let model = snapshot.catalogue.model(name).map(|model| model.capability.clone());
        model.or_else(|| self.chat_agent(snapshot, asking, name).map(|agent| agent.capability.clone()))
    }

    /// Whether policy lets the request through as it is. Where it does not, no service learns of it.
    async fn may_ask(&self, snapshot: &Snapshot, asking: &Asking, request: &ChatRequest) -> bool {
        let know = |snapshot: &Snapshot, setting: &Setting| match (
            snapshot.catalogue.model(request.model()),
            self.chat_agent(snapshot, asking, request.model()),
        ) {
            (None, Some(agent)) => snapshot.know_agent(asking, setting, Place::Request, &agent),
            (model, _) => snapshot.know_chat(asking, setting, model.map(AsRef::as_ref), request),
        };
        let known = self.judged(asking, snapshot, know).await;
        known.obstacle.is_none() && known.decision.effect != Effect::Deny
    }

    /// The arguments as they may go to the tool.
    pub(super) async fn guard_arguments(&self, asking: &Asking, tool: &Tool, raw: Bytes) -> (Bytes, Guarding) {
        let snapshot = self.snapshot.load_full();
        let rules = snapshot.guardrails.at(Point::ToolIn, &tool.capability);
        let Some(text) = std::str::from_utf8(&raw).ok().filter(|_| !rules.is_empty()) else {
            return (raw, Guarding::unseen(Point::ToolIn));
        };
        let know =
            |snapshot: &Snapshot, setting: &Setting| snapshot.know_tool(asking, setting, Place::Request, tool, text);
        let known = self.judged(asking, &snapshot, know).await;
        if known.obstacle.is_some() || known.decision.effect == Effect::Deny {
            return (raw, Guarding::unseen(Point::ToolIn));
        }
        let content = Content::Json(if text.is_empty() { "{}".to_owned() } else { text.to_owned() });
        let mut notes = Notes::default();
        match self.guard(asking, &rules, (Point::ToolIn, &tool.capability), content, &mut notes).await {
            Ok(content) if content.as_str() == text => (raw, Guarding::seen(notes, None)),
            Ok(content) => (content.into_string().into(), Guarding::seen(notes, None)),
            Err(refusal) => (raw, Guarding::seen(notes, Some(refusal))),
        }
    }

    /// The arguments of a call inside a model's answer, as they may go to whatever it may mean.
    ///
    /// # Errors
    ///
    /// That the call is not to be made.
    pub(super) async fn guard_call(
        &self,
        (snapshot, asking): (&Snapshot, &Asking),
        name: &str,
        arguments: &str,
        notes: &mut Notes,
    ) -> Result<String, Refusal> {
        let meant = snapshot.catalogue.meant(name).iter().map(|tool| tool.capability.clone());
        let mut meant: Vec<Capability> = meant.collect();
        if meant.is_empty() {
            meant.push(crate::registry::Catalogue::function(name));
        }
        let mut content = Content::of_arguments(arguments);
        for capability in &meant {
            let rules = snapshot.guardrails.at(Point::ToolIn, capability);
            content = self.guard(asking, &rules, (Point::ToolIn, capability), content, notes).await?;
        }
        Ok(content.into_string())
    }

    /// What a tool has answered, as it may be heard. In place of what may not, the model reads why.
    pub(super) async fn guard_result(
        &self,
        asking: &Asking,
        tool: &Tool,
        answer: ToolAnswer,
        notes: &mut Notes,
    ) -> ToolAnswer {
        let rules = self.snapshot.load().guardrails.at(Point::ToolOut, &tool.capability);
        if rules.is_empty() {
            return answer;
        }
        let raw = match &answer {
            ToolAnswer::Result(raw) => raw.clone(),
            ToolAnswer::Error { message, data, .. } => {
                let data = data.as_deref().unwrap_or("null");
                format!("{{\"message\":{},\"data\":{data}}}", Value::from(message.as_str()))
            }
        };
        let at = (Point::ToolOut, &tool.capability);
        let made = self.guard(asking, &rules, at, Content::Json(raw.clone()), notes).await;
        match (made, answer) {
            (Err(refusal), _) => ToolAnswer::Result(refuse::mcp_tool_result(&refusal)),
            (Ok(made), answer) if made.as_str() == raw => answer,
            (Ok(made), ToolAnswer::Result(_)) => ToolAnswer::Result(made.into_string()),
            (Ok(made), ToolAnswer::Error { code, .. }) => error(code, made.as_str()),
        }
    }

    /// Lets the rules look, one after the other, each at what those before have made of it.
    ///
    /// # Errors
    ///
    /// That it goes no further.
    pub(super) async fn guard(
        &self,
        asking: &Asking,
        rules: &[Arc<Rule>],
        at: (Point, &Capability),
        mut content: Content,
        notes: &mut Notes,
    ) -> Result<Content, Refusal> {
        for rule in rules {
            if let Some(changed) = self.look(asking, rule, at, &content, notes).await? {
                content = changed;
            }
        }
        Ok(content)
    }

    /// Lets one rule look; what it has made of it, if it has changed it.
    ///
    /// # Errors
    ///
    /// That it goes no further.
    pub(super) async fn look(
        &self,
        asking: &Asking,
        rule: &Arc<Rule>,
        (point, capability): (Point, &Capability),
        content: &Content,
        notes: &mut Notes,
    ) -> Result<Option<Content>, Refusal> {
        let ruling = match &rule.check {
            Check::Detect(..) => {
                self.looks.find(rule, point, content).await.map(|found| rule.ruling(point, content, &found))
            }
            Check::Ask(service) => self.ask_service(asking, rule, service, (point, capability), content).await,
        };
        match ruling.unwrap_or_else(|fault| rule.failed(point, &fault)) {
            Ruling::Nothing => Ok(None),
            Ruling::Noted(guarded) => {
                self.noted(notes, rule, guarded);
                Ok(None)
            }
            Ruling::Changed(guarded, content) => {
                self.noted(notes, rule, guarded);
                Ok(Some(content))
            }
            Ruling::Blocked(guarded) => {
                let refusal = rule.refusal(&guarded);
                self.noted(notes, rule, guarded);
                Err(refusal)
            }
        }
    }

    /// Writes down and counts what a rule did.
    pub(super) fn noted(&self, notes: &mut Notes, rule: &Rule, guarded: Guarded) {
        if let Some(fault) = &guarded.fault {
            tracing::warn!(rule = %rule.name, at = guarded.at.as_str(), %fault, "a guardrail could not look");
        }
        self.metrics.guarded(rule.name.as_str(), guarded.at, guarded.deed);
        notes.add(rule, guarded);
    }

    async fn ask_service(
        &self,
        asking: &Asking,
        rule: &Rule,
        service: &Service,
        (point, capability): (Point, &Capability),
        content: &Content,
    ) -> Result<Ruling, String> {
        let who = (asking.chain(), &asking.session);
        let question = service::question(rule, point, capability, who, content)?;
        let authorization = service.authorization.as_ref();
        let asked = self.services.consult(&service.url, authorization, question.into(), ANSWER_LIMIT_BYTES);
        let late = |_| format!("it takes longer than {} ms", rule.timeout.as_millis());
        let answer = tokio::time::timeout(rule.timeout, asked).await.map_err(late)??;
        service::ruling(rule, point, content, &answer)
    }
}

/// An error of a tool server with other words.
fn error(code: i64, raw: &str) -> ToolAnswer {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let message = value.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    let data = value.get("data").filter(|data| !data.is_null()).map(Value::to_string);
    ToolAnswer::Error { code, message, data }
}
