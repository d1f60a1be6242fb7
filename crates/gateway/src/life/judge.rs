//! Tool calls inside a model's answer: judged before the client has them.

use bytes::Bytes;
use portcullis_domain::admission::Park;
use portcullis_domain::admission::admit::denied;
use portcullis_domain::call::{Kind, Place};
use portcullis_domain::event::Judged;
use portcullis_domain::journal::Body;
use portcullis_domain::policy::Effect;
use portcullis_domain::refusal::Refusal;

use crate::asking::Asking;
use crate::entropy::new_call;
use crate::life::Gate;
use crate::life::guarding::Notes;
use crate::snapshot::{Known, Setting, Snapshot};

impl Gate {
    /// What policy says of a tool call inside a model's answer. A name that may mean several tools must be allowed for all of them.
    ///
    /// Guardrails look at the arguments once it has said yes, and what they make of them is asked about again.
    pub async fn judge(
        &self,
        snapshot: &Snapshot,
        asking: &Asking,
        (name, arguments): (&str, &str),
        notes: &mut Notes,
    ) -> Judged {
        let place = Place::ModelAnswer;
        let mut known = self.known_in_answer(snapshot, asking, name, arguments).await;
        let mut arguments = arguments.to_owned();
        if known.obstacle.is_none() && known.decision.effect != Effect::Deny {
            match self.guard_call((snapshot, asking), name, &arguments, notes).await {
                Ok(made) if made == arguments => {}
                Ok(made) => {
                    known = self.known_in_answer(snapshot, asking, name, &made).await;
                    arguments = made;
                }
                Err(refusal) => known.obstacle = Some(refusal),
            }
        }
        let outside = known.decision.outside;
        let (refusal, passed) = match (known.obstacle.take(), known.decision.effect) {
            (Some(obstacle), _) => (Some(obstacle), Effect::Allow),
            (None, Effect::Deny) => (Some(denied(&known.decision)), Effect::Allow),
            (None, Effect::Ask) if known.capability.kind == Kind::Tool => (None, Effect::Ask),
            (None, Effect::Ask) => (self.park(snapshot, asking, &known, &arguments).await.err(), Effect::Allow),
            (None, Effect::Allow) => (None, Effect::Allow),
        };
        self.metrics.judged(refusal.is_none());
        self.metrics.audited(known.decision.audit.len());
        Judged {
            capability: known.capability,
            place,
            effect: if refusal.is_some() { Effect::Deny } else { passed },
            arguments,
            policies: known.decision.policies,
            audit: known.decision.audit,
            outside,
            message: refusal.as_ref().map(|refusal| refusal.message.clone()),
            reasons: refusal.map(|refusal| refusal.reasons).unwrap_or_default(),
        }
    }

    /// What is known of a tool call inside a model's answer.
    async fn known_in_answer(&self, snapshot: &Snapshot, asking: &Asking, name: &str, arguments: &str) -> Known {
        let place = Place::ModelAnswer;
        let know = |snapshot: &Snapshot, setting: &Setting| {
            let meant = snapshot.catalogue.meant(name);
            let known = meant.iter().map(|tool| snapshot.know_tool(asking, setting, place, tool, arguments));
            let all = known.reduce(|first, second| {
                let is_stricter = first.obstacle.is_none() && second.decision.effect > first.decision.effect;
                if is_stricter { second } else { first }
            });
            all.unwrap_or_else(|| snapshot.know_function(asking, setting, place, name, arguments))
        };
        self.judged(asking, snapshot, know).await
    }

    /// What is known of a tool call inside a model's answer; where that can't be found out, that it must not be made.
    pub(super) async fn judged(
        &self,
        asking: &Asking,
        snapshot: &Snapshot,
        know: impl Fn(&Snapshot, &Setting) -> Known,
    ) -> Known {
        let known = match self.grants(asking).await {
            Ok(grants) => self.known(asking, snapshot, grants, &know).await.map_err(Refusal::from),
            Err(refusal) => Err(refusal),
        };
        known.map(|(known, _)| known).unwrap_or_else(|refusal| {
            let mut known = know(snapshot, &Setting::default());
            known.decision.errors.extend(refusal.reasons.iter().cloned());
            known.obstacle = Some(refusal);
            known
        })
    }

    /// Uses the approval of a tool call inside a model's answer, or asks for one.
    async fn park(&self, snapshot: &Snapshot, asking: &Asking, known: &Known, arguments: &str) -> Result<(), Refusal> {
        let park = Park {
            call: new_call()?,
            authority: asking.authority.clone(),
            session: asking.session.clone(),
            door: asking.door,
            capability: known.capability.clone(),
            arguments: Body::new(Bytes::copy_from_slice(arguments.as_bytes())),
            decision: known.decision.clone(),
            approval_us: snapshot.config.policy.approvals.expires_us(),
        };
        let parked = self.journal.execute(park).await?;
        self.approvals.notify_one();
        parked
    }
}
