//! A call of a tool: made once, on the replica that keeps the session's state, and answered from the record when it comes again.

use std::sync::Arc;

use bytes::Bytes;
use portcullis_domain::admission::{Admitted, Passed, Settle};
use portcullis_domain::call::Place;
use portcullis_domain::event::Outcome;
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::registry::Replica;
use portcullis_domain::session::once::Done;
use portcullis_domain::session::{Earlier, Mark, Repetition};

use crate::asking::Asking;
use crate::life::credential::Upstream;
use crate::life::guarding::{Guarding, Notes};
use crate::life::{Gate, Terms, deployment, not_kept};
use crate::registry::table::ToolServerTable;
use crate::registry::{self, Tool};
use crate::repetition::{Patience, UnderWay};
use crate::reply::{ToolAnswer, UpstreamFault};
use crate::snapshot::{Setting, Snapshot};

/// How many replicas of a server are tried for one call.
const ATTEMPTS_LIMIT: usize = 3;

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
        patience: Patience,
    ) -> Result<Called, Refusal> {
        self.make_call(asking, tool, arguments, patience, None).await
    }

    /// The same for a call that was parked, by this approval or not at all.
    ///
    /// # Errors
    ///
    /// As [`Gate::call_tool`].
    pub async fn run_parked(
        &self,
        asking: &Asking,
        tool: &Arc<Tool>,
        arguments: Bytes,
        patience: Patience,
        approval: CallId,
    ) -> Result<Called, Refusal> {
        self.make_call(asking, tool, arguments, patience, Some(approval)).await
    }

    async fn make_call(
        &self,
        asking: &Asking,
        tool: &Arc<Tool>,
        arguments: Bytes,
        mut patience: Patience,
        uses: Option<CallId>,
    ) -> Result<Called, Refusal> {
        let (arguments, guarding) = self.guard_arguments(asking, tool, arguments).await;
        let payload = Body::new(arguments);
        let mark = self.mark(asking, tool, &payload, patience.key.as_deref());
        let mut attempts = self.server_replicas(tool).len().clamp(1, ATTEMPTS_LIMIT);
        loop {
            attempts -= 1;
            let (admitted, under_way) =
                match self.enter_tool(asking, tool, (&payload, mark), &mut patience, (uses, &guarding)).await? {
                    Entered::New(admitted, under_way) => (admitted, under_way),
                    Entered::Recorded(called) => return Ok(called),
                };
            let callee = self.snapshot.load().callee(&tool.capability).cloned();
            let callee = self.callee(callee.as_ref(), &tool.capability);
            let answer = tokio::select! {
                biased;
                refusal = callee.halted() => return Err(self.cut_off(&admitted, refusal).await),
                answer = self.forward_tool(asking, &admitted, tool) => answer,
                _ = &mut patience.gone => return Err(self.left(&admitted).await),
            };
            let mut notes = Notes::default();
            let answer = match answer {
                Ok(answer) => Ok(self.guard_result(asking, tool, answer, &mut notes).await),
                Err(fault) => Err(fault),
            };
            let mut settle = of_tool(&admitted, &answer);
            if settle.answer.is_some() {
                settle.labels = self.snapshot.load().source(&tool.capability.name).labels;
            }
            notes.add_to(&mut settle);
            self.settle(settle).await?;
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
        let snapshot = self.snapshot.load_full();
        let next = snapshot.catalogue.server_principal(&tool.server);
        let task = next.map(|next| self.task_for(admitted, next)).transpose()?;
        let task = task.as_ref().and_then(|task| task.to_str().ok());
        let name = format!("server/{}", tool.server);
        let credential = snapshot.catalogue.server_credential(&tool.server);
        let url = snapshot.config.registry.servers.get(&tool.server).and_then(|table| table.url.as_deref());
        let mut presented = self.present(asking, Upstream::new(&name, credential).at(url)).await?;
        loop {
            let shown = presented.authorization();
            let answer =
                self.egress.call_tool(admitted, &tool.server, &tool.name, &tool.input_schema, task, shown).await;
            if !presented.is_renewed(&answer).await? {
                return answer;
            }
        }
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
        (payload, mark): (&Body, Option<Mark>),
        patience: &mut Patience,
        (uses, guarding): (Option<CallId>, &Guarding),
    ) -> Result<Entered, Refusal> {
        let know = |snapshot: &Snapshot, setting: &Setting| {
            let raw = std::str::from_utf8(payload.bytes()).unwrap_or_default();
            // The tool as it is declared now; without it there is nothing to judge by.
            let current = snapshot.catalogue.all_tools().get(&*tool.capability.name).unwrap_or(tool);
            snapshot.know_tool(asking, setting, Place::Request, current, raw)
        };
        loop {
            let delivered = self.repetitions.deliveries(&asking.session);
            let repetition = Repetition { mark, is_harmless: tool.hints.is_harmless(), delivered: delivered.clone() };
            let open = self.server_replicas(tool);
            let candidates = (!open.is_empty()).then(|| self.replicas.candidates(&open));
            let terms = Terms { repetition, candidates, uses, guarding: guarding.clone(), ..Terms::default() };
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
        labels: Vec::new(),
        guarded: Vec::new(),
    }
}
