//! A server that keeps state in its session: every session of ours has one of its own there, or a program of its own.
//!
//! One is made with a session's first call, stays with its replica, and is ended when nobody has called for a while, when the session is closed, when the session has moved
//! to another replica, and with the gateway. What the server knew of the session is gone with it. They are kept in memory only: after a restart of the gateway, and on
//! another gateway, a session gets a new one.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use portcullis_domain::ids::SessionId;
use portcullis_domain::registry::Replica;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::reply::{ToolAnswer, UpstreamFault};
use crate::upstreams::egress::{ToolCall, ToolServer, Waiting};
use crate::upstreams::tool::http::HttpToolServer;
use crate::upstreams::tool::stdio::StdioToolServer;

/// After how long without a call one is ended, if nothing is said.
pub const IDLE: Duration = Duration::from_secs(900);
/// How many there may be over HTTP, if nothing is said.
pub const SESSIONS_LIMIT: usize = 1_000;
/// How many programs there may be, if nothing is said.
pub const PROGRAMS_LIMIT: usize = 32;
/// How long calls under way may take to end before the connection that they are made by is ended all the same.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked whether they have ended.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);
/// How long a stop waits for servers to end what there is.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// What one session has of a server for itself.
pub enum Own {
    /// A session over HTTP.
    Http(Box<HttpToolServer>),
    /// A program.
    Program(StdioToolServer),
}

impl Own {
    fn server(&self) -> &dyn ToolServer {
        match self {
            Self::Http(server) => &**server,
            Self::Program(server) => server,
        }
    }

    /// Ends it once the calls under way have ended.
    async fn end(self: Arc<Self>) {
        let drained = async {
            // Nobody gets it any more: those who have it are calling.
            while Arc::strong_count(&self) > 1 {
                tokio::time::sleep(DRAIN_PAUSE).await;
            }
        };
        let _ = tokio::time::timeout(DRAIN_LIMIT, drained).await;
        match &*self {
            Self::Http(server) => server.end_session().await,
            Self::Program(server) => server.stop().await,
        }
    }
}

/// Makes one for a session, at a replica where there are several.
pub type Make = Box<dyn Fn(Option<&Replica>) -> Result<Own, String> + Send + Sync>;

/// How many there may be, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many at a time.
    pub sessions: usize,
    /// For how long without a call.
    pub idle: Duration,
}

/// A server of which every session has its own.
pub struct PerSession {
    /// Asked for the tools, one after the other until one answers. No session's call goes there.
    listing: Vec<Arc<dyn ToolServer>>,
    owned: Arc<Owned>,
}

struct Owned {
    make: Make,
    bounds: Bounds,
    /// Locked to look up and to change, never across a wait.
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    is_stopped: bool,
    open: HashMap<SessionId, Entry>,
}

struct Entry {
    own: Arc<Own>,
    replica: Option<Replica>,
    used_at: Instant,
}

impl PerSession {
    /// A server that is asked for its tools by `listing`, and of which every session has what `make` makes.
    #[must_use]
    pub fn new(listing: Vec<Arc<dyn ToolServer>>, make: Make, bounds: Bounds) -> Self {
        Self { listing, owned: Arc::new(Owned { make, bounds, sessions: Mutex::default() }) }
    }
}

impl Owned {
    /// What the session has, at the replica that it is placed at; made where it has none there.
    fn enter(self: &Arc<Self>, session: &SessionId, replica: Option<&Replica>) -> Result<Arc<Own>, UpstreamFault> {
        let mut sessions = self.lock();
        if sessions.is_stopped {
            return Err(UpstreamFault::Unreachable("the server is not configured any more".to_owned()));
        }
        if let Some(entry) = sessions.open.get_mut(session).filter(|entry| entry.replica.as_ref() == replica) {
            entry.used_at = now();
            return Ok(entry.own.clone());
        }
        if let Some(left) = sessions.open.remove(session) {
            tokio::spawn(left.own.end());
        }
        if sessions.open.len() >= self.bounds.sessions {
            let problem = format!("{} sessions have one of their own", sessions.open.len());
            return Err(UpstreamFault::Busy(problem));
        }
        let own = Arc::new((self.make)(replica).map_err(UpstreamFault::Unreachable)?);
        let entry = Entry { own: own.clone(), replica: replica.cloned(), used_at: now() };
        sessions.open.insert(session.clone(), entry);
        tokio::spawn(end_when_idle(Arc::downgrade(self), self.bounds.idle, session.clone(), Arc::downgrade(&own)));
        Ok(own)
    }

    /// A call has ended: the session has been there until now.
    fn used(&self, session: &SessionId) {
        if let Some(entry) = self.lock().open.get_mut(session) {
            entry.used_at = now();
        }
    }

    /// Takes out what the session has, if that is this one and nobody has used it for so long; says otherwise for how long it must be left. None when it is not there any more.
    fn take_idle(&self, session: &SessionId, own: &Weak<Own>, idle: Duration) -> Option<Result<Arc<Own>, Duration>> {
        let mut sessions = self.lock();
        let entry = sessions.open.get(session).filter(|entry| std::ptr::eq(Arc::as_ptr(&entry.own), own.as_ptr()))?;
        let left = (entry.used_at + idle).saturating_duration_since(now());
        // Whoever calls has it too, and is given it under this lock only.
        let is_calling = Arc::strong_count(&entry.own) > 1;
        if is_calling || !left.is_zero() {
            return Some(Err(if left.is_zero() { idle } else { left }));
        }
        sessions.open.remove(session).map(|entry| Ok(entry.own))
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // Nobody panics while holding it; if so, what is in it is still whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends what a session has once nobody has used it for so long.
async fn end_when_idle(owned: Weak<Owned>, idle: Duration, session: SessionId, own: Weak<Own>) {
    let mut pause = idle;
    loop {
        tokio::time::sleep(pause).await;
        let Some(owned) = owned.upgrade() else { return };
        match owned.take_idle(&session, &own, idle) {
            None => return,
            Some(Err(left)) => pause = left,
            Some(Ok(own)) => return own.end().await,
        }
    }
}

impl ToolServer for PerSession {
    fn list(&self) -> Waiting<'_, Bytes> {
        Box::pin(async {
            let mut failed = UpstreamFault::Unreachable("it has no address".to_owned());
            for server in &self.listing {
                match server.list().await {
                    Ok(list) => return Ok(list),
                    Err(fault) => failed = fault,
                }
            }
            Err(failed)
        })
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> Waiting<'a, ToolAnswer> {
        Box::pin(async move {
            let own = self.owned.enter(call.session, call.replica)?;
            let answer = own.server().call(call).await;
            drop(own);
            self.owned.used(call.session);
            answer
        })
    }

    fn has_changed(&self) -> bool {
        self.listing.iter().any(|server| server.has_changed())
    }

    fn session_ended(&self, session: &SessionId) {
        if let Some(entry) = self.owned.lock().open.remove(session) {
            tokio::spawn(entry.own.end());
        }
    }

    fn stop(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            let open = {
                let mut sessions = self.owned.lock();
                sessions.is_stopped = true;
                std::mem::take(&mut sessions.open)
            };
            let mut ends: JoinSet<()> = open.into_values().map(|entry| entry.own.end()).collect();
            let all = async { while ends.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(STOP_PATIENCE, all).await;
            // Those whose calls take longer are ended after them.
            ends.detach_all();
            for server in &self.listing {
                server.stop().await;
            }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "idle times are measured by a clock that never jumps")]
fn now() -> Instant {
    Instant::now()
}
