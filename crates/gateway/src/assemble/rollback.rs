//! Putting rules of before back in force, and taking that back. It is done where reloads are done, so that none comes between.

use std::time::Duration;

use portcullis_cedar::Source;
use portcullis_domain::admission::{RollBack, RollForward};
use portcullis_domain::ids::Actor;
use portcullis_domain::policy::event::RolledBack;
use portcullis_domain::policy::{PutBack as InForce, Version};
use portcullis_domain::refusal::{Code, Refusal};
use tokio::sync::oneshot;

use crate::assemble::{Assembly, activation};
use crate::config::Problem;
use crate::policy::rulebook::{self, Choice, PutBack, Rulebook};
use crate::rollback::versions::{Put, Versions, made_of};
use crate::rollback::{Order, Ready, Turn, Wish};
use crate::snapshot::Snapshot;

/// How long a door may take to have it journaled. After that the world says what became of it.
const DONE_LIMIT: Duration = Duration::from_secs(30);
/// How many problems are named to whoever has ordered it.
const PROBLEMS_SHOWN: usize = 3;

/// A snapshot that can be put in force, and what is to be journaled for it.
struct Prepared {
    snapshot: Snapshot,
    turn: Turn,
    restored: Option<Version>,
    replaced: Version,
}

impl Assembly {
    /// Makes ready what was ordered, and puts it in force once it is journaled.
    pub async fn serve(&mut self, order: Order) {
        let Order { wish, by, reason, reply } = order;
        let prepared = match self.prepare(wish, by, reason).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                // Whoever has ordered it may have left.
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        let Prepared { snapshot, turn, restored, replaced } = prepared;
        let ((done, is_done), (told, in_force)) = (oneshot::channel(), oneshot::channel());
        let version = snapshot.policy.version();
        let ready = Ready { turn, version, restored, replaced, done, in_force };
        if reply.send(Ok(ready)).is_err() {
            return;
        }
        // Whether it was done, or the door has left in the middle, the world knows.
        let _ = tokio::time::timeout(DONE_LIMIT, is_done).await;
        let rulebook = snapshot.rulebook;
        let is_so = self.gate.journal.read(move |world| {
            world.policy.version == Some(version) && world.policy.counting(rulebook.written) == rulebook.rules
        });
        if is_so.await.unwrap_or(false) {
            let (rules, written) = (rulebook.rules, rulebook.written);
            tracing::warn!(%version, %replaced, is_rolled_back = rules != written, "other policies were put in force by hand");
            self.configured = Some(super::configured(&snapshot));
            self.put_in_force(snapshot);
        }
        let _ = told.send(());
    }

    async fn prepare(&self, wish: Wish, by: Actor, reason: String) -> Result<Prepared, Refusal> {
        let current = self.gate.snapshot.load_full();
        let replaced = current.policy.version();
        let active = self.gate.journal.read(|world| world.policy.clone()).await?;
        if active.version != Some(replaced) {
            let message = "this gateway has not taken in yet what is in force; try again, or ask another one";
            return Err(Refusal::new(Code::Conflict, message));
        }
        match wish {
            Wish::Back(digits) => {
                let versions = Versions::read(&self.gate.journal).await?;
                let chosen = self.chosen(&versions, digits.as_deref(), active.put_back.as_ref(), &current.rulebook);
                let (put, sources) = chosen.await?;
                let choice = Choice::These { sources, before: current.rulebook };
                let snapshot =
                    self.build(&current, choice, &format!("the rules of version `{}`", put.event.version))?;
                let event = RolledBack {
                    entry: put.seq,
                    version: put.event.version,
                    rules: snapshot.rulebook.rules,
                    instead_of: current.rulebook.written,
                    replaced,
                    reason,
                };
                let turn = Turn::Back(RollBack { by, event, policies: activation(&snapshot) });
                Ok(Prepared { snapshot, turn, restored: Some(put.event.version), replaced })
            }
            Wish::Forward => {
                if active.put_back.is_none() {
                    return Err(Refusal::new(
                        Code::Conflict,
                        "nothing was rolled back: what the files say is in force",
                    ));
                }
                let snapshot = self.build(&current, Choice::Written(None), "what the files say")?;
                let (written, policies) = (snapshot.rulebook.written, activation(&snapshot));
                let turn = Turn::Forward(RollForward { by, reason, replaced, written, policies });
                Ok(Prepared { snapshot, turn, restored: None, replaced })
            }
        }
    }

    /// The version that is wanted, with its rules.
    async fn chosen(
        &self,
        versions: &Versions,
        digits: Option<&str>,
        put_back: Option<&InForce>,
        rulebook: &Rulebook,
    ) -> Result<(Put, Vec<Source>), Refusal> {
        let conflict = |message: &str| Refusal::new(Code::Conflict, message);
        if let Some(digits) = digits {
            let not_there = |problem: String| Refusal::new(Code::NotFound, problem).about("version");
            let put = versions.find(digits).map_err(not_there)?;
            let sources = self.sources(put.seq).await?.ok_or_else(|| {
                conflict("the journal does not have the text of this version; it is older than that this is kept")
            })?;
            let rules = rulebook::digest(&sources);
            if rules == rulebook.rules {
                return Err(conflict("the rules of this version are in force"));
            }
            if rules == rulebook.written {
                return Err(conflict("these rules are what the files say: `policy rollforward` puts them in force"));
            }
            return Ok((put.clone(), sources));
        }
        for put in versions.before(put_back.map(|put_back| put_back.entry)) {
            // Of most it is known without looking whether they have other rules.
            if put.event.rules.is_some_and(|rules| rules == rulebook.rules || rules == rulebook.written) {
                continue;
            }
            let Some(sources) = self.sources(put.seq).await? else { continue };
            let rules = rulebook::digest(&sources);
            if rules != rulebook.rules && rules != rulebook.written {
                return Ok((put.clone(), sources));
            }
        }
        Err(conflict("no other rules were in force before these"))
    }

    /// The rules that an entry has put in force.
    async fn sources(&self, seq: u64) -> Result<Option<Vec<Source>>, Refusal> {
        Ok(made_of(&self.gate.journal, seq).await?.map(|made_of| made_of.sources))
    }

    /// Rules with who and what there is now.
    fn build(&self, current: &Snapshot, choice: Choice, what: &str) -> Result<Snapshot, Refusal> {
        self.parts(current.config.clone(), choice).build().map_err(|problems| {
            let shown: Vec<String> = problems.iter().take(PROBLEMS_SHOWN).map(Problem::to_string).collect();
            let more = problems.len().saturating_sub(PROBLEMS_SHOWN);
            let more = if more == 0 { String::new() } else { format!("; and {more} more") };
            let message = format!(
                "{what} do not fit the tools and principals of today, and everything stays as it was: {}{more}",
                shown.join("; ")
            );
            Refusal::new(Code::Conflict, message)
        })
    }

    /// The rules that somebody has put back, whoever it was.
    pub(super) async fn put_back(&self) -> Result<Option<PutBack>, Vec<Problem>> {
        let wrong = |problem: String| {
            let message = format!("the rules that were put back can't be read from the journal: {problem}");
            vec![Problem::of_file(&self.path.display().to_string(), message)]
        };
        let found = self.gate.journal.read(|world| world.policy.put_back.clone()).await;
        let Some(found) = found.map_err(|fault| wrong(fault.to_string()))? else { return Ok(None) };
        let made_of = made_of(&self.gate.journal, found.entry).await.map_err(|fault| wrong(fault.to_string()))?;
        let made_of = made_of.ok_or_else(|| wrong("their text is not there".to_owned()))?;
        Ok(Some(PutBack { sources: made_of.sources, instead_of: found.instead_of }))
    }
}
