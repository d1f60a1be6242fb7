//! Where guardrails look by themselves: at little text at once, at more beside the other work, and at few such texts at a time.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use portcullis_domain::policy::Point;
use portcullis_guard::Finding;
use tokio::sync::Semaphore;

use crate::guardrails::{Content, Rule};

/// More text than that is looked at beside the other work, so that nobody waits for it longer than the rule's time.
const INLINE_LIMIT_BYTES: usize = 4 << 10;
/// How many texts are looked at beside the other work at a time, where there are not more processors than that.
const LEAST_LOOKS: usize = 4;

/// The places for looking beside the other work.
#[derive(Debug)]
pub struct Looks {
    /// Whoever looks has one until they are done, also when nobody waits for it any more: what has begun can't be stopped.
    places: Arc<Semaphore>,
}

impl Default for Looks {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(LEAST_LOOKS, NonZeroUsize::get);
        Self { places: Arc::new(Semaphore::new(processors.max(LEAST_LOOKS))) }
    }
}

impl Looks {
    /// What a rule finds, within its time; waiting for a place is a part of that.
    ///
    /// # Errors
    ///
    /// A sentence when it can't be looked at.
    pub async fn find(&self, rule: &Arc<Rule>, point: Point, content: &Content) -> Result<Vec<Finding>, String> {
        if content.as_str().len() <= INLINE_LIMIT_BYTES {
            return rule.find(point, content);
        }
        let (looking, whole) = (rule.clone(), content.clone());
        self.run(rule.timeout, move || looking.find(point, &whole)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let looking = async {
            let place = self.places.clone().acquire_owned().await.map_err(|error| error.to_string())?;
            let looked = tokio::task::spawn_blocking(move || {
                let done = work();
                drop(place);
                done
            });
            looked.await.map_err(|_| "it ended by a fault of the gateway".to_owned())
        };
        let late = |_| format!("it takes longer than {} ms", limit.as_millis());
        tokio::time::timeout(limit, looking).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_keeps_its_place_until_it_is_done() {
        let looks = Arc::new(Looks::default());
        let limit = looks.places.available_permits();
        let (begins, begun) = mpsc::sync_channel(limit);
        let mut waiting = Vec::new();
        for _ in 0..limit {
            let (end, ends) = mpsc::sync_channel::<()>(1);
            let (looks, begins) = (looks.clone(), begins.clone());
            let work = move || {
                begins.send(()).unwrap();
                ends.recv().unwrap_err();
            };
            waiting.push((tokio::spawn(async move { looks.run(LONG, work).await }), end));
        }
        let all_begun = tokio::task::spawn_blocking(move || (0..limit).all(|_| begun.recv_timeout(LONG).is_ok()));
        assert!(all_begun.await.unwrap());
        let mut ends = Vec::new();
        for (task, end) in waiting {
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            ends.push(end);
        }
        let late = looks.run(Duration::from_millis(1), || "looked").await;
        assert_eq!(late, Err("it takes longer than 1 ms".to_owned()));
        drop(ends);
        assert_eq!(looks.run(LONG, || "looked").await, Ok("looked"));
    }
}
