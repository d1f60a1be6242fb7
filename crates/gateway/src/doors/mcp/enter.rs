//! Which request of MCP it is.

use std::sync::Arc;

use portcullis_domain::call::Door;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_interop::mcp::answer as written;
use portcullis_interop::mcp::ingress::{self, CallTool, Incoming, Received};
use portcullis_interop::mcp::{Era, Version};
use portcullis_interop::refuse;

use crate::asking::Asking;
use crate::doors::answer::{self, Answer, SESSION};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::{check_idempotency_key, header_idempotency_key, session_or_minted};
use crate::doors::mcp::call::Asked;
use crate::doors::mcp::server::SERVER;
use crate::doors::mcp::transport::{TRANSPORT, Transport};
use crate::doors::mcp::{call, elicit, list, resources, transport};

/// Answers a request to `/mcp` or `/mcp/<toolset>`.
pub async fn enter(doors: &Arc<Doors>, arrived: Arrived) -> Answer {
    let toolset = arrived.path.strip_prefix("/mcp/").map(str::to_owned);
    if !doors.gate.snapshot.load().has_toolset(toolset.as_deref()) {
        return answer::json(
            404,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":404,"message":"there is no such toolset"}}"#,
        );
    }
    let body = arrived.body.clone();
    let received = match ingress::read(&arrived.method, &arrived.headers, &body) {
        Ok(received) => received,
        Err(refused) if refused.status == 405 => {
            return answer::with_header(of_wire(refused), http::header::ALLOW, "POST");
        }
        Err(refused) => return of_wire(refused),
    };
    let transport = match transport::resume(doors, &arrived) {
        Ok(transport) => transport,
        Err(refused) => return *refused,
    };
    match received.incoming {
        Incoming::Initialize { id, capabilities, .. } => {
            let message = written::initialized(&id, received.version, &SERVER);
            begin(doors, &arrived, received.version, (capabilities.map_or("{}", |raw| raw.get()), &message))
        }
        Incoming::Discover { id } => answer::json(200, written::discovered(&id, &SERVER)),
        Incoming::Ping { id } => answer::json(200, written::pong(&id)),
        Incoming::ListTools { id, .. } => {
            let snapshot = doors.gate.snapshot.load();
            answer::json(200, list::tools(&snapshot, &arrived.caller, &id, received.version.era(), toolset.as_deref()))
        }
        Incoming::ListResources { ref id, .. }
        | Incoming::ListResourceTemplates { ref id }
        | Incoming::ReadResource { ref id, .. } => match remembered(doors, &arrived, transport, &received).await {
            Ok(message) => answer::json(200, message),
            Err(refusal) => of_wire(refuse::jsonrpc(&refusal, Some(id))),
        },
        Incoming::CallTool(ref call) => match known(doors, &arrived, transport, (&received, call)).await {
            Ok((asking, asked)) => {
                let name = asking.session.name.to_string();
                let answered = call::answer(doors, asking, call, asked, toolset.as_deref()).await;
                answer::with_header(answered, SESSION, &name)
            }
            Err(refusal) => of_wire(refuse::jsonrpc(&refusal, Some(&call.id))),
        },
        Incoming::Response(ref response) => {
            elicit::hear(doors, &arrived.caller, response).await;
            answer::empty(202)
        }
        Incoming::Notification(_) => answer::empty(202),
    }
}

/// What a session remembers, by the words of the request.
async fn remembered(
    doors: &Doors,
    arrived: &Arrived,
    transport: Option<Transport>,
    received: &Received<'_>,
) -> Result<String, Refusal> {
    let (gate, era) = (&doors.gate, received.version.era());
    let session = asking(arrived, transport, received)?.session;
    match &received.incoming {
        Incoming::ListResources { id, cursor } => resources::list(gate, &session, (id, era), cursor.as_deref()).await,
        Incoming::ReadResource { id, uri } => resources::read(gate, &session, (id, era), uri).await,
        Incoming::ListResourceTemplates { id } => Ok(resources::templates(id, era)),
        Incoming::Initialize { .. }
        | Incoming::Discover { .. }
        | Incoming::Ping { .. }
        | Incoming::ListTools { .. }
        | Incoming::CallTool(_)
        | Incoming::Notification(_)
        | Incoming::Response(_) => Err(Refusal::new(Code::InvalidRequest, "this is no request for a resource")),
    }
}

/// A legacy connection begins: it gets a session of the transport that leads back to the session that was named, or to a new one.
fn begin(doors: &Doors, arrived: &Arrived, version: Version, (capabilities, message): (&str, &str)) -> Answer {
    let begun = session_or_minted(&arrived.caller, arrived.session.clone()).and_then(|(session, origin)| {
        let transport = Transport::new(&session, origin, version, capabilities);
        Ok(doors.transport.seal(transport::PURPOSE, &transport)?)
    });
    match begun {
        Ok(token) => answer::with_header(answer::json(200, message.to_owned()), TRANSPORT, &token),
        Err(refusal) => of_wire(refuse::jsonrpc(&refusal, None)),
    }
}

/// What is known of a call besides what it says: who asks, and how.
async fn known(
    doors: &Doors,
    arrived: &Arrived,
    transport: Option<Transport>,
    (received, call): (&Received<'_>, &CallTool<'_>),
) -> Result<(Asking, Asked), Refusal> {
    let key = idempotency_key(arrived, received)?;
    let way = elicit::way(doors, arrived, transport.as_ref(), (received, call)).await?;
    Ok((asking(arrived, transport, received)?, Asked { key, era: received.version.era(), way }))
}

/// The session of a call: the one that is named by path, header or `_meta`, else the one of the transport, else a new one.
fn asking(arrived: &Arrived, transport: Option<Transport>, received: &Received<'_>) -> Result<Asking, Refusal> {
    let in_meta = (received.version.era() == Era::Modern).then(|| received.meta_text(META_SESSION)).flatten();
    let in_meta =
        in_meta.map(|name| name.parse().map_err(|problem: String| Refusal::new(Code::InvalidRequest, problem)));
    let in_meta = in_meta
        .transpose()?
        .map(|name| portcullis_domain::ids::SessionId { owner: arrived.caller.principal.clone(), name });
    if let Some(session) = &in_meta {
        arrived.caller.check_session(session)?;
    }
    let (session, origin) = match (arrived.session.clone().or(in_meta), transport) {
        (None, Some(transport)) => transport.session(&arrived.caller.principal),
        (named, _) => session_or_minted(&arrived.caller, named)?,
    };
    Ok(arrived.asking(session, origin, Door::Mcp))
}

/// The idempotency key that the caller gave in the header or in `_meta`.
fn idempotency_key(arrived: &Arrived, received: &Received<'_>) -> Result<Option<String>, Refusal> {
    match received.meta_text(META_KEY) {
        Some(key) => check_idempotency_key(&key).map(Some),
        None => header_idempotency_key(&arrived.headers),
    }
}

/// The member of `_meta` by which a client gives a call its idempotency key.
const META_KEY: &str = "portcullis/idempotency-key";
/// The member of `_meta` by which a modern client names its session.
const META_SESSION: &str = "portcullis/session";

/// An answer that the language has made.
fn of_wire(written: refuse::Answer) -> Answer {
    if written.body.is_empty() {
        answer::empty(written.status)
    } else {
        answer::whole(written.status, written.content_type, written.body)
    }
}
