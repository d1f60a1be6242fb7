//! The life of a call: read → know → admit → forward → settle → answer.
//!
//! Doors read and answer; everything between is here, the same for every language. Nothing leaves but by [`Gate::ask_model`], [`Gate::call_tool`] and [`Gate::call_agent`], and all admit first.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use portcullis_domain::admission::{Admit, Admitted, Look, Passed, Receipt, Settle};
use portcullis_domain::call::Capability;
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::ids::{CallId, PrincipalName};
use portcullis_domain::journal::{Body, StreamId};
use portcullis_domain::money::{Nanodollars, Price};
use portcullis_domain::policy::{Asks, Moment, Said};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Replica;
use portcullis_domain::session::once::Done;
use portcullis_domain::session::{Repetition, Turn};
use portcullis_interop::llm::chat::Round;
use tokio::sync::{Notify, mpsc};

use rustls::ServerConfig;

use crate::asking::Asking;
use crate::clock::Clock;
use crate::doorway::Callee;
use crate::entropy::new_call;
use crate::granted::{self, Granted};
use crate::heard::Heard;
use crate::hydration::Told;
use crate::identity::certificates::Certificates;
use crate::identity::issuers::Issuers;
use crate::identity::signing::SigningKeys;
use crate::identity::uses::Uses;
use crate::journal::leases::Leases;
use crate::journal::{Journal, StoreFault};
use crate::ledger::rates::Rates;

pub mod a2a;
pub mod agent;
mod answer;
mod chat_agent;
pub mod credential;
mod deployment;
mod guard;
pub mod guarding;
mod hand_over;
pub mod held;
mod judge;
pub mod looks;
mod model;
mod outcome;
mod owed;
mod own;
pub mod parts;
pub mod request;
pub mod sieve;
pub mod task;
mod tool;
mod unknown;

use crate::life::credential::Credentials;
use crate::life::deployment::Choice;
use crate::life::guarding::{Guarding, Prompt};
use crate::life::looks::Looks;
pub use crate::life::owed::Owed;
pub use crate::life::tool::Called;
pub use crate::registry::{Model, Tool};
use crate::repetition::{Gone, Repetitions};
use crate::reply::{ModelAnswer, UpstreamFault};
use crate::rollback::Order;
use crate::snapshot::{Known, Setting, Snapshot};
use crate::spoken::Spoken;
use crate::telemetry::Metrics;
use crate::turns::Turns;
use crate::upstreams::Egress;
use crate::upstreams::cards::Cards;
use crate::upstreams::push::PushClient;
use crate::upstreams::replicas::Replicas;

/// How often a decision is made anew because the policies changed in between, before the caller is told to come back.
const STALE_LIMIT: usize = 40;
/// The same for decisions that rest on what the session has done, which other calls of the session change.
const OVERTAKEN_LIMIT: usize = 1_000;
/// How often a call that is under way on another gateway is looked at.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(50);
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
    /// Said when a person is asked something, or has answered.
    pub approvals: Notify,
    /// What was said of approvals in the clients of this gateway.
    pub spoken: Spoken,
    /// The way to places that clients name.
    pub pushes: PushClient,
    /// The way to services that guardrails ask.
    pub services: PushClient,
    /// Who vouches for principals.
    pub issuers: Issuers,
    /// Whose certificates clients may come with.
    pub certificates: Certificates,
    /// What new connections are protected with; none where they are in clear.
    pub tls: ArcSwapOption<ServerConfig>,
    /// The way to where issuers say that their keys are.
    pub issuers_way: Arc<PushClient>,
    /// When keys were used last.
    pub uses: Uses,
    /// What the gateway signs with for outsiders.
    pub signing: SigningKeys,
    /// Where guardrails look by themselves.
    pub looks: Looks,
    /// What upstreams are shown.
    pub credentials: Credentials,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The replicas of agents, and the deployments of models.
    pub replicas: Arc<Replicas>,
    /// The cards of those that speak Agent2Agent.
    pub cards: Arc<Cards>,
    /// What their replicas know of sessions.
    pub told: Told,
    /// What was said in sessions, and by whom.
    pub heard: Heard,
    /// How often calls are made.
    pub rates: Rates,
    /// What is counted.
    pub metrics: Metrics,
    /// What is still to be written down.
    pub owed: Owed,
    /// Where other rules are ordered by hand.
    pub orders: mpsc::Sender<Order>,
}

/// A model's answer that is not settled yet.
pub struct Asked {
    /// The call.
    pub call: CallId,
    /// What was in force when it was admitted.
    pub snapshot: Arc<Snapshot>,
    /// The model, or the agent that is asked like one.
    pub capability: Capability,
    /// What it costs.
    pub price: Option<Price>,
    /// How often it may be asked again.
    pub rounds_limit: usize,
    /// What came, or that the caller has left before anything came.
    pub answer: ModelAnswer,
    /// Until it is settled, the turn is this one's, where it is one.
    pub held: Option<held::Held>,
}

impl Asked {
    fn of_model(call: CallId, model: &Model, snapshot: Arc<Snapshot>, answer: ModelAnswer) -> Self {
        Self {
            call,
            capability: model.capability.clone(),
            price: model.price,
            rounds_limit: usize::from(snapshot.config.policy.rounds),
            snapshot,
            answer,
            held: None,
        }
    }
}

/// What the rules are told of a call besides what is known of what it is aimed at.
#[derive(Debug, Default)]
struct Terms {
    repetition: Repetition,
    candidates: Option<Vec<Replica>>,
    turn: Turn,
    content: Option<Digest>,
    /// The approval that it uses, where the gateway makes a call that was parked.
    uses: Option<CallId>,
    /// Whether its caller waits for it as for a task, where a person must say yes first.
    is_task: bool,
    /// What guardrails made of it.
    guarding: Guarding,
}

impl Gate {
    /// Waits for the end of a call, here or on another gateway.
    async fn end_of(&self, call: CallId) {
        match self.repetitions.wait_for(call) {
            Some(wait) => wait.over().await,
            None => tokio::time::sleep(ELSEWHERE_PAUSE).await,
        }
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
        prompt: &Prompt,
        rounds: &[Round],
        gone: &mut Gone,
    ) -> Result<Asked, Refusal> {
        let request = &prompt.request;
        let snapshot = self.snapshot.load();
        let model = snapshot.catalogue.model(request.model()).cloned();
        if model.is_none()
            && let Some(agent) = self.chat_agent(&snapshot, asking, request.model())
        {
            return self.ask_agent(asking, &agent, prompt, gone).await;
        }
        let upstream_name = model.as_ref().map_or("", |model| &model.upstream_name);
        let payload = Body::new(request.ask_again(upstream_name, rounds));
        let know =
            |snapshot: &Snapshot, setting: &Setting| snapshot.know_chat(asking, setting, model.as_deref(), request);
        let mut choice = Choice::of(model.as_ref());
        loop {
            let (candidates, guarding) = (choice.candidates(&self.replicas), prompt.guarding.clone());
            let terms = Terms { candidates, guarding, ..Terms::default() };
            let (passed, snapshot) = self.admit(asking, parent, &payload, terms, &know).await?;
            // Without a mark no call is another one; without a model none is admitted.
            let (Passed::New(admitted), Some(model)) = (passed, &model) else {
                return Err(Refusal::new(Code::CapabilityNotFound, "there is no such model"));
            };
            let model = choice.chosen(&admitted, model);
            let answer = tokio::select! {
                answer = self.forward_model(asking, &admitted, &model, request) => answer,
                _ = &mut *gone => return Err(self.left(&admitted).await),
            };
            let goes_on = choice.goes_on(&self.replicas, &admitted, &answer);
            match answer {
                Ok(ModelAnswer::Error { body, .. }) if goes_on => {
                    self.settle(deployment::not_taken(&admitted, body)).await?;
                }
                Ok(answer) => return Ok(Asked::of_model(admitted.call(), &model, snapshot, answer)),
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

    /// What is known of a call. What the session has done, and the time, are asked for where a rule reads them.
    async fn known(
        &self,
        asking: &Asking,
        snapshot: &Snapshot,
        grants: Option<Arc<Granted>>,
        know: impl Fn(&Snapshot, &Setting) -> Known,
    ) -> Result<(Known, Setting), StoreFault> {
        let mut setting = Setting { grants, ..Setting::default() };
        let mut known = know(snapshot, &setting);
        // What the grant of the task has nothing against, rules may still want to know more about.
        if known.decision.outside.is_some() && known.decision.lacks_said {
            setting.said = Some(self.said(asking, snapshot).await?);
            known = know(snapshot, &setting);
        }
        let (lacks_moment, lacks_said) = (known.decision.lacks_moment, known.decision.lacks_said);
        if !lacks_moment && !lacks_said {
            return Ok((known, setting));
        }
        if lacks_moment {
            setting.moment = self.journal.execute(Look { session: asking.session.clone() }).await?;
        }
        if lacks_said {
            setting.said = Some(self.said(asking, snapshot).await?);
        }
        Ok((know(snapshot, &setting), setting))
    }

    async fn said(&self, asking: &Asking, snapshot: &Snapshot) -> Result<Arc<Said>, StoreFault> {
        let sources = |tool: &str| snapshot.source(tool);
        self.heard.in_session(&self.journal, &asking.session, &sources).await
    }

    /// What the task is granted that is asked for; none where there is nothing.
    async fn grants(&self, asking: &Asking) -> Result<Option<Arc<Granted>>, Refusal> {
        Ok(Granted::find(&self.journal, &asking.session, &asking.authority).await?.map(Arc::new))
    }

    /// May this call be forwarded? Asked again as long as the policies change in between, or what the session has done.
    async fn admit(
        &self,
        asking: &Asking,
        parent: Option<CallId>,
        payload: &Body,
        terms: Terms,
        know: impl Fn(&Snapshot, &Setting) -> Known,
    ) -> Result<(Passed, Arc<Snapshot>), Refusal> {
        self.credentials.lend(asking);
        let call = new_call()?;
        let mut attempt = 0;
        loop {
            let snapshot = self.snapshot.load_full();
            // Few sessions have a grant. Where one has, the first attempt is told so; what nobody has looked at may be outside one.
            let is_granted = attempt > 0 || terms.guarding.unseen.is_some_and(|at| snapshot.guardrails.look_at(at));
            let grants = if is_granted { self.grants(asking).await? } else { None };
            let (mut known, setting) = self.known(asking, &snapshot, grants, &know).await?;
            if attempt == 0 {
                self.is_in_time(asking, &known).await?;
            }
            let within = setting.grants.as_ref().map(|grants| {
                let arguments = granted::arguments(&known.capability, payload.bytes());
                grants.within(&known.capability, arguments.as_deref(), setting.said.as_deref())
            });
            known.decision.guarded.clone_from(&terms.guarding.notes.guarded);
            known.decision.labels.clone_from(&terms.guarding.notes.labels);
            let unseen = terms.guarding.obstacle(&snapshot.guardrails, &known);
            let is_unseen = unseen.is_some();
            let obstacle = known.obstacle.or_else(|| terms.guarding.refusal.clone()).or(unseen);
            let audited = known.decision.audit.len();
            let rests_on_moment = known.decision.moment != Moment::default();
            let limit = if rests_on_moment { OVERTAKEN_LIMIT } else { STALE_LIMIT };
            let anew = snapshot.config.policy.approvals.asks(known.capability.kind, terms.is_task);
            let shown = snapshot.shown(&known.capability);
            let callee = snapshot.callee(&known.capability).cloned();
            let command = Admit {
                call,
                parent,
                authority: asking.authority.clone(),
                session: asking.session.clone(),
                origin: asking.origin,
                session_budget: snapshot.session_budget(),
                door: asking.door,
                capability: known.capability,
                callee,
                payload: obstacle.map_or_else(|| Ok(payload.clone()), Err),
                decision: known.decision,
                estimate: known.estimate,
                repetition: terms.repetition.clone(),
                candidates: terms.candidates.clone(),
                turn: terms.turn,
                content: terms.content,
                asks: terms.uses.map_or(anew, Asks::Only),
                within,
                shown,
            };
            let decided = self.journal.execute(command).await.inspect_err(|_| {
                // Whether it was admitted is not known. It is certainly not forwarded.
                let never = UpstreamFault::Unreachable(String::new());
                self.owed.add(of_fault(call, &never));
            });
            let decided = decided?;
            let is_stale = matches!(&decided, Err(refusal) if refusal.code == Code::StaleDecision);
            if !is_stale || is_unseen || attempt >= limit {
                self.note(asking, &decided, audited);
                return decided.map(|passed| (passed, snapshot));
            }
            attempt += 1;
            // Of several calls that were judged by the same count, each time one gets through; new policies take a while.
            if !rests_on_moment && attempt > 1 {
                tokio::time::sleep(STALE_PAUSE).await;
            }
        }
    }

    /// Whether it comes no sooner than it may. What comes too soon is not written down, or a flood of calls would fill the record.
    async fn is_in_time(&self, asking: &Asking, known: &Known) -> Result<(), Refusal> {
        let taken = self.rates.take(asking, &known.capability).await;
        taken.inspect_err(|refusal| self.metrics.refused(asking.door, refusal.code))
    }

    /// Counts what became of a call at its admission, of which so many rules on trial had something to say.
    fn note(&self, asking: &Asking, decided: &Result<Passed, Refusal>, audited: usize) {
        match decided {
            Err(refusal) => {
                self.metrics.refused(asking.door, refusal.code);
                self.metrics.audited(audited);
                if refusal.approval.is_some() {
                    self.approvals.notify_one();
                }
            }
            Ok(Passed::New(admitted)) => {
                self.metrics.admitted(asking.door, admitted.capability().kind);
                self.metrics.audited(audited);
            }
            Ok(Passed::Again(_)) => self.metrics.repeated(asking.door),
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
        self.cut_off(admitted, Refusal::new(Code::UpstreamFailed, "the caller has left")).await
    }

    /// The same where it may not go on for that reason.
    async fn cut_off(&self, admitted: &Admitted, refusal: Refusal) -> Refusal {
        let settle =
            Settle { outcome: Outcome::Aborted, ..of_fault(admitted.call(), &UpstreamFault::Broken(String::new())) };
        self.settle(settle).await.err().unwrap_or(refusal)
    }

    /// Whoever is called by this call.
    fn callee(&self, principal: Option<&PrincipalName>, called: &Capability) -> Callee {
        Callee::new(self.journal.doorway(), principal.cloned(), called)
    }
}

fn not_kept(done: Done) -> Refusal {
    let message = format!("this call was made before as {}, and its answer is not kept any more", done.call);
    Refusal::new(Code::NotFound, message)
}

/// A call without an answer: it cost nothing if it certainly did not run, and nobody knows what otherwise.
fn of_fault(call: CallId, fault: &UpstreamFault) -> Settle {
    let outcome = fault.outcome();
    let cost = match outcome {
        Outcome::Failed => Some(Nanodollars::ZERO),
        Outcome::Completed | Outcome::Aborted | Outcome::Unknown => None,
    };
    Settle {
        call,
        outcome,
        tokens: None,
        cost,
        answer: None,
        judged: Vec::new(),
        labels: Vec::new(),
        guarded: Vec::new(),
    }
}
