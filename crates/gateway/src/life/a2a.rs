//! What is particular to agents that speak Agent2Agent: the card of the replica, and the extension that tells it of the session.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use portcullis_domain::admission::{Admitted, Cancellation};
use portcullis_domain::call::Capability;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::StreamId;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::{Placement, Replica};
use portcullis_domain::session::agent_tasks::AgentTask;
use portcullis_domain::session::event::CancelEnd;
use portcullis_interop::a2a::egress::{AnswerReader, Inbound};
use portcullis_interop::a2a::{Card, Kind, Method, TaskState, kept};
use tokio::task::JoinSet;

use crate::hydration;
use crate::life::Gate;
use crate::life::credential::Upstream;
use crate::registry::Agent;
use crate::registry::table::AgentProtocol;
use crate::reply::UpstreamFault;
use crate::upstreams::a2a::Aside;
use crate::upstreams::agent::{AgentAnswer, AgentEndpoint};
use crate::upstreams::cards::{CardTerms, ShownCard, believed};

/// The extension by which an agent is told of the session that a message belongs to.
pub const SESSION_EXTENSION: &str = "https://portcullis.dev/extensions/session/v1";
/// The largest task that is read when it is cancelled, in bytes.
const TASK_LIMIT_BYTES: usize = 32 << 20;

impl Gate {
    /// Sends a call by Agent2Agent to its replica. One that wants to know of its sessions is told with each message which one it is, and with the first what it remembers.
    pub(super) async fn forward_a2a(
        &self,
        admitted: &Admitted,
        agent: &Agent,
        placement: &Placement,
        trace: &HeaderMap,
        endpoint: AgentEndpoint<'_>,
    ) -> Result<AgentAnswer, UpstreamFault> {
        let shown = match self.cards.known(&placement.replica, agent.card_keys.as_deref()) {
            Some(card) => card,
            None => self.look_at_card(agent, &placement.replica).await?,
        };
        let is_message = kept::read_call(admitted.payload()).is_ok_and(|call| call.method.is_sending());
        let is_wanted = is_message && shown.card.declares(SESSION_EXTENSION);
        let unreachable = |refusal: Refusal| UpstreamFault::Unreachable(refusal.to_string());
        let (name, token) = (&agent.capability.name, endpoint.task.and_then(|task| task.to_str().ok()));
        let session = match (is_wanted, self.told.is_told(admitted.session(), &agent.capability, placement)) {
            (false, _) => None,
            (true, true) => Some(hydration::identity(admitted.session(), name, placement, token).map_err(unreachable)?),
            (true, false) => {
                let memory = hydration::memory(&self.journal, admitted.session(), name, placement, token).await;
                Some(memory.map_err(unreachable)?)
            }
        };
        let session = session.as_ref().and_then(|raw| std::str::from_utf8(raw).ok());
        let aside = Aside { trace, session: session.map(|raw| (SESSION_EXTENSION, raw)) };
        let answer = self.egress.call_a2a(admitted, endpoint, &shown.interface, aside).await?;
        if is_wanted {
            self.told.told(admitted.session(), &agent.capability, placement);
        }
        Ok(answer)
    }

    /// Tells an agent to cancel a task that nobody may act for any more, at the replica that its session has; what came of it.
    ///
    /// # Errors
    ///
    /// Why it is not known whether it is over: it is to be tried again.
    pub async fn cancel_a2a(&self, cancellation: &Cancellation) -> Result<CancelEnd, String> {
        let AgentTask { agent, .. } = cancellation.task();
        let found = self.snapshot.load().catalogue.agent(&agent.name).cloned();
        let agent = found.ok_or_else(|| format!("there is no agent `{}` any more", agent.name))?;
        let failed = |fault: UpstreamFault| fault.to_string();
        let name = agent.capability.to_string();
        // Nobody asks but the gateway: whose task it was has no say any more.
        let own = self.present_own(Upstream::new(&name, &agent.credential)).await.map_err(failed)?;
        let endpoint = AgentEndpoint {
            authorization: own.as_ref(),
            task: None,
            timeout: agent.timeout,
            grpc_port: agent.grpc_port,
        };
        let replica = &cancellation.placement().replica;
        let shown = match self.cards.known(replica, agent.card_keys.as_deref()) {
            Some(card) => card,
            None => self.look_at_card(&agent, replica).await.map_err(failed)?,
        };
        let answer = self.egress.cancel_a2a(cancellation, endpoint, &shown.interface).await.map_err(failed)?;
        match only(answer).await? {
            Inbound::Reply(reply) => {
                let is_over = reply.state().is_some_and(|state| state.is_terminal() && state != TaskState::Canceled);
                Ok(if is_over { CancelEnd::Over } else { CancelEnd::Taken })
            }
            Inbound::Failure(failure) => match failure.kind() {
                Some(Kind::TaskNotFound | Kind::TaskNotCancelable) => Ok(CancelEnd::Over),
                Some(Kind::UnsupportedOperation | Kind::MethodNotFound) => Ok(CancelEnd::Refused),
                Some(_) | None => Err(failure.message().to_owned()),
            },
        }
    }

    /// What an agent says of itself: the card of the first of its replicas that has one.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] when none has.
    pub async fn card(&self, agent: &Agent) -> Result<Arc<ShownCard>, Refusal> {
        let candidates = self.replicas.candidates(&agent.open);
        if let Some(card) = candidates.iter().find_map(|replica| self.cards.known(replica, agent.card_keys.as_deref()))
        {
            return Ok(card);
        }
        let mut refusal = Refusal::new(Code::UpstreamFailed, format!("`{}` shows no card now", agent.capability.name));
        for replica in &candidates {
            match self.look_at_card(agent, replica).await {
                Ok(card) => return Ok(card),
                Err(fault) => refusal = refusal.because(fault.to_string()),
            }
        }
        Err(refusal)
    }

    /// Whether the agent sends news to webhooks.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] when it shows no card.
    pub async fn pushes_news(&self, agent: &Capability) -> Result<bool, Refusal> {
        self.offers(agent, Card::pushes).await
    }

    /// Whether the agent has another card for known callers.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] when it shows no card.
    pub async fn has_extended_card(&self, agent: &Capability) -> Result<bool, Refusal> {
        self.offers(agent, Card::has_extended).await
    }

    /// Whether the agent answers by streams.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] when it shows no card.
    pub async fn streams(&self, agent: &Capability) -> Result<bool, Refusal> {
        self.offers(agent, Card::streams).await
    }

    async fn offers(&self, agent: &Capability, is_offered: fn(&Card) -> bool) -> Result<bool, Refusal> {
        let agent = self.snapshot.load().catalogue.agent(&agent.name).cloned();
        match agent {
            Some(agent) => Ok(is_offered(&self.card(&agent).await?.card)),
            None => Ok(false),
        }
    }

    /// A card that the agent gives to known callers, as far as it is signed as it must be.
    ///
    /// # Errors
    ///
    /// [`Code::UpstreamFailed`] when it is not, or can't be read.
    pub fn believed_card(&self, agent: &Capability, raw: &str) -> Result<Card, Refusal> {
        let wrong = |problem: String| {
            tracing::warn!(%agent, problem, "an agent's card for known callers");
            Refusal::new(Code::UpstreamFailed, format!("`{}` shows no card now", agent.name)).because(problem)
        };
        let keys = self.snapshot.load().catalogue.agent(&agent.name).and_then(|agent| agent.card_keys.clone());
        let card = believed(raw.as_bytes(), keys.as_deref()).map_err(wrong)?;
        Card::read(&card).map_err(|problems| wrong(problems.join("; ")))
    }

    /// The body of an entry of the session.
    ///
    /// # Errors
    ///
    /// When there is none, or it can't be read.
    pub async fn body_of(&self, session: &SessionId, seq: u64) -> Result<Bytes, Refusal> {
        let stream = StreamId::Session(session.clone());
        let gone = || Refusal::new(Code::NotFound, format!("entry {seq} of the session is not kept any more"));
        let placed = self.journal.entries(&stream, seq.saturating_sub(1), 1).await?.pop().ok_or_else(gone)?;
        self.journal.body(&stream, placed.position, 0).await?.ok_or_else(gone)
    }

    /// Looks at the cards that were not looked at for a while.
    pub async fn refresh_cards(self: &Arc<Self>) {
        let snapshot = self.snapshot.load_full();
        let mut looks = JoinSet::new();
        for (_, agent) in snapshot.catalogue.agents().filter(|(_, agent)| agent.protocol == AgentProtocol::A2a) {
            let due: Vec<Replica> =
                agent.replicas.iter().filter(|replica| self.cards.is_due(replica)).cloned().collect();
            for replica in due {
                let (gate, agent) = (self.clone(), agent.clone());
                // What is wrong is in the log already.
                looks.spawn(async move { drop(gate.look_at_card(&agent, &replica).await) });
            }
        }
        while looks.join_next().await.is_some() {}
    }

    /// Looks at a replica's card. It is everybody's, so that no token of anybody's is shown for it, but at most the gateway's own.
    async fn look_at_card(&self, agent: &Agent, replica: &Replica) -> Result<Arc<ShownCard>, UpstreamFault> {
        let name = agent.capability.to_string();
        let own = self.present_own(Upstream::new(&name, &agent.credential)).await;
        let own = own.inspect_err(|fault| self.cards.not_asked(replica, fault))?;
        let terms = CardTerms { authorization: own.as_ref(), keys: agent.card_keys.as_deref() };
        self.cards.look(&self.egress.http, replica, terms).await
    }
}

/// The whole of an answer that is no stream.
async fn only(mut answer: AgentAnswer) -> Result<Inbound, String> {
    let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let dialect = answer.dialect.ok_or("it is not said what it speaks")?;
    let status = answer.status.as_u16();
    let mut reader = AnswerReader::new(dialect, Method::CancelTask, status, content_type, TASK_LIMIT_BYTES);
    while let Some(piece) = answer.body.next().await.map_err(|fault| fault.to_string())? {
        reader.feed(&piece).map_err(|refusal| refusal.to_string())?;
    }
    reader.feed_trailers(answer.body.trailers().unwrap_or(&answer.headers));
    reader.feed_end().map_err(|refusal| refusal.to_string())?;
    reader.next_inbound().ok_or_else(|| "it did not answer".to_owned())
}
