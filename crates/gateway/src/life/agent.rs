//! A turn of a session with an agent: in its order, at the session's replica, which knows what the session remembers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use portcullis_domain::admission::{Admitted, ClosePush, OpenPush, Passed, Settle};
use portcullis_domain::call::Place;
use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::ids::{CallId, SessionId};
use portcullis_domain::journal::Body;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Placement;
use portcullis_domain::session::once::Done;
use portcullis_domain::session::push::PushName;
use portcullis_domain::session::{Earlier, Mark, Repetition, Turn};
use portcullis_interop::a2a::Failure;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::asking::Asking;
use crate::hydration;
use crate::life::credential::Upstream;
use crate::life::guarding::Guarding;
use crate::life::held::Held;
use crate::life::{ELSEWHERE_PAUSE, Gate, Terms, of_fault};
use crate::registry::Agent;
use crate::registry::table::{AgentProtocol, ToolServerTable};
use crate::repetition::Patience;
use crate::reply::UpstreamFault;
use crate::snapshot::{Known, Setting, Snapshot};
use crate::turns::under_way;
use crate::upstreams::agent::{AgentAnswer, AgentEndpoint};

/// How often a turn that is under way on another gateway is looked at until the caller's patience is over.
const TURN_LOOKS_PER_S: u32 = 20;

/// A call that is to be made of an agent.
#[derive(Debug)]
pub struct Wish {
    /// What is judged and forwarded: a request as `message/http`, or a call by Agent2Agent.
    pub payload: Body,
    /// What of it must be the same for it to be the same call: not what differs between attempts, as a trace does.
    pub content: Digest,
    /// The trace that it belongs to, where the payload does not say so.
    pub trace: HeaderMap,
    /// Who waits for it.
    pub patience: Patience,
    /// How long to wait for one's turn; none for what is no turn.
    pub turn: Option<Duration>,
    /// The place for news that is opened once the call is admitted, before the agent hears of it.
    pub push: Option<OpenPush>,
    /// What guardrails made of it.
    pub guarding: Guarding,
    /// What becomes of it where a person must say yes first.
    pub parks: Parks,
    /// What the names of the waits begin with that are over once the agent has the call.
    pub answers: Option<String>,
}

/// What becomes of a call that a person must say yes to.
#[derive(Debug, Clone, Copy, Default)]
pub enum Parks {
    /// Whoever makes it makes it again.
    #[default]
    ForCaller,
    /// It is a task, which the gateway goes on with itself.
    AsTask,
    /// Nobody is asked: it is about a task that there is, and makes no other.
    Unasked,
    /// It was parked before: it is made by this approval of this content, or not at all.
    Before(CallId, Digest),
}

/// What comes of it.
#[derive(Debug)]
pub enum Replied {
    /// The replica answers. Whoever gets it settles it.
    Fresh(Box<Reply>),
    /// What it answered before.
    Recorded(CallId, Bytes),
    /// It can't be asked that in what it speaks.
    Unspoken(CallId, Box<Failure>),
}

/// A replica's answer that is not settled yet.
#[derive(Debug)]
pub struct Reply {
    /// The call.
    pub call: CallId,
    /// The answer.
    pub answer: AgentAnswer,
    /// Who waits for it.
    pub patience: Patience,
    /// Until it is settled, the call is among those under way, the turn is this one's, and the replica has one call more.
    pub held: Held,
}

impl Gate {
    /// A call of an agent, from reading to the beginning of the answer. A replica that can't be reached is left for another one.
    ///
    /// # Errors
    ///
    /// Why there is no answer; the journal says the same.
    pub async fn call_agent(&self, asking: &Asking, agent: &Arc<Agent>, wish: Wish) -> Result<Replied, Refusal> {
        let push = wish.push.as_ref().map(|push| (push.session.clone(), push.push.clone()));
        let replied = self.try_agent(asking, agent, wish).await;
        // An agent that may have been asked may have been told of the place for news.
        if let Some((session, push)) = push.filter(|_| !asking.effect.is_possible()) {
            self.close_push(&session, &push, true).await;
        }
        replied
    }

    /// The same, but that a place for news stays open.
    async fn try_agent(&self, asking: &Asking, agent: &Arc<Agent>, wish: Wish) -> Result<Replied, Refusal> {
        let Wish { payload, content, trace, mut patience, turn, mut push, answers, guarding, parks } = wish;
        let mark = patience.key.as_deref().map(|key| mark(agent, content, key));
        let place = match turn {
            Some(wait) => Some(self.turns.enter(&asking.session, &agent.capability, wait).await?),
            None => None,
        };
        let mut attempts = agent.open.len().max(1);
        loop {
            attempts -= 1;
            let content = of_capability(agent, content);
            let as_made = (&payload, content, &guarding);
            let admitted = match self.enter_agent(asking, agent, as_made, mark, (turn, parks), &mut patience).await? {
                Passed::New(admitted) => admitted,
                Passed::Again(Earlier::Done(done)) => return self.replay(asking, done).await,
                Passed::Again(Earlier::Open(_)) => return Err(under_way(&agent.capability)),
            };
            if let Some(push) = push.take() {
                self.open_push(admitted.call(), push).await?;
            }
            let under_way = mark.map(|mark| self.repetitions.begin(admitted.call(), &asking.session, mark, &patience));
            asking.effect.begin();
            match self.forward(asking, &admitted, agent, &trace, &mut patience).await? {
                Ok((answer, permit)) => {
                    if let Some(prefix) = &answers {
                        // A wait that stays open is ended by what the agent says.
                        drop(self.task_goes_on(&asking.session, prefix, Some(admitted.call())).await);
                    }
                    let held = Held::new(permit, under_way, place);
                    return Ok(Replied::Fresh(Box::new(Reply { call: admitted.call(), answer, patience, held })));
                }
                Err(fault) => {
                    if fault.outcome() == Outcome::Failed {
                        asking.effect.undo();
                    }
                    self.settle(of_fault(admitted.call(), &fault)).await?;
                    self.look_after(agent, &admitted, &fault).await;
                    if let UpstreamFault::Unspoken(failure) = fault {
                        return Ok(Replied::Unspoken(admitted.call(), failure));
                    }
                    if !matches!(fault, UpstreamFault::Unreachable(_)) || attempts == 0 {
                        return Err(fault.refusal(&agent.capability.name));
                    }
                }
            }
        }
    }

    /// Opens a place for news. Without it the call does not go out.
    async fn open_push(&self, call: CallId, push: OpenPush) -> Result<(), Refusal> {
        let opened = self.journal.execute(push).await.map_err(Refusal::from).flatten();
        if opened.is_err() {
            self.settle(settle(call, Outcome::Failed, None)).await?;
        }
        opened
    }

    /// Closes a place for news that the agent does not know, or does not know any more.
    pub async fn close_push(&self, session: &SessionId, push: &PushName, unless_bound: bool) {
        let close = ClosePush { session: session.clone(), push: push.clone(), unless_bound };
        if let Err(fault) = self.journal.execute(close).await {
            tracing::error!(%session, %push, %fault, "a place for news could not be closed");
        }
    }

    /// May the agent be called, or was it called before? While the same call, or another turn, is under way it is waited for.
    async fn enter_agent(
        &self,
        asking: &Asking,
        agent: &Arc<Agent>,
        (payload, content, guarding): (&Body, Digest, &Guarding),
        mark: Option<Mark>,
        (turn, parks): (Option<Duration>, Parks),
        patience: &mut Patience,
    ) -> Result<Passed, Refusal> {
        let know = |snapshot: &Snapshot, setting: &Setting| {
            let known = snapshot.know_agent(asking, setting, Place::Request, agent);
            match parks {
                Parks::Unasked => Known { decision: known.decision.unasked(), ..known },
                Parks::ForCaller | Parks::AsTask | Parks::Before(..) => known,
            }
        };
        let (content, uses) = match parks {
            Parks::ForCaller | Parks::AsTask | Parks::Unasked => (content, None),
            Parks::Before(approval, content) => (content, Some(approval)),
        };
        let mut looks =
            turn.map_or(0, |wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)).saturating_mul(TURN_LOOKS_PER_S);
        loop {
            let terms = Terms {
                repetition: Repetition { mark, is_harmless: false, delivered: Vec::new() },
                candidates: Some(self.replicas.candidates(&agent.open)),
                turn: match turn {
                    None => Turn::Beside,
                    Some(_) if looks > 0 => Turn::Waiting,
                    Some(_) => Turn::Now,
                },
                content: Some(content),
                uses,
                is_task: matches!(parks, Parks::AsTask),
                guarding: guarding.clone(),
            };
            let waited = match self.admit(asking, None, payload, terms, know).await {
                Ok((Passed::Again(Earlier::Open(open)), _)) => Some(open),
                Err(refusal) if refusal.code == Code::TurnUnderWay && looks > 0 => None,
                Ok((passed, _)) => return Ok(passed),
                Err(refusal) => return Err(refusal),
            };
            looks = looks.saturating_sub(1);
            let pause = async {
                match waited {
                    Some(open) => self.end_of(open).await,
                    None => tokio::time::sleep(ELSEWHERE_PAUSE).await,
                }
            };
            tokio::select! {
                () = pause => {}
                _ = &mut patience.gone => return Err(Refusal::new(Code::UpstreamFailed, "the caller has left")),
            }
        }
    }

    /// Sends the call to its replica, which first learns what the session remembers if it has not served it before. The outer error says that the caller has left, or that the agent may not be called any more.
    async fn forward(
        &self,
        asking: &Asking,
        admitted: &Admitted,
        agent: &Agent,
        trace: &HeaderMap,
        patience: &mut Patience,
    ) -> Result<Result<(AgentAnswer, OwnedSemaphorePermit), UpstreamFault>, Refusal> {
        let callee = self.callee(Some(&agent.principal), &agent.capability);
        let sent = async {
            let task = self.task_for(admitted, &agent.principal)?;
            let unplaced = || UpstreamFault::Unreachable("the session has no replica".to_owned());
            let placement = admitted.placement().ok_or_else(unplaced)?;
            let permit = self.replicas.enter(&placement.replica, agent.calls_limit);
            let permit = permit.map_err(|refusal| UpstreamFault::Busy(refusal.message))?;
            let name = agent.capability.to_string();
            let mut presented = self.present(asking, Upstream::new(&name, &agent.credential)).await?;
            loop {
                let endpoint = AgentEndpoint {
                    authorization: presented.authorization(),
                    task: Some(&task),
                    timeout: agent.timeout,
                    grpc_port: agent.grpc_port,
                };
                let answer = self.send(admitted, agent, placement, trace, endpoint).await;
                let answer = answer.and_then(|answer| answer.let_in(presented.is_given()));
                if !presented.is_renewed(&answer).await? {
                    return Ok((answer?, permit));
                }
            }
        };
        let cut_off = tokio::select! {
            biased;
            refusal = callee.halted() => refusal,
            answer = sent => {
                let of_callee = |(answer, permit): (AgentAnswer, _)| (answer.of_callee(callee), permit);
                return Ok(answer.map(of_callee));
            }
            _ = &mut patience.gone => return Err(self.left(admitted).await),
        };
        Err(self.cut_off(admitted, cut_off).await)
    }

    /// Sends the call in what the agent speaks.
    async fn send(
        &self,
        admitted: &Admitted,
        agent: &Agent,
        placement: &Placement,
        trace: &HeaderMap,
        endpoint: AgentEndpoint<'_>,
    ) -> Result<AgentAnswer, UpstreamFault> {
        if agent.protocol == AgentProtocol::A2a {
            return self.forward_a2a(admitted, agent, placement, trace, endpoint).await;
        }
        if let Some(path) = agent.hydrate.as_deref().filter(|_| !admitted.knows_session()) {
            let name = &agent.capability.name;
            let memory = hydration::memory(&self.journal, admitted.session(), name, placement, None).await;
            let memory = memory.map_err(|refusal| UpstreamFault::Unreachable(refusal.to_string()))?;
            // What it is told is no task yet.
            self.egress.hydrate(admitted, AgentEndpoint { task: None, ..endpoint }, path, memory).await?;
        }
        let before = self.history(admitted, agent).await;
        let before = before.map_err(|refusal| UpstreamFault::Unreachable(refusal.to_string()))?;
        self.egress.call_agent(admitted, endpoint, &before).await
    }

    /// What a fault says of the replica.
    async fn look_after(&self, agent: &Agent, admitted: &Admitted, fault: &UpstreamFault) {
        let Some(placement) = admitted.placement() else { return };
        match fault {
            UpstreamFault::Unreachable(_) => self.replicas.unreachable(&placement.replica),
            UpstreamFault::Broken(_) | UpstreamFault::TimedOut(_) => {
                self.replicas.probe(&self.egress.http, &placement.replica, agent.health.as_deref()).await;
            }
            UpstreamFault::Garbled(_)
            | UpstreamFault::Unspoken(_)
            | UpstreamFault::Credential(_)
            | UpstreamFault::NoCredential(_)
            | UpstreamFault::Halted(_)
            | UpstreamFault::Busy(_) => {}
        }
    }

    /// What a call came to that was made before.
    async fn replay(&self, asking: &Asking, done: Done) -> Result<Replied, Refusal> {
        Ok(Replied::Recorded(done.call, self.recorded_body(asking, done).await?))
    }

    /// Asks all replicas of agents that are down or have a health path how they are, and deployments of models and replicas of servers that are down.
    pub async fn probe_replicas(&self) {
        let snapshot = self.snapshot.load_full();
        let mut probes = JoinSet::new();
        for (_, agent) in snapshot.catalogue.agents() {
            let due = agent.replicas.iter().filter(|replica| agent.health.is_some() || self.replicas.is_down(replica));
            for replica in due {
                let (replica, replicas, http, health) =
                    (replica.clone(), self.replicas.clone(), self.egress.http.clone(), agent.health.clone());
                probes.spawn(async move { replicas.probe(&http, &replica, health.as_deref()).await });
            }
        }
        let deployments = snapshot.catalogue.models().flat_map(|(_, model)| &model.deployments);
        let deployments = deployments.map(|deployment| deployment.replica.clone());
        let servers = snapshot.config.registry.servers.values().flat_map(ToolServerTable::replicas);
        for replica in deployments.chain(servers).filter(|replica| self.replicas.is_down(replica)) {
            let (replicas, http) = (self.replicas.clone(), self.egress.http.clone());
            probes.spawn(async move { replicas.probe(&http, &replica, None).await });
        }
        // A probe that panics says nothing of its replica.
        while probes.join_next().await.is_some() {}
    }
}

/// The end of a call of an agent.
#[must_use]
pub fn settle(call: CallId, outcome: Outcome, answer: Option<Bytes>) -> Settle {
    Settle {
        call,
        outcome,
        tokens: None,
        cost: Some(Nanodollars::ZERO),
        answer: answer.map(Body::new),
        judged: Vec::new(),
        labels: Vec::new(),
        guarded: Vec::new(),
    }
}

fn mark(agent: &Agent, content: Digest, key: &str) -> Mark {
    Mark::keyed(of_capability(agent, content), key)
}

fn of_capability(agent: &Agent, content: Digest) -> Digest {
    Digest::of_parts(&[agent.capability.to_string().as_bytes(), b"\n", &content.0])
}
