//! The laws of the scratchpad.

use portcullis_domain::event::Event;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::Entry;
use portcullis_domain::session::event::{StateDeleted, StatePut};

use super::Laws;
use super::values::Kept;

impl Laws {
    pub(super) fn state_put(&mut self, session: &SessionId, event: &StatePut, entry: &Entry<Event>) {
        let StatePut { key, version: put, expires_at, .. } = event;
        let values = self.values.entry(session.clone()).or_default();
        let last = values.kept.get(key).map_or(0, |kept| kept.version);
        let most = values.most;
        values.most = most.max(*put);
        values.kept.insert(key.clone(), Kept { version: *put, until: *expires_at, is_deleted: false });
        self.must(*put > last && *put <= most + 1, || format!("`{key}` gets version {put} after version {last}"));
        let is_later = expires_at.is_none_or(|until| until > entry.at);
        self.must(is_later, || format!("`{key}` is over before it begins"));
        self.has_body(entry, None);
    }

    pub(super) fn state_deleted(&mut self, session: &SessionId, event: &StateDeleted, entry: &Entry<Event>) {
        let StateDeleted { key, version } = event;
        let kept = self.values.entry(session.clone()).or_default().kept.get_mut(key);
        let is_there = kept.is_some_and(|kept| {
            let was_deleted = std::mem::replace(&mut kept.is_deleted, true);
            !was_deleted && kept.version == *version && kept.until.is_none_or(|until| entry.at < until)
        });
        self.must(is_there, || format!("version {version} of `{key}` was deleted, and it was not there"));
    }
}
