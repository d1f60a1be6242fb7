//! The life of a call: read → know → admit → forward → settle → answer.
//!
//! Doors read and answer; everything between is here, the same for every language. Nothing leaves but by [`Gate::call_tool`] and [`Gate::ask_model`], and both admit first.

mod owed;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use portcullis_domain::admission::admit::denied;
use portcullis_domain::admission::{Admit, Admitted, Passed, Receipt, Settle};
use portcullis_domain::call::Place;
use portcullis_domain::event::{Judged, Outcome};
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::money::{Nanodollars, Price};
use portcullis_domain::policy::Effect;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Replica;
use portcullis_domain::session::once::Done;
use portcullis_domain::session::{Earlier, Mark, Repetition, Turn};
use portcullis_interop::llm::chat::{ChatRequest, Round};

use tokio::sync::Notify;

use crate::asking::Asking;
use crate::entropy::new_call;
use crate::hydration::Told;
use crate::identity::signing::SigningKey;
use crate::journal::Journal;
use crate::journal::leases::Leases;

pub mod a2a;
pub mod agent;
mod chat_agent;
mod deployment;
pub mod held;
mod own;
pub mod request;
pub mod task;
mod unknown;

use crate::life::deployment::Choice;
pub use crate::life::owed::Owed;
use crate::registry;
use crate::registry::table::ToolServerTable;
pub use crate::registry::{Model, Tool};
use crate::repetition::{Gone, Patience, Repetitions, UnderWay};
use crate::reply::{ModelAnswer, ToolAnswer, UpstreamFault};
use crate::snapshot::{Known, Snapshot};
use crate::telemetry::Metrics;
use crate::turns::Turns;
use crate::upstreams::Egress;
use crate::upstreams::cards::Cards;
use crate::upstreams::model::ModelEndpoint;
use crate::upstreams::push::PushClient;
use crate::upstreams::replicas::Replicas;

/// How often a decision is made anew because the policies changed in between, before the caller is told to come back.
const STALE_LIMIT: usize = 40;
/// How often a call that is under way on another gateway is looked at.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(50);
/// How many replicas of a server are tried for one call.
const ATTEMPTS_LIMIT: usize = 3;
/// How long the new policies are waited for each time.
const STALE_PAUSE: Duration = Duration::from_millis(5);

/// All that calls pass through.
pub struct Gate {
    /// The record.
    pub journal: Journal,
    /// What is in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The way out.
    pub egress: Egress,
    /// Calls that come twice.
    pub repetitions: Repetitions,
    /// Turns of sessions with agents.
    pub turns: Turns,
    /// Said when an agent is to be told something.
    pub deliveries: Notify,
    /// The sessions that this gateway looks after, where several share the journal.
    pub leases: Leases,
    /// Said when a client is to be told something.
    pub news: Notify,
    /// The way to places that clients name.
    pub pushes: PushClient,
    /// What the gateway signs with for outsiders.
    pub signing: SigningKey,
    /// The replicas of agents, and the deployments of models.
    pub replicas: Arc<Replicas>,
    /// The cards of those that speak Agent2Agent.
    pub cards: Arc<Cards>,
    /// What their replicas know of sessions.
    pub told: Told,
    /// What is counted.
    pub metrics: Metrics,
    /// What is still to be written down.
    pub owed: Owed,
}

/// A model's answer that is not settled yet.
pub struct Asked {
    /// The call.
    pub call: CallId,
    /// What was in force when it was admitted.
    pub snapshot: Arc<Snapshot>,
    /// What the model, or the agent that is asked like one, is called.
    pub name: Arc<str>,
    /// What it costs.
    pub price: Option<Price>,
    /// How often it may be asked again.
    pub rounds_limit: usize,
    /// What came, or that the caller has left before anything came.
    pub answer: ModelAnswer,
    /// Until it is settled, the turn is this one's, where it is one.
    pub held: Option<held::Held>,
}

/// A tool's answer.
#[derive(Debug)]
pub struct Called {
    /// The call that it is the answer of.
    pub call: CallId,
    /// What the tool said.
    pub answer: ToolAnswer,
    /// Whether it was said before, to an earlier request for the same call.
    pub is_replay: bool,
    /// Whether the rules must hear of it when the caller has got it.
    pub must_be_told: bool,
}

/// What the rules are told of a call besides what is known of what it is aimed at.
#[derive(Debug, Default)]
struct Terms {
    repetition: Repetition,
    candidates: Option<Vec<Replica>>,
    turn: Turn,
}

/// What became of the wish to call a tool: it may be forwarded, or was answered before.
enum Entered {
    New(Admitted, Option<UnderWay>),
    Recorded(Called),
}

impl Gate {
    /// A call of a tool, from reading to answer. The same call is made once: who asks for it again gets what it came to.
    ///
    /// # Errors
    ///
    /// Why there is no answer; the journal says the same.
    pub async fn call_tool(
        &self,
        asking: &Asking,
        tool: &Arc<Tool>,
        arguments: Bytes,
        mut patience: Patience,
    ) -> Result<Called, Refusal> {
        let payload = Body::new(arguments);
        let mark = self.mark(asking, tool, &payload, patience.key.as_deref());
        let mut attempts = self.server_replicas(tool).len().clamp(1, ATTEMPTS_LIMIT);
        loop {
            attempts -= 1;
            let (admitted, under_way) = match self.enter_tool(asking, tool, &payload, mark, &mut patience).await? {
                Entered::New(admitted, under_way) => (admitted, under_way),
                Entered::Recorded(called) => return Ok(called),
            };
            let answer = tokio::select! {
                answer = self.forward_tool(asking, &admitted, tool) => answer,
                _ = &mut patience.gone => return Err(self.left(&admitted).await),
            };
            self.settle(of_tool(&admitted, &answer)).await?;
            drop(under_way);
            let fault = match answer {
                Ok(answer) => {
                    let must_be_told = must_be_told(mark);
                    return Ok(Called { call: admitted.call(), answer, is_replay: false, must_be_told });
                }
                Err(fault) => fault,
            };
            self.look_after_server(&admitted, &fault).await;
            if admitted.placement().is_none() || !matches!(fault, UpstreamFault::Unreachable(_)) || attempts == 0 {
                return Err(fault.refusal(&tool.capability.name));
            }
        }
    }

    /// What a fault says of the replica of a server. One that can't be connected to is left: what it knew of its sessions is gone.
    async fn look_after_server(&self, admitted: &Admitted, fault: &UpstreamFault) {
        let Some(placement) = admitted.placement() else { return };
        if matches!(fault, UpstreamFault::Unreachable(_)) {
            self.replicas.unreachable(&placement.replica);
        }
        deployment::look(&self.replicas, &self.egress.http, admitted, fault).await;
    }

    /// The replicas of the tool's server, where there is a choice.
    fn server_replicas(&self, tool: &Tool) -> Vec<Replica> {
        let snapshot = self.snapshot.load();
        snapshot.config.registry.servers.get(&tool.server).map(ToolServerTable::replicas).unwrap_or_default()
    }

    async fn forward_tool(
        &self,
        asking: &Asking,
        admitted: &Admitted,
        tool: &Tool,
    ) -> Result<ToolAnswer, UpstreamFault> {
        // A server of that name would be one of the configuration, which then has no tools of the gateway's own.
        let is_own =
            tool.server.as_str() == registry::own::SERVER && !self.egress.servers.load().contains_key(&tool.server);
        if is_own {
            return Ok(self.call_own(asking, admitted, &tool.name).await);
        }
        self.egress.call_tool(admitted, &tool.server, &tool.name, &tool.input_schema).await
    }

    /// What tells the call apart, if it is to take effect at most once: with a key always, without one where it may have effects and nobody is waiting
    /// for another one like it.
    fn mark(&self, asking: &Asking, tool: &Tool, payload: &Body, key: Option<&str>) -> Option<Mark> {
        if key.is_none() && tool.hints.is_harmless() {
            return None;
        }
        let arguments = std::str::from_utf8(payload.bytes()).unwrap_or_default();
        let mark = Mark::of(&tool.capability, arguments, key);
        let is_another = key.is_none() && self.repetitions.is_awaited(&asking.session, mark.content);
        (!is_another).then_some(mark)
    }

    /// May the tool be called, or was it called before? While the same call is under way it is waited for.
    async fn enter_tool(
        &self,
        asking: &Asking,
        tool: &Arc<Tool>,
        payload: &Body,
        mark: Option<Mark>,
        patience: &mut Patience,
    ) -> Result<Entered, Refusal> {
        let know = |snapshot: &Snapshot| {
            let raw = std::str::from_utf8(payload.bytes()).unwrap_or_default();
            // The tool as it is declared now; without it there is nothing to judge by.
            let current = snapshot.catalogue.all_tools().get(&*tool.capability.name).unwrap_or(tool);
            snapshot.know_tool(asking, Place::Request, current, raw)
        };
        loop {
            let delivered = self.repetitions.deliveries(&asking.session);
            let repetition = Repetition { mark, is_harmless: tool.hints.is_harmless(), delivered: delivered.clone() };
            let open = self.server_replicas(tool);
            let candidates = (!open.is_empty()).then(|| self.replicas.candidates(&open));
            let terms = Terms { repetition, candidates, ..Terms::default() };
            let (passed, _) = self.admit(asking, None, payload, terms, know).await?;
            let open = match passed {
                Passed::New(admitted) => {
                    self.repetitions.journaled(&asking.session, &delivered);
                    let begin = |mark| self.repetitions.begin(admitted.call(), &asking.session, mark, patience);
                    let under_way = mark.map(begin);
                    return Ok(Entered::New(admitted, under_way));
                }
                Passed::Again(Earlier::Done(done)) => return self.recorded(asking, done, mark).await,
                Passed::Again(Earlier::Open(open)) => open,
            };
            tokio::select! {
                () = self.end_of(open) => {}
                _ = &mut patience.gone => return Err(Refusal::new(Code::UpstreamFailed, "the caller has left")),
            }
        }
    }

    /// Waits for the end of a call, here or on another gateway.
    async fn end_of(&self, call: CallId) {
        match self.repetitions.wait_for(call) {
            Some(wait) => wait.over().await,
            None => tokio::time::sleep(ELSEWHERE_PAUSE).await,
        }
    }

    /// What a call came to that was made before.
    async fn recorded(&self, asking: &Asking, done: Done, mark: Option<Mark>) -> Result<Entered, Refusal> {
        let body = self.recorded_body(asking, done).await?;
        let answer = String::from_utf8(body.into()).map_err(|_| not_kept(done))?;
        Ok(Entered::Recorded(Called {
            call: done.call,
            answer: ToolAnswer::Result(answer),
            is_replay: true,
            must_be_told: must_be_told(mark),
        }))
    }

    async fn recorded_body(&self, asking: &Asking, done: Done) -> Result<Bytes, Refusal> {
        self.recorded_in(&StreamId::Session(asking.session.clone()), done).await
    }

    /// One round of a chat completion, from reading to the beginning of the answer. Whoever gets it settles it.
    ///
    /// # Errors
    ///
    /// Why there is no answer; the journal says the same.
    pub async fn ask_model(
        &self,
        asking: &Asking,
        parent: Option<CallId>,
        request: &ChatRequest,
        rounds: &[Round],
        gone: &mut Gone,
    ) -> Result<Asked, Refusal> {
        let snapshot = self.snapshot.load();
        let model = snapshot.catalogue.model(request.model()).cloned();
        if model.is_none()
            && let Some(agent) = self.chat_agent(&snapshot, asking, request.model())
        {
            return self.ask_agent(asking, &agent, request, gone).await;
        }
        let upstream_name = model.as_ref().map_or("", |model| &model.upstream_name);
        let payload = Body::new(request.ask_again(upstream_name, rounds));
        let know = |snapshot: &Snapshot| snapshot.know_chat(asking, model.as_deref(), request);
        let mut choice = Choice::of(model.as_ref());
        loop {
            let terms = Terms { candidates: choice.candidates(&self.replicas), ..Terms::default() };
            let (passed, snapshot) = self.admit(asking, parent, &payload, terms, &know).await?;
            // Without a mark no call is another one; without a model none is admitted.
            let (Passed::New(admitted), Some(model)) = (passed, &model) else {
                return Err(Refusal::new(Code::CapabilityNotFound, "there is no such model"));
            };
            let model = choice.chosen(&admitted, model);
            let endpoint = ModelEndpoint {
                uri: &model.chat_uri,
                authorization: model.authorization.as_ref(),
                timeout: model.timeout,
                is_stream: request.is_stream(),
            };
            let answer = tokio::select! {
                answer = self.egress.call_model(&admitted, endpoint) => answer,
                _ = &mut *gone => return Err(self.left(&admitted).await),
            };
            let goes_on = choice.goes_on(&self.replicas, &admitted, &answer);
            match answer {
                Ok(ModelAnswer::Error { body, .. }) if goes_on => {
                    self.settle(deployment::not_taken(&admitted, body)).await?;
                }
                Ok(answer) => {
                    return Ok(Asked {
                        call: admitted.call(),
                        name: model.capability.name.clone(),
                        price: model.price,
                        rounds_limit: usize::from(snapshot.config.policy.rounds),
                        snapshot,
                        answer,
                        held: None,
                    });
                }
                Err(fault) => {
                    self.settle(of_fault(admitted.call(), &fault)).await?;
                    if !goes_on {
                        deployment::look(&self.replicas, &self.egress.http, &admitted, &fault).await;
                        return Err(fault.refusal(&model.capability.name));
                    }
                }
            }
        }
    }

    /// May this call be forwarded? Asked again as long as the policies change in between.
    async fn admit(
        &self,
        asking: &Asking,
        parent: Option<CallId>,
        payload: &Body,
        terms: Terms,
        know: impl Fn(&Snapshot) -> Known,
    ) -> Result<(Passed, Arc<Snapshot>), Refusal> {
        let call = new_call()?;
        let mut attempt = 0;
        loop {
            let snapshot = self.snapshot.load_full();
            let known = know(&snapshot);
            let command = Admit {
                call,
                parent,
                key: asking.key.clone(),
                session: asking.session.clone(),
                origin: asking.origin,
                session_budget: snapshot.session_budget(),
                door: asking.door,
                capability: known.capability,
                payload: known.obstacle.map_or_else(|| Ok(payload.clone()), Err),
                decision: known.decision,
                estimate: known.estimate,
                repetition: terms.repetition.clone(),
                candidates: terms.candidates.clone(),
                turn: terms.turn,
            };
            let decided = self.journal.execute(command).await.inspect_err(|_| {
                // Whether it was admitted is not known. It is certainly not forwarded.
                let never = UpstreamFault::Unreachable(String::new());
                self.owed.add(of_fault(call, &never));
            });
            match decided? {
                Err(refusal) if refusal.code == Code::StaleDecision && attempt < STALE_LIMIT => {
                    attempt += 1;
                    tokio::time::sleep(STALE_PAUSE).await;
                }
                Err(refusal) => {
                    self.metrics.refused(asking.door, refusal.code);
                    return Err(refusal);
                }
                Ok(passed) => {
                    match &passed {
                        Passed::New(admitted) => self.metrics.admitted(asking.door, admitted.capability().kind),
                        Passed::Again(_) => self.metrics.repeated(asking.door),
                    }
                    return Ok((passed, snapshot));
                }
            }
        }
    }

    /// What policy says of a tool call inside a model's answer. A name that may mean several tools must be allowed for all of them.
    #[must_use]
    pub fn judge(&self, snapshot: &Snapshot, asking: &Asking, name: &str, arguments: &str) -> Judged {
        let place = Place::ModelAnswer;
        let meant = snapshot.catalogue.meant(name);
        let first = meant.first().map(|tool| snapshot.know_tool(asking, place, tool, arguments));
        let mut known = first.unwrap_or_else(|| snapshot.know_function(asking, place, name));
        for tool in meant.iter().skip(1) {
            if known.decision.effect == Effect::Allow {
                known = snapshot.know_tool(asking, place, tool, arguments);
            }
        }
        let refusal = match (known.obstacle, known.decision.effect) {
            (Some(obstacle), _) => Some(obstacle),
            (None, Effect::Deny) => Some(denied(&known.decision)),
            (None, Effect::Allow) => None,
        };
        self.metrics.judged(refusal.is_none());
        Judged {
            capability: known.capability,
            place,
            effect: if refusal.is_some() { Effect::Deny } else { Effect::Allow },
            arguments: arguments.to_owned(),
            policies: known.decision.policies,
            message: refusal.as_ref().map(|refusal| refusal.message.clone()),
            reasons: refusal.map(|refusal| refusal.reasons).unwrap_or_default(),
        }
    }

    /// Writes down what became of a call. Nothing that follows from it may be answered before.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub async fn settle(&self, settle: Settle) -> Result<Receipt, Refusal> {
        let outcome = settle.outcome;
        let settled = self.journal.execute(settle.clone()).await;
        let receipt = settled.inspect_err(|_| self.owed.add(settle))??;
        self.metrics.settled(outcome, receipt.charged);
        Ok(receipt)
    }

    /// The caller has left before an answer came; the upstream call was cancelled by dropping it. What it had cost by then can't be known.
    async fn left(&self, admitted: &Admitted) -> Refusal {
        let settle =
            Settle { outcome: Outcome::Aborted, ..of_fault(admitted.call(), &UpstreamFault::Broken(String::new())) };
        match self.settle(settle).await {
            Ok(_) => Refusal::new(Code::UpstreamFailed, "the caller has left"),
            Err(refusal) => refusal,
        }
    }
}

fn not_kept(done: Done) -> Refusal {
    let message = format!("this call was made before as {}, and its answer is not kept any more", done.call);
    Refusal::new(Code::NotFound, message)
}

/// Without a key a call is known by its content until its answer is delivered.
fn must_be_told(mark: Option<Mark>) -> bool {
    mark.is_some_and(|mark| !mark.has_key())
}

fn of_tool(admitted: &Admitted, answer: &Result<ToolAnswer, UpstreamFault>) -> Settle {
    let (outcome, body) = match answer {
        Ok(ToolAnswer::Result(raw)) => (Outcome::Completed, Some(Bytes::copy_from_slice(raw.as_bytes()))),
        Ok(ToolAnswer::Error { code, message, .. }) => (Outcome::Failed, Some(format!("{code} {message}").into())),
        Err(fault) => (fault.outcome(), None),
    };
    Settle {
        call: admitted.call(),
        outcome,
        tokens: None,
        cost: Some(Nanodollars::ZERO),
        answer: body.map(Body::new),
        judged: Vec::new(),
    }
}

/// A call without an answer: it cost nothing if it certainly did not run, and nobody knows what otherwise.
fn of_fault(call: CallId, fault: &UpstreamFault) -> Settle {
    let outcome = fault.outcome();
    let cost = match outcome {
        Outcome::Failed => Some(Nanodollars::ZERO),
        Outcome::Completed | Outcome::Aborted | Outcome::Unknown => None,
    };
    Settle { call, outcome, tokens: None, cost, answer: None, judged: Vec::new() }
}
