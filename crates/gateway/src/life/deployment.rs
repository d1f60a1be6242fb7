//! Which deployment of a model a call goes to, and what is tried when that one can't take it.
//!
//! Only what certainly was not done is tried elsewhere: the connection was refused, or the answer is that there is too much to do. Each attempt is
//! a call of its own in the journal, held and settled for itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use portcullis_domain::admission::{Admitted, Settle};
use portcullis_domain::event::Outcome;
use portcullis_domain::journal::Body;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::registry::Replica;

use crate::registry::{Deployment, Model};
use crate::reply::{ModelAnswer, UpstreamFault};
use crate::upstreams::client::HttpClient;
use crate::upstreams::replicas::Replicas;

/// How many deployments are tried for one call.
const ATTEMPTS_LIMIT: usize = 3;
/// How long one that has too much to do is left alone where it does not say.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// The deployments of a model that one call may still go to.
pub(super) struct Choice<'a> {
    deployments: &'a [Deployment],
    /// Those that could not take it.
    left: Vec<Replica>,
}

impl<'a> Choice<'a> {
    pub(super) fn of(model: Option<&'a Arc<Model>>) -> Self {
        Self { deployments: model.map_or(&[], |model| &model.deployments), left: Vec::new() }
    }

    /// Those that may be asked now; none where there is no choice.
    pub(super) fn candidates(&self, replicas: &Replicas) -> Option<Vec<Replica>> {
        (!self.deployments.is_empty()).then(|| replicas.candidates(&self.open()))
    }

    /// The model as it is where the call goes.
    pub(super) fn chosen(&self, admitted: &Admitted, model: &Arc<Model>) -> Arc<Model> {
        let replica = admitted.placement().map(|placement| &placement.replica);
        let chosen = self.deployments.iter().find(|deployment| Some(&deployment.replica) == replica);
        chosen.map_or(model, |deployment| &deployment.model).clone()
    }

    /// Remembers what the outcome says of the deployment. Says whether the call goes to another one now.
    pub(super) fn goes_on(
        &mut self,
        replicas: &Replicas,
        admitted: &Admitted,
        answer: &Result<ModelAnswer, UpstreamFault>,
    ) -> bool {
        let Some(placement) = admitted.placement() else { return false };
        match answer {
            Ok(ModelAnswer::Error { status, headers, .. }) if is_busy(*status) => {
                replicas.busy(&placement.replica, pause(headers));
            }
            Err(UpstreamFault::Unreachable(_)) => replicas.unreachable(&placement.replica),
            Ok(_) | Err(_) => return false,
        }
        self.leave(admitted)
    }

    /// The deployment that was asked could not take the call. Says whether there is another one to ask.
    fn leave(&mut self, admitted: &Admitted) -> bool {
        let Some(placement) = admitted.placement() else { return false };
        self.left.push(placement.replica.clone());
        self.left.len() < ATTEMPTS_LIMIT && !self.open().is_empty()
    }

    fn open(&self) -> Vec<Replica> {
        let is_open = |deployment: &&Deployment| !deployment.is_draining && !self.left.contains(&deployment.replica);
        self.deployments.iter().filter(is_open).map(|deployment| deployment.replica.clone()).collect()
    }
}

/// Looks whether a deployment is still there that broke off or was silent.
pub(super) async fn look(replicas: &Replicas, http: &HttpClient, admitted: &Admitted, fault: &UpstreamFault) {
    let is_suspect = matches!(fault, UpstreamFault::Broken(_) | UpstreamFault::TimedOut(_));
    if let Some(placement) = admitted.placement().filter(|_| is_suspect) {
        replicas.probe(http, &placement.replica, None).await;
    }
}

/// The end of an attempt that a deployment did not take: it cost nothing.
pub(super) fn not_taken(admitted: &Admitted, body: Bytes) -> Settle {
    Settle {
        call: admitted.call(),
        outcome: Outcome::Failed,
        tokens: None,
        cost: Some(Nanodollars::ZERO),
        answer: Some(Body::new(body)),
        judged: Vec::new(),
        labels: Vec::new(),
        guarded: Vec::new(),
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn pause(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(BUSY_PAUSE, Duration::from_secs)
}
