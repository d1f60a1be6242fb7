//! Which policies may be in force, and who may put rules of before back.

use portcullis_domain::event::Event;
use portcullis_domain::journal::Entry;
use portcullis_domain::policy::event::{Activated, RolledBack, RolledForward};

use super::Laws;

impl Laws {
    pub(super) fn policy_activated(&mut self, event: &Activated, entry: &Entry<Event>) {
        // Its text, and since there is something that can tell, all that it was made of.
        let is_there = matches!(entry.bodies.len(), 1 | 2);
        self.must(is_there, || format!("it has {} bodies", entry.bodies.len()));
        // Whatever else changes, nobody's files undo what was put back.
        let put_back = self.world.policy.put_back.clone();
        let is_put_back = put_back.is_none_or(|put_back| event.rules == Some(put_back.rules));
        self.must(is_put_back, || format!("{} has other rules than those that were put back", event.version));
        self.activated.insert(entry.seq, (event.version, event.rules));
        self.approvals_end(event.version);
    }

    pub(super) fn policy_rolled_back(&mut self, event: &RolledBack, entry: &Entry<Event>) {
        let was_there = self.activated.get(&event.entry).is_some_and(|(version, rules)| {
            *version == event.version && rules.is_none_or(|rules| rules == event.rules)
        });
        self.must(was_there, || format!("entry {} has not put {} in force", event.entry, event.version));
        self.must(self.world.policy.version == Some(event.replaced), || {
            format!("{} is rolled back, which was not in force", event.replaced)
        });
        self.is_by_somebody(entry);
    }

    pub(super) fn policy_rolled_forward(&mut self, event: &RolledForward, entry: &Entry<Event>) {
        let put_back = self.world.policy.put_back.clone();
        self.must(put_back.is_some(), || "nothing was rolled back".to_owned());
        // Nobody does so but a person, unless the files have changed.
        if put_back.is_some_and(|put_back| put_back.instead_of == event.rules) {
            self.is_by_somebody(entry);
        }
    }

    fn is_by_somebody(&mut self, entry: &Entry<Event>) {
        self.must(entry.actor.subject().is_some(), || "the gateway has done so by itself".to_owned());
    }
}
