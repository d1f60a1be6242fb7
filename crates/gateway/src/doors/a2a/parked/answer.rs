//! What a client is told of a parked message, and what it may say of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use portcullis_domain::admission::{AnswerApproval, WithdrawApproval};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::Capability;
use portcullis_domain::ids::{CallId, SessionId, SessionName};
use portcullis_domain::policy::{Approval, Ask};
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::a2a::parked::{self as written_as, Outcome, Parked as Task, Says};
use portcullis_interop::a2a::{A2aCall, Failure, Kind, Method, Reply, answer as written, kept, refusal};
use portcullis_interop::decision::Decision;
use portcullis_interop::refuse::approval_path;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::stand::{Place, Stand};
use crate::doors::a2a::claims::Claims;
use crate::doors::a2a::names::{Names, no_task};
use crate::doors::a2a::refuse::{events, failed, good_end, said, stream};
use crate::doors::a2a::relay::Asked;
use crate::doors::admin::approval::{plain, shown};
use crate::doors::answer::{self, Answer, PIECES_LIMIT, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::stop::stopped;

/// How often it is looked how a message stands that somebody listens to.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long whoever has said yes in the client is kept waiting for what comes of it, if they do not want to be told at once that it goes on.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest content that is shown, in bytes. Nobody says yes in the client to what it can't show whole.
const CONTENT_LIMIT_BYTES: usize = 4_000;

/// What the task is that a call names.
pub enum Meant {
    /// One of the agent's: in that session, with that id, where it is what has come of a parked message; otherwise nothing is known of it here.
    OfAgent(Option<(SessionName, String)>),
    /// A parked message that the agent has not got: answered here.
    Answered(Box<Answer>),
}

impl Meant {
    /// Finds out what a call is about.
    ///
    /// # Errors
    ///
    /// What the client is told.
    pub async fn of(
        doors: &Arc<Doors>,
        arrived: &Arrived,
        agent: &Capability,
        call: &A2aCall<'static>,
    ) -> Result<Self, Failure> {
        let names = Names { sealer: &doors.transport, owner: &arrived.caller.principal, agent };
        let named = call.task_id().and_then(|shown| names.parked_behind(&shown).map(|parked| (shown, parked)));
        let Some((shown, (session, approval))) = named else { return Ok(Self::OfAgent(None)) };
        let behind = Some((session.clone(), String::new()));
        let claims = Claims::read(call, &arrived.caller, arrived.session.clone(), names, behind)?;
        arrived.place.in_session(&claims.session);
        let parked = Parked {
            doors: doors.clone(),
            agent: agent.clone(),
            call: call.clone(),
            session: claims.session,
            context: claims.context,
            authority: arrived.caller.authority.clone(),
            is_alone: arrived.caller.is_by_themself(),
            approval,
            shown,
        };
        let stand = parked.stand().await?;
        if let Place::Task(behind, _) = stand.place {
            return Ok(Self::OfAgent(Some((session, behind))));
        }
        let answer = parked.answer(stand).await?;
        Ok(Self::Answered(Box::new(answer::with_header(answer, SESSION, session.as_str()))))
    }
}

/// What a message says, as it is shown.
struct Content {
    parts: String,
    /// Whether that is all of it.
    is_whole: bool,
}

/// A message that waits for a person, as its owner asks about it.
#[derive(Clone)]
pub struct Parked {
    pub(super) doors: Arc<Doors>,
    pub(super) agent: Capability,
    /// What is asked now.
    pub(super) call: A2aCall<'static>,
    pub(super) session: SessionId,
    pub(super) context: String,
    pub(super) authority: Authority,
    pub(super) is_alone: bool,
    pub(super) approval: CallId,
    /// What the client knows it by.
    pub(super) shown: String,
}

impl Parked {
    /// The message that was refused because a person must say yes to it first, where the gateway goes on with it by itself then.
    pub async fn by(asked: &Asked, refusal: &Refusal) -> Option<Self> {
        let approval = refusal.approval.filter(|_| refusal.code == Code::ApprovalRequired)?;
        let Asked { doors, agent, call, claims, .. } = asked;
        let is_run = doors.gate.journal.read(move |world| world.approvals.find(approval).is_some_and(|it| it.is_run));
        if !call.method.is_sending() || !is_run.await.ok()? {
            return None;
        }
        let names = Names { sealer: &doors.transport, owner: &claims.session.owner, agent };
        Some(Self {
            shown: names.parked_shown(&claims.session.name, approval)?,
            doors: doors.clone(),
            agent: agent.clone(),
            call: call.clone(),
            session: claims.session.clone(),
            context: claims.context.clone(),
            authority: asked.authority.clone(),
            is_alone: asked.is_alone,
            approval,
        })
    }

    /// What the client is told at first.
    pub async fn begun(self) -> Answer {
        let told = async { self.told(&self.stand().await?).await };
        let answer = told.await.unwrap_or_else(|failure| failed(&self.call, &failure));
        answer::with_header(answer, LOCATION, &approval_path(self.approval))
    }

    async fn answer(self, stand: Stand) -> Result<Answer, Failure> {
        let is_over = stand.state().is_terminal();
        match self.call.method {
            Method::GetTask => self.told(&stand).await,
            Method::CancelTask => self.withdraw().await,
            Method::SendMessage | Method::SendStreamingMessage if !is_over => self.hear(stand).await,
            Method::SubscribeToTask if !is_over => self.watched(stand).await,
            Method::CreatePushConfig | Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig => {
                let message = "no news are pushed of a message that waits for a person: subscribe to it";
                Err(Failure::new(Kind::PushNotSupported, message))
            }
            Method::SendMessage
            | Method::SendStreamingMessage
            | Method::SubscribeToTask
            | Method::ListTasks
            | Method::GetExtendedCard => Err(Failure::new(Kind::UnsupportedOperation, "the task has ended")),
        }
    }

    async fn withdraw(self) -> Result<Answer, Failure> {
        let (call, session, authority) = (self.approval, self.session.clone(), self.authority.clone());
        let withdrawn = self.doors.gate.journal.execute(WithdrawApproval { call, session, authority }).await;
        match withdrawn.map_err(|fault| refusal::failure(&fault.into()))? {
            Ok(()) => {
                self.doors.gate.approvals.notify_one();
                self.told(&self.stand().await?).await
            }
            Err(refused) if refused.code == Code::WaitOver => {
                Err(Failure::new(Kind::TaskNotCancelable, refused.message).with("taskId", self.shown.as_str()))
            }
            Err(refused) => Err(refusal::failure(&refused)),
        }
    }

    /// Takes a message to the task: the decision of its owner, or something that decides nothing.
    async fn hear(self, stand: Stand) -> Result<Answer, Failure> {
        if stand.is_on_its_way() {
            let message = "somebody has said yes, and the agent gets the message: what there is to add is another one";
            return Err(Failure::new(Kind::UnsupportedOperation, message));
        }
        let Some(decision) = written_as::decision(&self.call) else { return self.told(&stand).await };
        let content = self.content(&stand.approval).await?;
        if !self.may_decide(&stand.approval, content.as_ref()) {
            let refused = Refusal::new(Code::Forbidden, "this is for others to say yes or no to");
            return Err(refusal::failure(&refused));
        }
        self.decide(decision).await.map_err(|refused| refusal::failure(&refused))?;
        if self.call.method.is_streaming() {
            let stand = self.stand().await?;
            return self.watched(stand).await;
        }
        let stand = self.outcome().await?;
        self.told(&stand).await
    }

    async fn decide(&self, decision: Decision) -> Result<(), Refusal> {
        let gate = &self.doors.gate;
        let snapshot = gate.snapshot.load_full();
        let command = AnswerApproval {
            call: self.approval,
            by: self.session.owner.clone(),
            authority: Some(self.authority.clone()),
            is_by_client: true,
            roles: snapshot.roles_by(self.authority.chain(&self.session.owner)),
            policy_version: snapshot.policy.version(),
            is_yes: decision.is_yes,
            comment: decision.comment,
        };
        gate.journal.execute(command).await??;
        gate.approvals.notify_one();
        Ok(())
    }

    /// Whether whoever asks now may answer for themself, in this client. What they were not shown whole they don't say yes to.
    fn may_decide(&self, approval: &Approval, content: Option<&Content>) -> bool {
        let chain = self.authority.chain(&self.session.owner);
        self.is_alone
            && content.is_some_and(|content| content.is_whole)
            && self.doors.gate.snapshot.load().may_confirm(chain, approval)
    }

    /// How it stands once the agent has answered, or as far as it is when nobody waits any longer.
    async fn outcome(&self) -> Result<Stand, Failure> {
        let mut stop = self.doors.stop.clone();
        let late = tokio::time::sleep(PATIENCE);
        tokio::pin!(late);
        loop {
            let stand = self.stand().await?;
            if !stand.is_on_its_way() || !written_as::wants_the_end(&self.call) {
                return Ok(stand);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = &mut late => return Ok(stand),
                () = stopped(&mut stop) => return Ok(stand),
            }
        }
    }

    /// The answer that tells how it stands: whole, or as the only event.
    async fn told(&self, stand: &Stand) -> Result<Answer, Failure> {
        let task = self.task(stand).await?;
        if self.call.method.is_streaming() {
            return Ok(events(&self.call, written::event(&self.call, &task)?));
        }
        written::whole(&self.call, &task).map(said)
    }

    /// How it stands, and each change of that until its end, or until the agent's own task goes on: that is subscribed to anew, by the same name.
    async fn watched(self, stand: Stand) -> Result<Answer, Failure> {
        let first = written::event(&self.call, &self.task(&stand).await?)?;
        let (sender, receiver) = mpsc::channel(PIECES_LIMIT);
        let call = self.call.clone();
        tokio::spawn(async move {
            if sender.send(first).await.is_ok() {
                tokio::select! {
                    () = self.watch(stand, &sender) => {}
                    () = sender.closed() => {}
                }
            }
        });
        Ok(stream(&call, receiver))
    }

    async fn watch(self, mut stand: Stand, sender: &mpsc::Sender<Bytes>) {
        let mut stop = self.doors.stop.clone();
        let last = loop {
            if stand.state().is_terminal() || matches!(stand.place, Place::Task(..)) {
                break good_end(&self.call);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = stopped(&mut stop) => break None,
            }
            let next = async {
                let next = self.stand().await?;
                let updates = if next.state() == stand.state() { Vec::new() } else { self.updates(&next).await? };
                Ok((next, updates))
            };
            let next: Result<(Stand, Vec<Bytes>), Failure> = next.await;
            match next {
                Ok((next, updates)) => {
                    for update in updates {
                        let _ = sender.send(update).await;
                    }
                    stand = next;
                }
                Err(failure) => break Some(failure.event(self.call.dialect, self.call.id.as_ref())),
            }
        };
        if let Some(last) = last {
            let _ = sender.send(last).await;
        }
    }

    pub(super) async fn stand(&self) -> Result<Stand, Failure> {
        let names = Names { sealer: &self.doors.transport, owner: &self.session.owner, agent: &self.agent };
        let now = self.doors.clock.now();
        let stand = Stand::read(&self.doors.gate, names, &self.session, self.approval, now).await;
        stand.map_err(|refused| refusal::failure(&refused))?.ok_or_else(|| no_task(&self.shown))
    }

    pub(super) async fn task(&self, stand: &Stand) -> Result<Reply, Failure> {
        let method = self.call.method;
        if let Place::Task(_, replies) = &stand.place {
            let outcome = Outcome::of(replies).and_then(|outcome| outcome.task(method, &self.shown, &self.context));
            return outcome.map_err(unreadable);
        }
        self.spoken(stand, |task| task.task(method)).await
    }

    async fn updates(&self, stand: &Stand) -> Result<Vec<Bytes>, Failure> {
        let method = self.call.method;
        let updates = match &stand.place {
            Place::Task(_, replies) => Outcome::of(replies)
                .and_then(|outcome| outcome.updates(method, &self.shown, &self.context))
                .map_err(unreadable)?,
            Place::Waits | Place::Approved | Place::UnderWay | Place::Answered(_) | Place::Over(..) => {
                vec![self.spoken(stand, |task| task.update(method)).await?]
            }
        };
        updates.iter().map(|update| written::event(&self.call, update)).collect()
    }

    async fn spoken(
        &self,
        stand: &Stand,
        write: impl FnOnce(&Task<'_>) -> Result<Reply, String>,
    ) -> Result<Reply, Failure> {
        let content = self.content(&stand.approval).await?;
        let may_decide = matches!(stand.place, Place::Waits) && self.may_decide(&stand.approval, content.as_ref());
        let content = content.as_ref().map(|content| content.parts.as_str());
        let text = self.words(stand, content, may_decide);
        let data = self.data(&stand.approval, content, may_decide).await?;
        let (message_id, since) = (format!("{}-{}", self.approval, stand.state().legacy_name()), stand.since());
        let says = match &stand.place {
            Place::Answered(reply) => Says::Agent(reply),
            Place::Waits | Place::Approved | Place::UnderWay | Place::Task(..) | Place::Over(..) => {
                Says::Gateway { message_id: &message_id, text: &text, data: &data }
            }
        };
        let (task_id, context_id, since) = (self.shown.as_str(), self.context.as_str(), &since.to_string());
        write(&Task { task_id, context_id, state: stand.state(), since, says }).map_err(unreadable)
    }

    /// For a person: what is waited for, or what has come of it.
    fn words(&self, stand: &Stand, content: Option<&str>, may_decide: bool) -> String {
        let approval = &stand.approval;
        let waits = || {
            let who = |ask: &Ask| match approval.missing(ask) {
                1 => format!("a person with the role `{}`", ask.role),
                more => format!("{more} persons with the role `{}`", ask.role),
            };
            let missing = approval.asks.iter().filter(|ask| approval.missing(ask) > 0).map(who).collect::<Vec<_>>();
            let why = approval.message.as_ref().map(|why| format!("{why} ")).unwrap_or_default();
            let (agent, id, until) = (&self.agent.name, self.approval, approval.expires_at);
            let content = content.map(|content| format!(" It says: {}", plain(content))).unwrap_or_default();
            let how = if may_decide {
                " You may answer here: send a message to this task with a data part {\"decision\": \"approve\"} or {\"decision\": \"deny\"}."
            } else {
                ""
            };
            format!(
                "{why}This message to `{agent}` needs the approval of {}, asked for as {id} until {until}. The agent has not got it, and gets it by itself once it is approved: do not send it again.{how}{content}",
                missing.join(" and ")
            )
        };
        match &stand.place {
            Place::Waits => waits(),
            Place::Approved => "It is approved, and the agent is about to get it.".to_owned(),
            Place::UnderWay => "It is approved, and the agent has it.".to_owned(),
            Place::Over(_, why) => why.clone(),
            Place::Task(..) | Place::Answered(_) => String::new(),
        }
    }

    /// For a program: the approval as the gateway's own API shows it, with what the client has sent in the place of what the agent would get.
    async fn data(&self, approval: &Approval, content: Option<&str>, may_decide: bool) -> Result<String, Failure> {
        let shown = shown(&self.doors.gate, self.approval, approval).await;
        let shown = shown.map_err(|refused| refusal::failure(&refused))?;
        let mut shown = serde_json::to_value(shown).map_err(|error| unreadable(error.to_string()))?;
        if let Value::Object(members) = &mut shown {
            members.remove("arguments");
            members.insert("url".to_owned(), json!(approval_path(self.approval)));
            let content = content.and_then(|content| serde_json::from_str::<Value>(content).ok());
            content.map(|content| members.insert("content".to_owned(), content));
        }
        let decisions: &[&str] = if may_decide { &["approve", "deny"] } else { &[] };
        Ok(json!({"approval": shown, "decisions": decisions}).to_string())
    }

    /// What the message says, if it is short enough to be shown.
    async fn content(&self, approval: &Approval) -> Result<Option<Content>, Failure> {
        let kept = match self.doors.gate.body_of(&self.session, approval.seq).await {
            Ok(kept) => kept,
            Err(refused) if refused.code == Code::NotFound => return Ok(None),
            Err(refused) => return Err(refusal::failure(&refused)),
        };
        let content = kept::read_call(&kept).ok().and_then(|call| {
            let is_whole = written_as::is_whole_by_parts(&call);
            written_as::content(&call).map(|parts| Content { parts, is_whole })
        });
        Ok(content.filter(|content| content.parts.len() <= CONTENT_LIMIT_BYTES))
    }
}

fn unreadable(problem: String) -> Failure {
    Failure::new(Kind::InvalidAgentResponse, format!("the agent's answer can't be read: {problem}"))
}
