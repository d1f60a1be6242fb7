//! What a task is granted, as it is when a call is judged: looked up once, and looked at again where everything is decided.

use std::collections::BTreeMap;

use portcullis_domain::authority::Authority;
use portcullis_domain::call::{Capability, Place};
use portcullis_domain::event::Event;
use portcullis_domain::grant::{Grant, GrantVersion};
use portcullis_domain::ids::{Actor, CallId, SessionId, SessionName};
use portcullis_domain::policy::grants::{Counts, Layer, first_with_room, version};
use portcullis_domain::policy::within::{Call, Match, matches};
use portcullis_domain::policy::{Said, Within};
use portcullis_domain::refusal::Refusal;

use crate::journal::{Journal, StoreFault};
use crate::scratchpad;

/// One grant that applies.
#[derive(Debug)]
pub struct Applying {
    /// The task that it is the grant of; none for the session's.
    pub task: Option<CallId>,
    /// What it says.
    pub grant: Grant,
    /// What was counted.
    pub counts: Counts,
}

/// The grants that apply to what is asked, the session's first.
#[derive(Debug)]
pub struct Granted {
    /// Which they are.
    pub version: GrantVersion,
    /// The grants.
    pub layers: Vec<Applying>,
    /// The versions of the values of the session's state that they read; none where there is no value.
    versions: BTreeMap<SessionName, Option<u64>>,
    /// Those of the values that no agent has written, as JSON.
    state: BTreeMap<SessionName, String>,
}

impl Granted {
    /// Those that apply to what is asked on this authority in the session; none where there are none.
    ///
    /// # Errors
    ///
    /// When the store can't be read; when it is not known any more what the task was granted.
    pub async fn find(journal: &Journal, session: &SessionId, authority: &Authority) -> Result<Option<Self>, Refusal> {
        let (id, under) = (session.clone(), authority.under);
        let looked_up = journal.read(move |world| {
            let layers = world.grants.layers(&id, under)?;
            let version = version(world.grants.number(&id), &layers);
            Ok::<_, Refusal>((version, layers.iter().map(applying).collect::<Vec<_>>()))
        });
        let (version, layers) = looked_up.await??;
        if layers.is_empty() {
            return Ok(None);
        }
        let mut granted = Self { version, layers, versions: BTreeMap::new(), state: BTreeMap::new() };
        let keys: Vec<SessionName> = granted.layers.iter().flat_map(|layer| layer.grant.reads_state()).collect();
        for key in keys {
            granted.read_state(journal, session, key).await?;
        }
        Ok(Some(granted))
    }

    async fn read_state(&mut self, journal: &Journal, session: &SessionId, key: SessionName) -> Result<(), StoreFault> {
        let found = scratchpad::written(journal, session, &key).await?;
        self.versions.insert(key.clone(), found.as_ref().map(|(located, ..)| located.version));
        let Some((_, placed, body)) = found else { return Ok(()) };
        let is_put = matches!(&placed.entry.event, Event::StatePut(put) if put.key == key);
        let is_by_owner = placed.entry.actor == Actor::Principal(session.owner.clone());
        if let (true, Ok(body)) = (is_put && is_by_owner, String::from_utf8(body.to_vec())) {
            self.state.insert(key, body);
        }
        Ok(())
    }

    /// Whether what was said in the session must be known to judge a call of this.
    #[must_use]
    pub fn reads_words(&self, capability: &Capability) -> bool {
        self.layers.iter().any(|layer| layer.grant.reads_words(capability))
    }

    /// Whether a call is within all of them. What is inside a model's answer is not admitted there, so that how much is left is looked at here.
    ///
    /// # Errors
    ///
    /// Why not, in words that a model can act on.
    pub fn judge(
        &self,
        capability: &Capability,
        arguments: Option<&str>,
        said: Option<&Said>,
        place: Place,
    ) -> Result<(), String> {
        for (layer, entries) in self.layers.iter().zip(self.entries(capability, arguments, said)?) {
            if place == Place::ModelAnswer {
                first_with_room(&layer.as_layer(), &entries).map_err(|refusal| refusal.message)?;
            }
        }
        Ok(())
    }

    /// What the rules are told of a call at its admission.
    #[must_use]
    pub fn within(&self, capability: &Capability, arguments: Option<&str>, said: Option<&Said>) -> Within {
        let entries = self.entries(capability, arguments, said).unwrap_or_default();
        Within { number: self.version.number, entries, state: self.versions.clone() }
    }

    fn entries(
        &self,
        capability: &Capability,
        arguments: Option<&str>,
        said: Option<&Said>,
    ) -> Result<Vec<Vec<Match>>, String> {
        let call = Call { capability, arguments, said, state: &self.state };
        self.layers.iter().map(|layer| matches(&layer.grant, call)).collect()
    }
}

impl Applying {
    fn as_layer(&self) -> Layer<'_> {
        Layer { task: self.task, grant: &self.grant, counts: &self.counts }
    }
}

fn applying(layer: &Layer<'_>) -> Applying {
    Applying { task: layer.task, grant: layer.grant.clone(), counts: layer.counts.clone() }
}

/// The arguments as grants read them: some models write nothing where a tool has none.
#[must_use]
pub fn arguments(capability: &Capability, payload: &[u8]) -> Option<String> {
    let is_tool = capability.kind == portcullis_domain::call::Kind::Tool;
    let text = if payload.is_empty() { "{}".to_owned() } else { String::from_utf8_lossy(payload).into_owned() };
    is_tool.then_some(text)
}
