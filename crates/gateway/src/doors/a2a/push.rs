//! Places for news. The agent is told one of the gateway's instead of the client's: its URL is good for the news of one place and nothing else, and its token is made for
//! it alone. What clients have asked for is known from the journal, so only making and deleting a place is a call of the agent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::admission::{BindPush, OpenPush};
use portcullis_domain::authority::Authority;
use portcullis_domain::call::Capability;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::push::PushName;
use portcullis_interop::a2a::webhook::{self, Place};
use portcullis_interop::a2a::{A2aCall, Failure, Kind, Method, Reply, Webhook, refusal};
use serde::{Deserialize, Serialize};

use crate::doors::a2a::claims::Claims;
use crate::doors::a2a::names::no_task;
use crate::doors::arrived::Doors;
use crate::entropy;

/// What stands before the token in the URL of a place of the gateway's.
pub const PATH: &str = "/news/";
/// What these tokens are for.
pub const PURPOSE: &str = "news of a task";

/// What such a token holds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ticket {
    /// The session.
    pub session: SessionId,
    /// The place.
    pub push: PushName,
}

/// What a call has to do with places for news.
#[derive(Debug)]
pub enum Concern {
    /// Nothing.
    None,
    /// It asks for news.
    Wanted(Box<Wanted>),
    /// It deletes a place.
    Deleted(PushName),
    /// It asks what there is, and here it is.
    Answered(Reply),
}

/// A place that a call asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name here and for the agent.
    pub name: PushName,
    /// What the client calls it.
    pub id: Option<String>,
    /// Where it is.
    pub place: Place,
    /// Where the agent is told that it is.
    url: String,
    /// What the agent must show there.
    token: String,
}

impl Wanted {
    /// What the agent is told.
    #[must_use]
    pub fn webhook(&self) -> Webhook<'_> {
        Webhook { url: &self.url, token: Some(&self.token), id: Some(self.name.as_str()) }
    }

    /// What is written down of it.
    #[must_use]
    pub fn opening(&self, call: &A2aCall<'_>, claims: &Claims, agent: &Capability, authority: &Authority) -> OpenPush {
        OpenPush {
            session: claims.session.clone(),
            authority: authority.clone(),
            push: self.name.clone(),
            agent: agent.clone(),
            task: claims.task.as_ref().map(|(_, behind)| behind.clone()),
            id: self.id.clone(),
            form: call.form().as_str().to_owned(),
            secret: Digest::of(self.token.as_bytes()),
            place: Body::new(self.place.raw().to_owned().into()),
        }
    }

    /// The agent has taken it for this task.
    pub async fn bind(&self, doors: &Doors, session: &SessionId, task: String) -> Result<(), Refusal> {
        let bind = BindPush { session: session.clone(), push: self.name.clone(), task };
        doors.gate.journal.execute(bind).await?
    }

    /// The answer to whoever has made it.
    pub fn shown(&self, task: &str) -> Result<Reply, String> {
        webhook::one(Method::CreatePushConfig, &self.place.shown(self.id.as_deref().unwrap_or(task), task))
    }
}

impl Concern {
    /// Finds out what a call has to do with places for news, of which `base` says where the gateway's are.
    ///
    /// # Errors
    ///
    /// What the client is told.
    pub async fn of(
        doors: &Doors,
        agent: &Capability,
        call: &A2aCall<'_>,
        claims: &Claims,
        base: Option<&str>,
    ) -> Result<Self, Failure> {
        let Some(base) = base else { return Ok(Self::None) };
        match call.method {
            Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig => {
                known(doors, agent, call, claims).await
            }
            Method::CreatePushConfig | Method::SendMessage | Method::SendStreamingMessage => match Place::of(call)? {
                Some(place) => wanted(doors, call, claims, place, base).await,
                None => Ok(Self::None),
            },
            Method::GetTask
            | Method::ListTasks
            | Method::CancelTask
            | Method::SubscribeToTask
            | Method::GetExtendedCard => Ok(Self::None),
        }
    }

    /// The place that is asked for.
    #[must_use]
    pub fn wanted(&self) -> Option<&Wanted> {
        match self {
            Self::Wanted(wanted) => Some(wanted),
            Self::None | Self::Deleted(_) | Self::Answered(_) => None,
        }
    }

    /// What the agent knows the place by that is deleted.
    #[must_use]
    pub fn deleted(&self) -> Option<&PushName> {
        match self {
            Self::Deleted(name) => Some(name),
            Self::None | Self::Wanted(_) | Self::Answered(_) => None,
        }
    }
}

async fn wanted(
    doors: &Doors,
    call: &A2aCall<'_>,
    claims: &Claims,
    place: Place,
    base: &str,
) -> Result<Concern, Failure> {
    let not_called = |problem: String| {
        Failure::new(Kind::InvalidParams, format!("news can't be sent there: {problem}")).with("parameter", "url")
    };
    doors.gate.pushes.guard().check_resolved(&place.url).await.map_err(not_called)?;
    let made = || -> Result<Wanted, Refusal> {
        let name: PushName = format!("push_{}", entropy::new_call()?)
            .parse()
            .map_err(|problem: String| Refusal::new(Code::StoreUnavailable, problem))?;
        let ticket = Ticket { session: claims.session.clone(), push: name.clone() };
        let sealed = doors.transport.seal(PURPOSE, &ticket)?;
        Ok(Wanted {
            id: call.push_config_id().filter(|id| !id.is_empty()),
            name,
            place,
            url: format!("{base}{PATH}{sealed}"),
            token: URL_SAFE_NO_PAD.encode(entropy::bytes::<32>()?),
        })
    };
    made().map(|wanted| Concern::Wanted(Box::new(wanted))).map_err(|refused| refusal::failure(&refused))
}

/// What there is already, by the client's own names.
async fn known(doors: &Doors, agent: &Capability, call: &A2aCall<'_>, claims: &Claims) -> Result<Concern, Failure> {
    let failed = |refused: Refusal| refusal::failure(&refused);
    let unread = |problem: String| Failure::new(Kind::Internal, problem);
    let (shown, behind) = claims.task.clone().ok_or_else(|| no_task(""))?;
    let (session, capability) = (claims.session.clone(), agent.clone());
    let found = doors.gate.journal.read(move |world| {
        let of_task = world.pushes.of_task(&session, &capability, &behind).into_iter();
        of_task.map(|(name, push)| (name.clone(), push.id.clone(), push.seq)).collect::<Vec<_>>()
    });
    let mut found = found.await.map_err(|fault| failed(fault.into()))?;
    // By 0.3 the place need not be named where there is one.
    if let Some(wanted) = call.push_config_id().filter(|id| !id.is_empty()) {
        found.retain(|(_, id, _)| id.as_deref().unwrap_or(&shown) == wanted);
    }
    if call.method == Method::DeletePushConfig {
        return match found.into_iter().next() {
            Some((name, ..)) => Ok(Concern::Deleted(name)),
            None => webhook::deleted().map(Concern::Answered).map_err(unread),
        };
    }
    let mut places = Vec::new();
    for (_, id, seq) in found {
        let raw = doors.gate.body_of(&claims.session, seq).await.map_err(failed)?;
        let place = std::str::from_utf8(&raw).map_err(|error| error.to_string()).and_then(Place::read);
        places.push(place.map_err(unread)?.shown(id.as_deref().unwrap_or(&shown), &shown));
    }
    let reply = match (call.method, places.first()) {
        (Method::ListPushConfigs, _) => webhook::page(&places),
        (_, Some(first)) => webhook::one(call.method, first),
        (_, None) => {
            return Err(Failure::new(Kind::TaskNotFound, "there is no such place for news of this task"));
        }
    };
    reply.map(Concern::Answered).map_err(unread)
}

/// Where agents reach the gateway, if the call has to do with places for news.
///
/// # Errors
///
/// [`Kind::PushNotSupported`] where there are none: agents can't reach the gateway, or this one sends no news.
pub async fn public_url(doors: &Doors, agent: &Capability, call: &A2aCall<'_>) -> Result<Option<String>, Failure> {
    let is_concerned = match call.method {
        Method::CreatePushConfig | Method::GetPushConfig | Method::ListPushConfigs | Method::DeletePushConfig => true,
        Method::SendMessage
        | Method::SendStreamingMessage
        | Method::GetTask
        | Method::ListTasks
        | Method::CancelTask
        | Method::SubscribeToTask
        | Method::GetExtendedCard => call.push_config().is_some(),
    };
    if !is_concerned {
        return Ok(None);
    }
    let unsupported = |why: &str| Failure::new(Kind::PushNotSupported, why);
    let url = doors.gate.snapshot.load().config.server.public_url.clone();
    let url = url.ok_or_else(|| unsupported("news are not pushed here: subscribe to the task"))?;
    if !doors.gate.pushes_news(agent).await.map_err(|refused| refusal::failure(&refused))? {
        return Err(unsupported("the agent does not push news: subscribe to the task"));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}
