//! Tool calls that come twice: which are under way in this process, who still waits for them, and whose answers were handed over.
//!
//! What may be made again is decided by the rules, from the journal. What is here only spares waiting callers from asking, and tells the rules what
//! no journal can know: that a caller is still there, or has got the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use portcullis_domain::digest::Digest;
use portcullis_domain::ids::{CallId, SessionId};
use portcullis_domain::session::Mark;
use tokio::sync::{oneshot, watch};

/// For how many sessions deliveries are remembered until their next call; beyond that they are forgotten, and a repetition counts as one a little longer.
const SESSIONS_LIMIT: usize = 16_384;
/// How many deliveries of one session are remembered until its next call.
const DELIVERIES_LIMIT: usize = 64;

/// Resolves when the caller has left. It never does for those whose leaving means nothing.
pub type Gone = oneshot::Receiver<()>;

/// A caller that waits for an answer.
#[derive(Debug)]
pub struct Patience {
    /// The idempotency key that it gave.
    pub key: Option<String>,
    /// What keeps the call going; others may hold it too.
    pub stays: Weak<oneshot::Sender<()>>,
    /// There as long as somebody listens.
    pub listens: Weak<()>,
    /// Resolves when nothing keeps the call going.
    pub gone: Gone,
}

/// What this process knows of calls that come twice.
#[derive(Debug, Default)]
pub struct Repetitions {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    running: HashMap<CallId, Running>,
    delivered: HashMap<SessionId, Vec<CallId>>,
}

#[derive(Debug)]
struct Running {
    session: SessionId,
    content: Digest,
    stays: Weak<oneshot::Sender<()>>,
    listens: Weak<()>,
    ended: watch::Receiver<()>,
}

/// Keeps a call among those that are under way; dropped once it is settled.
#[derive(Debug)]
pub struct UnderWay {
    known: Arc<Mutex<Known>>,
    call: CallId,
    /// Closed with this value: that is what others wait for.
    _ends: watch::Sender<()>,
}

/// The wait for another caller's call. It keeps that call going.
#[derive(Debug)]
pub struct Wait {
    _stays: Option<Arc<oneshot::Sender<()>>>,
    ended: watch::Receiver<()>,
}

impl Repetitions {
    /// A marked call begins.
    #[must_use]
    pub fn begin(&self, call: CallId, session: &SessionId, mark: Mark, patience: &Patience) -> UnderWay {
        let (ends, ended) = watch::channel(());
        let running = Running {
            session: session.clone(),
            content: mark.content,
            stays: patience.stays.clone(),
            listens: patience.listens.clone(),
            ended,
        };
        self.lock().running.insert(call, running);
        UnderWay { known: self.known.clone(), call, _ends: ends }
    }

    /// Whether somebody is waiting here for a call of that content: another one beside it is meant as another one.
    #[must_use]
    pub fn is_awaited(&self, session: &SessionId, content: Digest) -> bool {
        let is_awaited = |running: &Running| {
            running.content == content && running.session == *session && running.listens.strong_count() > 0
        };
        self.lock().running.values().any(is_awaited)
    }

    /// The wait for the end of a call that is under way here.
    #[must_use]
    pub fn wait_for(&self, call: CallId) -> Option<Wait> {
        let known = self.lock();
        let running = known.running.get(&call)?;
        Some(Wait { _stays: running.stays.upgrade(), ended: running.ended.clone() })
    }

    /// The answer of that call was handed to its caller.
    pub fn delivered(&self, session: &SessionId, call: CallId) {
        let mut known = self.lock();
        if known.delivered.len() >= SESSIONS_LIMIT && !known.delivered.contains_key(session) {
            known.delivered.clear();
        }
        let calls = known.delivered.entry(session.clone()).or_default();
        if calls.len() >= DELIVERIES_LIMIT {
            calls.remove(0);
        }
        calls.push(call);
    }

    /// The calls of that session whose answers were handed over, as far as the journal does not say so.
    #[must_use]
    pub fn deliveries(&self, session: &SessionId) -> Vec<CallId> {
        self.lock().delivered.get(session).cloned().unwrap_or_default()
    }

    /// The journal says now that these were delivered.
    pub fn journaled(&self, session: &SessionId, calls: &[CallId]) {
        if calls.is_empty() {
            return;
        }
        let mut known = self.lock();
        if let Some(delivered) = known.delivered.get_mut(session) {
            delivered.retain(|call| !calls.contains(call));
            if delivered.is_empty() {
                known.delivered.remove(session);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Wait {
    /// Resolves when the call is settled.
    pub async fn over(mut self) {
        while self.ended.changed().await.is_ok() {}
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.known).running.remove(&self.call);
    }
}

/// Nobody panics while holding it; if so, what is in it is still whole.
fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(content: u8) -> Mark {
        Mark { id: Digest([content; 32]), content: Digest([content; 32]) }
    }

    #[tokio::test]
    async fn who_waits_for_another_callers_call_keeps_it_going_and_hears_its_end() {
        let repetitions = Repetitions::default();
        let (session, call) = ("ann:claim-1".parse().unwrap(), CallId([1; 16]));
        let (sender, gone) = oneshot::channel();
        let (stays, listens) = (Arc::new(sender), Arc::new(()));
        let mut patience =
            Patience { key: None, stays: Arc::downgrade(&stays), listens: Arc::downgrade(&listens), gone };
        let under_way = repetitions.begin(call, &session, mark(1), &patience);
        assert!(repetitions.is_awaited(&session, mark(1).content));
        assert!(!repetitions.is_awaited(&session, mark(2).content));
        assert!(!repetitions.is_awaited(&"ann:claim-2".parse().unwrap(), mark(1).content));
        let wait = repetitions.wait_for(call).unwrap();
        drop((stays, listens));
        assert!(!repetitions.is_awaited(&session, mark(1).content));
        assert!(patience.gone.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        drop(under_way);
        wait.over().await;
        assert!(patience.gone.await.is_err());
        assert!(repetitions.wait_for(call).is_none());
    }

    #[test]
    fn deliveries_are_told_until_the_journal_has_them() {
        let repetitions = Repetitions::default();
        let (session, other) = ("ann:claim-1".parse().unwrap(), "ann:claim-2".parse().unwrap());
        for call in 0..=DELIVERIES_LIMIT {
            repetitions.delivered(&session, CallId([u8::try_from(call).unwrap(); 16]));
        }
        assert_eq!(repetitions.deliveries(&session).len(), DELIVERIES_LIMIT);
        assert_eq!(repetitions.deliveries(&other), []);
        let told = repetitions.deliveries(&session);
        repetitions.delivered(&session, CallId([200; 16]));
        repetitions.journaled(&session, &told);
        assert_eq!(repetitions.deliveries(&session), [CallId([200; 16])]);
    }
}
