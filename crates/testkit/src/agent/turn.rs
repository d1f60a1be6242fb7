//! One step: read the session, do what is next, note that it was done.

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::conversation::{Next, is_last_of_user, is_of_user, next};
use super::gateway::{CallId, Gateway, Noted, Step};
use super::narrator::{Event, Narrator};
use super::options::{AgentOptions, AgentReport};
use crate::chat::{Call, Message, Role};
use crate::http::Failure;

/// What the model is told first in a new session.
const PROMPT: &str = "You are a claims adjuster. Look up the policy and the damage report of a claim, wait for the external \
                      verification, and pay what you are told to pay.";

/// Whether there is more to do.
pub(super) enum Progress {
    Going,
    Done,
}

/// An agent at work. Nothing in it needs to survive: a new one finds all of it in the session.
pub(super) struct Agent<'a> {
    pub(super) narrator: Narrator<'a>,
    options: &'a AgentOptions,
    gateway: Gateway,
    /// Said or found out here, and not yet seen in the session's history.
    own: Vec<Message>,
    is_instruction_given: bool,
    /// What the session knew at the start of this run; none before it was read.
    start: Option<usize>,
    /// How many messages of the history have been told.
    told: usize,
    noted: Noted,
    /// A step that was done and is not yet noted.
    unnoted: Option<Step>,
    /// What the history must hold next: more messages than this, with these tool calls at their end.
    expected: Option<(usize, Vec<CallId>)>,
    answer: Option<String>,
    model_calls: u32,
    tool_calls: u32,
}

impl<'a> Agent<'a> {
    pub(super) fn new(options: &'a AgentOptions, narrator: Narrator<'a>) -> Self {
        Self {
            narrator,
            options,
            gateway: Gateway::new(options),
            own: Vec::new(),
            is_instruction_given: options.instruction.is_none(),
            start: None,
            told: 0,
            noted: Noted::default(),
            unnoted: None,
            expected: None,
            answer: None,
            model_calls: 0,
            tool_calls: 0,
        }
    }

    /// Does the next thing. After an error it can be called again and goes on from what the session then says.
    pub(super) async fn step(&mut self) -> Result<Progress, Failure> {
        if let Some(step) = &self.unnoted {
            self.noted = self.gateway.note(&self.noted, step.clone()).await?;
            self.unnoted = None;
        }
        let history = self.gateway.history().await?;
        self.meet(&history).await?;
        self.tell(&history);
        self.check(&history)?;
        let start = self.start.unwrap_or_default();
        self.own.retain(|message| !is_known(&history, start, message));

        let own = std::mem::take(&mut self.own);
        let messages: Vec<&Message> = history.iter().chain(&own).collect();
        let outcome = self.act(&messages, history.len()).await;
        // Only an answer shows that the gateway has got what was said here, and then the history shows it too.
        self.own.splice(0..0, own);
        outcome
    }

    pub(super) fn report(self, refusal: Option<String>) -> AgentReport {
        AgentReport {
            answer: self.answer,
            refusal,
            steps: self.noted.step.number,
            model_calls: self.model_calls,
            tool_calls: self.tool_calls,
        }
    }

    /// Once, at the start: where was it?
    async fn meet(&mut self, history: &[Message]) -> Result<(), Failure> {
        if self.start.is_none() {
            self.noted = self.gateway.noted().await?;
            self.start = Some(history.len());
            self.told = history.len();
            let (session, number) = (self.options.session.as_str(), self.noted.step.number);
            self.narrator.tell(&Event::Begins { session, number, messages: history.len() });
        }
        Ok(())
    }

    async fn act(&mut self, messages: &[&Message], known: usize) -> Result<Progress, Failure> {
        let next = next(messages);
        if let Next::CallTool(call) = next {
            return self.call_tool(call).await;
        }
        let instruction = self.options.instruction.as_deref().filter(|_| !self.is_instruction_given);
        if let Some(instruction) = instruction {
            let is_resumed = next == Next::AskModel && is_last_of_user(messages, instruction)
                || self.options.is_event && is_of_user(messages, instruction);
            if !is_resumed {
                if messages.is_empty() {
                    self.own.push(message(&json!({"role": "system", "content": PROMPT}))?);
                }
                self.own.push(message(&json!({"role": "user", "content": instruction}))?);
                self.narrator.tell(&Event::User { text: instruction });
            }
            self.is_instruction_given = true;
            return Ok(Progress::Going);
        }
        if let Next::Rest(text) = next {
            self.answer = text.map(str::to_owned);
            self.narrator.tell(&Event::Done { number: self.noted.step.number });
            return Ok(Progress::Done);
        }
        let calls = self.gateway.ask(messages).await?;
        self.model_calls += 1;
        self.expected = Some((known, calls));
        self.note("asked the model");
        Ok(Progress::Going)
    }

    async fn call_tool(&mut self, call: &Call) -> Result<Progress, Failure> {
        self.hold("before", self.options.hold_before.as_deref(), call).await;
        let answer = self.gateway.call_tool(&call.name, &call.arguments, &call.id).await?;
        self.tool_calls += 1;
        self.narrator.tell(&Event::Result { tool: &call.name, text: &answer.text, is_error: answer.is_error });
        self.hold("after", self.options.hold_after.as_deref(), call).await;
        self.own.push(message(&json!({"role": "tool", "tool_call_id": call.id, "content": answer.text}))?);
        self.note(&format!("called {}", call.name));
        Ok(Progress::Going)
    }

    /// Stops for good where it was told to.
    async fn hold(&mut self, moment: &'static str, tool: Option<&str>, call: &Call) {
        if tool.is_some_and(|tool| call.name.ends_with(tool)) {
            self.narrator.tell(&Event::Holds { tool: &call.name, moment });
            std::future::pending::<()>().await;
        }
    }

    fn note(&mut self, did: &str) {
        self.unnoted = Some(Step { number: self.noted.step.number + 1, did: did.to_owned() });
    }

    /// Tells what has come into the history since it was last read, but for what was told when it was said here.
    fn tell(&mut self, history: &[Message]) {
        for said in history.iter().skip(self.told) {
            if self.own.iter().any(|own| is_same(own, said)) {
                continue;
            }
            match said.role {
                Role::System => self.narrator.tell(&Event::Gateway { text: &said.text }),
                Role::User => self.narrator.tell(&Event::User { text: &said.text }),
                Role::Tool => {
                    let tool = tool_name(history, said);
                    self.narrator.tell(&Event::Result { tool, text: &said.text, is_error: false });
                }
                Role::Assistant => {
                    if !said.text.is_empty() {
                        self.narrator.tell(&Event::Model { text: &said.text });
                    }
                    for call in &said.calls {
                        self.narrator.tell(&Event::Call { tool: &call.name, arguments: &call.arguments });
                    }
                }
            }
        }
        self.told = self.told.max(history.len());
    }

    /// What the model said a moment ago must be in the history: a new agent would have nothing else to go by.
    fn check(&mut self, history: &[Message]) -> Result<(), Failure> {
        let Some((known, calls)) = self.expected.take() else { return Ok(()) };
        let last = history.iter().skip(known).rfind(|said| said.role == Role::Assistant);
        let held: Option<Vec<CallId>> =
            last.map(|last| last.calls.iter().map(|call| (call.id.clone(), call.name.clone())).collect());
        if held.as_ref() == Some(&calls) {
            return Ok(());
        }
        let held = held.map_or_else(|| "no answer".to_owned(), |held| format!("the tool calls {held:?}"));
        let session = &self.options.session;
        Err(Failure::Invalid(format!("the session `{session}` holds {held} where the model's answer had {calls:?}")))
    }
}

/// Whose result it is.
fn tool_name<'a>(history: &'a [Message], result: &Message) -> &'a str {
    let mut calls = history.iter().flat_map(|message| &message.calls);
    calls.find(|call| Some(&call.id) == result.call_id.as_ref()).map_or("a tool", |call| call.name.as_str())
}

/// Whether the history holds what was said here. The same words of a user from before this run are others.
fn is_known(history: &[Message], start: usize, own: &Message) -> bool {
    history.iter().skip(start).any(|said| is_same(own, said))
}

fn is_same(own: &Message, said: &Message) -> bool {
    let is_result = own.role == Role::Tool && own.call_id == said.call_id;
    own.role == said.role && (is_result || (own.role != Role::Tool && own.text == said.text))
}

fn message(value: &serde_json::Value) -> Result<Message, Failure> {
    let raw: Box<RawValue> = to_raw_value(value).map_err(|error| Failure::Invalid(error.to_string()))?;
    Message::read(&raw).map_err(Failure::Invalid)
}
