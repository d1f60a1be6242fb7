//! The laws of requests with an idempotency key, and of what sessions keep for clients.

use portcullis_domain::event::{Event, Outcome, RequestAnswered, RequestTaken};
use portcullis_domain::ids::{Actor, RecordId, SessionId};
use portcullis_domain::journal::Entry;
use portcullis_domain::session::Earlier;
use portcullis_domain::session::event::RecordPut;

use super::Laws;

impl Laws {
    pub(super) fn request_taken(&mut self, session: &SessionId, event: &RequestTaken, entry: &Entry<Event>) {
        let is_known = self.world.requests.find_open(event.request).is_some();
        let is_here = event.requester.session.as_ref() == Some(session);
        let found = self.world.requests.find(&event.requester, event.mark, true, entry.at);
        self.must(!is_known && is_here && found == Ok(None), || {
            format!("request {} was taken before, or elsewhere", event.request)
        });
    }

    pub(super) fn record_put(&mut self, session: &SessionId, event: &RecordPut, entry: &Entry<Event>) {
        self.has_body(entry, None);
        let found = self.world.records.find(&session.owner, &event.id);
        let is_here = found.is_none_or(|record| record.session == session.name);
        self.must(is_here, || format!("record `{}` lies in another session", event.id));
    }

    pub(super) fn is_record(&mut self, session: &SessionId, id: &RecordId) {
        let found = self.world.records.find(&session.owner, id);
        let is_here = found.is_some_and(|record| record.session == session.name);
        self.must(is_here, || format!("record `{id}` is not in this session"));
    }

    /// It is answered once, where it was taken or at once.
    pub(super) fn request_answered(
        &mut self,
        session: Option<&SessionId>,
        event: &RequestAnswered,
        entry: &Entry<Event>,
    ) {
        let requests = &self.world.requests;
        let is_lawful = match requests.find_open(event.request) {
            Some(open) => {
                let is_by_asker = entry.actor == open.actor || entry.actor == Actor::Gateway;
                open.requester == event.requester && open.mark == event.mark && is_by_asker
            }
            None => {
                let found = requests.find(&event.requester, event.mark, true, entry.at);
                event.outcome == Outcome::Completed && matches!(found, Ok(None | Some(Earlier::Open(_))))
            }
        };
        self.must(is_lawful && event.requester.session.as_ref() == session, || {
            format!("request {} was answered before, or elsewhere", event.request)
        });
        let has_answer = entry.bodies.len() == 1;
        self.must(has_answer == (event.outcome == Outcome::Completed), || {
            format!("request {} has {} answers", event.request, entry.bodies.len())
        });
    }
}
