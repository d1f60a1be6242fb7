//! Lists of tasks, of one context or of all: put together from what the agent says of each session of the caller's that it serves.
//!
//! The gateway keeps no list of tasks ([`names`](crate::doors::a2a::names) says why), so the agent is asked: for each session at the replica that the session
//! has, by a call like any other, which the rules judge in that session and the journal has. Where they say no, the tasks are not the caller's to see: of all contexts they are
//! left out and not counted. Whatever else goes wrong ends the whole list, so that none is ever given for less than it is. For the next page everything is asked again: in
//! between tasks move in the order, and whatever was kept would be out of date. So a list is right even if the agent minds no filter and shows tasks of others.
//!
//! Messages that wait for a person are in it too: they are their sender's, whatever the rules say of lists. Tasks that have come of such a message go by the name that the client was given for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderMap;
use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Door};
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::{PrincipalName, SessionId};
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::Origin;
use portcullis_interop::a2a::listing::{Gathered, Place, Wanted};
use portcullis_interop::a2a::{A2aCall, Failure, Kind, Reply, answer as written, kept, refusal};
use tokio::task::JoinSet;

use crate::asking::{Asking, Effect};
use crate::doors::a2a::apart::{apart, trace};
use crate::doors::a2a::card::Face;
use crate::doors::a2a::claims::Claims;
use crate::doors::a2a::names::{Names, context_of};
use crate::doors::a2a::parked::{self, Listed};
use crate::doors::a2a::push::Concern;
use crate::doors::a2a::refuse::{failed, said};
use crate::doors::a2a::relay::{Asked, Relay};
use crate::doors::answer::{self, Answer, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::life::agent::{Parks, Replied, Wish};
use crate::life::guarding::Guarding;

/// The most contexts that one list is put together from.
const CONTEXTS_LIMIT: usize = 256;
/// The most requests for one list: contexts with many tasks need several.
const REQUESTS_LIMIT: usize = 1_024;
/// How many contexts are asked for at the same time.
const AT_ONCE_LIMIT: usize = 8;
/// The most that is gathered for one list, in bytes.
const GATHERED_LIMIT_BYTES: usize = 64 << 20;

/// Answers with the caller's tasks at this agent, of which a replica takes so many calls at a time.
pub async fn answer(
    doors: &Arc<Doors>,
    arrived: &Arrived,
    agent: &Capability,
    calls_limit: usize,
    call: &A2aCall<'static>,
) -> Answer {
    let listing = match Listing::of(doors, arrived, agent, calls_limit, call) {
        Ok(listing) => Arc::new(listing),
        Err(failure) => return failed(call, &failure),
    };
    let page = listing.page().await.and_then(|page| written::whole(call, &page));
    let answer = page.map_or_else(|failure| failed(call, &failure), said);
    match &listing.context {
        Some(session) => answer::with_header(answer, SESSION, session.name.as_str()),
        None => answer,
    }
}

/// A list that is being put together.
struct Listing {
    doors: Arc<Doors>,
    agent: Capability,
    call: A2aCall<'static>,
    wanted: Wanted,
    owner: PrincipalName,
    /// The only one that is listed, if there is one.
    context: Option<SessionId>,
    authority: Authority,
    is_alone: bool,
    face: Face,
    trace: HeaderMap,
    at_once: usize,
    /// How many were sent so far; counted up by all who gather.
    requests: AtomicUsize,
}

impl Listing {
    fn of(
        doors: &Arc<Doors>,
        arrived: &Arrived,
        agent: &Capability,
        calls_limit: usize,
        call: &A2aCall<'static>,
    ) -> Result<Self, Failure> {
        let wanted = Wanted::read(call)?;
        let owner = arrived.caller.principal.clone();
        let names = Names { sealer: &doors.transport, owner: &owner, agent };
        let is_of_one = arrived.session.is_some() || call.context_id().is_some();
        let claims = is_of_one.then(|| Claims::read(call, &arrived.caller, arrived.session.clone(), names, None));
        Ok(Self {
            context: claims.transpose()?.map(|claims| claims.session),
            doors: doors.clone(),
            agent: agent.clone(),
            call: call.clone(),
            wanted,
            owner,
            authority: arrived.caller.authority.clone(),
            is_alone: arrived.caller.is_by_themself(),
            face: Face::of(doors, arrived, &agent.name),
            trace: trace(&arrived.headers),
            at_once: AT_ONCE_LIMIT.min(calls_limit),
            requests: AtomicUsize::new(0),
        })
    }

    /// The page that is asked for.
    async fn page(self: &Arc<Self>) -> Result<Reply, Failure> {
        let purpose = format!("a2a page\n{}\n{}", self.owner, self.agent);
        let context = self.context.as_ref().map_or("", |session| session.name.as_str());
        let list = format!("{context}\n{}", self.wanted.filters());
        let before = self.wanted.page_token().map(|token| {
            let page: Option<(String, Place)> = self.doors.transport.open(&purpose, token);
            page.filter(|(of, _)| *of == list).map(|(_, place)| place).ok_or_else(no_page)
        });
        let before = before.transpose()?;
        let (tasks, names) = self.parked().await?;
        let mut gathered = self.gather(self.sessions().await?).await?;
        for (behind, shown) in names {
            gathered.rename(&behind, shown).map_err(garbled)?;
        }
        for task in tasks {
            gathered.take_task(&self.wanted, task.raw()).map_err(garbled)?;
        }
        gathered.page(&self.wanted, before.as_ref(), |place| {
            let sealed = self.doors.transport.seal(&purpose, &(list, place));
            sealed.map_err(|fault| refusal::failure(&fault.into()))
        })
    }

    /// The messages that wait for a person, as tasks, and the names of those that the agent has made tasks of. They are looked at first: one that the agent gets meanwhile may be there by
    /// both of its names, and never by none.
    async fn parked(&self) -> Result<(Vec<Reply>, Vec<(String, String)>), Failure> {
        let of = (&self.owner, &self.authority, self.is_alone);
        let parked =
            parked::of_caller(&self.doors, &self.agent, &self.call, of, self.context.as_ref(), check_size).await?;
        let (mut tasks, mut names) = (Vec::new(), Vec::new());
        for one in parked {
            match one {
                Listed::Task(task) => tasks.push(*task),
                Listed::Named { behind, shown } => names.push((behind, shown)),
            }
        }
        Ok((tasks, names))
    }

    /// Those that are asked for.
    async fn sessions(&self) -> Result<Vec<SessionId>, Failure> {
        if let Some(session) = &self.context {
            return Ok(vec![session.clone()]);
        }
        let (owner, agent) = (self.owner.clone(), self.agent.clone());
        let of_owner = self.doors.gate.journal.read(move |world| {
            world.placements.served(&owner, &agent).take(CONTEXTS_LIMIT + 1).cloned().collect::<Vec<SessionId>>()
        });
        let sessions = of_owner.await.map_err(|fault| refusal::failure(&fault.into()))?;
        if sessions.len() > CONTEXTS_LIMIT {
            return Err(too_much(&format!("there are tasks of more than {CONTEXTS_LIMIT} contexts")));
        }
        Ok(sessions)
    }

    /// The tasks of these sessions. When one fails, or the caller leaves, the others are left as by a caller who goes.
    async fn gather(self: &Arc<Self>, sessions: Vec<SessionId>) -> Result<Gathered, Failure> {
        let mut gathered = Gathered::default();
        let mut sessions = sessions.into_iter();
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < self.at_once
                && let Some(session) = sessions.next()
            {
                let listing = self.clone();
                asked.spawn(async move { listing.of_session(session).await });
            }
            let Some(joined) = asked.join_next().await else { return Ok(gathered) };
            let of_session = joined.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
            gathered.add(of_session?);
            check_size(gathered.bytes())?;
        }
    }

    /// The tasks of one session: none when the rules say no, or it is over meanwhile.
    async fn of_session(&self, session: SessionId) -> Result<Gathered, Failure> {
        let mut gathered = Gathered::default();
        let mut token: Option<String> = None;
        loop {
            if self.requests.fetch_add(1, Ordering::Relaxed) >= REQUESTS_LIMIT {
                return Err(too_much(&format!("they need more than {REQUESTS_LIMIT} requests")));
            }
            let Some(page) = self.page_of(session.clone(), token.as_deref()).await? else {
                return Ok(Gathered::default());
            };
            token = gathered.take(&self.wanted, &page).map_err(garbled)?;
            check_size(gathered.bytes())?;
            if token.is_none() {
                return Ok(gathered);
            }
        }
    }

    /// One page of them, with the client's names.
    async fn page_of(&self, session: SessionId, token: Option<&str>) -> Result<Option<Reply>, Failure> {
        let call = Wanted::asking(&self.call, token)?;
        let names = Names { sealer: &self.doors.transport, owner: &session.owner, agent: &self.agent };
        let claims = Claims {
            context: context_of(&session.name),
            context_behind: names.context_behind(&session.name),
            session: session.clone(),
            origin: Origin::Named,
            task: None,
        };
        let params = claims.params(&call, names, None, None)?;
        let unwritten = |problem: String| Failure::new(Kind::InvalidParams, problem);
        let payload = Body::new(kept::write_call(&call, &params).map_err(unwritten)?.into());
        let authority = self.authority.clone();
        let asking = Asking {
            authority: authority.clone(),
            session,
            origin: Origin::Named,
            door: Door::A2a,
            effect: Effect::default(),
            token: None,
        };
        let agent = self.doors.gate.snapshot.load().agent_for(asking.chain(), &self.agent.name, Door::A2a);
        let agent = agent.map_err(|refused| refusal::failure(&refused))?;
        let (doors, face) = (self.doors.clone(), self.face.clone());
        let asked = Asked {
            doors,
            agent: self.agent.clone(),
            call,
            claims,
            concern: Concern::None,
            authority,
            is_alone: false,
            face,
        };
        let (content, trace) = (Digest::of(payload.bytes()), self.trace.clone());
        let is_of_all = self.context.is_none();
        let replied = apart(None, |patience| async move {
            let wish = Wish {
                payload,
                content,
                trace,
                patience,
                turn: None,
                push: None,
                answers: None,
                guarding: Guarding::default(),
                parks: Parks::Unasked,
            };
            match asked.doors.gate.call_agent(&asking, &agent, wish).await {
                Ok(Replied::Fresh(reply)) => Relay::new(asked, *reply).whole().await.map(Some),
                Ok(Replied::Unspoken(_, failure)) => Err(*failure),
                Ok(Replied::Recorded(..)) => Err(Failure::new(Kind::Internal, "a list was not asked for anew")),
                Err(refused)
                    if is_of_all
                        && matches!(refused.code, Code::Denied | Code::SessionClosed | Code::SessionFrozen) =>
                {
                    Ok(None)
                }
                Err(refused) => Err(refusal::failure(&refused)),
            }
        });
        replied.await?
    }
}

/// Whether so many bytes are not too many for one list.
fn check_size(bytes: usize) -> Result<(), Failure> {
    if bytes > GATHERED_LIMIT_BYTES {
        return Err(too_much(&format!("they are more than {GATHERED_LIMIT_BYTES} bytes")));
    }
    Ok(())
}

fn garbled(problem: String) -> Failure {
    Failure::new(Kind::InvalidAgentResponse, problem)
}

fn too_much(what: &str) -> Failure {
    let message = format!("the tasks can't be listed at once, since {what}: name one context in `contextId`");
    refusal::failure(&Refusal::new(Code::TooLarge, message).about("contextId"))
}

fn no_page() -> Failure {
    Failure::new(Kind::InvalidParams, "`pageToken` is of no page of this list").with("parameter", "pageToken")
}
