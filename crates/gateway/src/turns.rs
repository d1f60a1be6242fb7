//! The turns of sessions with agents, as far as they wait in this process: one after the other, in the order in which they came.
//!
//! The rules hold the order across gateways; here nobody needs to ask again and again, and the queue has a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_domain::call::Capability;
use portcullis_domain::ids::SessionId;
use portcullis_domain::refusal::{Code, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many turns of one session may wait for one agent, the one under way included.
pub const QUEUE_LIMIT: usize = 16;

type Name = (SessionId, Capability);

/// The turns that wait or are under way here.
#[derive(Debug, Default)]
pub struct Turns {
    queues: Arc<Mutex<HashMap<Name, Queue>>>,
}

#[derive(Debug)]
struct Queue {
    place: Arc<Semaphore>,
    /// How many wait or are under way.
    length: usize,
}

/// A place in the queue; dropped when the turn is over.
#[derive(Debug)]
struct Waiting {
    queues: Arc<Mutex<HashMap<Name, Queue>>>,
    name: Name,
}

/// The turn. It is over when this is dropped.
#[derive(Debug)]
pub struct TurnPlace {
    // The order matters: the place is free before the queue may be forgotten.
    _place: OwnedSemaphorePermit,
    _waiting: Waiting,
}

impl Turns {
    /// Waits for the turn, at most that long.
    ///
    /// # Errors
    ///
    /// [`Code::TooMany`] when the queue is full, [`Code::TurnUnderWay`] when it takes longer.
    pub async fn enter(
        &self,
        session: &SessionId,
        agent: &Capability,
        patience: Duration,
    ) -> Result<TurnPlace, Refusal> {
        let name = (session.clone(), agent.clone());
        let (waiting, place) = self.queue(name)?;
        let under_way = || under_way(agent);
        if patience.is_zero() {
            let place = place.try_acquire_owned().map_err(|_| under_way())?;
            return Ok(TurnPlace { _place: place, _waiting: waiting });
        }
        match tokio::time::timeout(patience, place.acquire_owned()).await {
            Ok(Ok(place)) => Ok(TurnPlace { _place: place, _waiting: waiting }),
            Ok(Err(_)) | Err(_) => Err(under_way()),
        }
    }

    fn queue(&self, name: Name) -> Result<(Waiting, Arc<Semaphore>), Refusal> {
        let mut queues = lock(&self.queues);
        let queue =
            queues.entry(name.clone()).or_insert_with(|| Queue { place: Arc::new(Semaphore::new(1)), length: 0 });
        if queue.length >= QUEUE_LIMIT {
            let message =
                format!("{QUEUE_LIMIT} turns of this session with `{}` are under way or waiting", name.1.name);
            return Err(Refusal::new(Code::TooMany, message));
        }
        queue.length += 1;
        let place = queue.place.clone();
        drop(queues);
        Ok((Waiting { queues: self.queues.clone(), name }, place))
    }
}

/// The refusal of a turn that would have to wait longer than the caller does.
#[must_use]
pub fn under_way(agent: &Capability) -> Refusal {
    Refusal::new(Code::TurnUnderWay, format!("another turn of this session with `{}` is under way", agent.name))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get_mut(&self.name) {
            queue.length -= 1;
            if queue.length == 0 {
                queues.remove(&self.name);
            }
        }
    }
}

/// Nobody panics while holding it; if so, what is in it is still whole.
fn lock(queues: &Mutex<HashMap<Name, Queue>>) -> MutexGuard<'_, HashMap<Name, Queue>> {
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use portcullis_domain::call::Kind;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn turns_come_one_after_the_other_and_the_queue_has_a_limit() {
        let turns = Arc::new(Turns::default());
        let (session, agent) = ("ann:claim-1".parse().unwrap(), Capability::new(Kind::Agent, "adjuster"));
        let first = turns.enter(&session, &agent, LONG).await.unwrap();
        let refused = turns.enter(&session, &agent, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.code, Code::TurnUnderWay);
        let other = Capability::new(Kind::Agent, "auditor");
        drop(turns.enter(&session, &other, Duration::ZERO).await.unwrap());
        drop(turns.enter(&"ann:claim-2".parse().unwrap(), &agent, Duration::ZERO).await.unwrap());
        let mut waiting = Vec::new();
        for _ in 1..QUEUE_LIMIT {
            let (turns, session, agent) = (turns.clone(), session.clone(), agent.clone());
            waiting.push(tokio::spawn(async move { turns.enter(&session, &agent, LONG).await.map(drop) }));
            tokio::task::yield_now().await;
        }
        assert_eq!(turns.enter(&session, &agent, LONG).await.unwrap_err().code, Code::TooMany);
        drop(first);
        for turn in waiting {
            turn.await.unwrap().unwrap();
        }
        assert!(lock(&turns.queues).is_empty());
    }
}
