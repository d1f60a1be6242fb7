//! The laws of waits.

use portcullis_domain::event::Event;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::Entry;
use portcullis_domain::session::event::{WaitDelivered, WaitEnded, WaitOpened};
use portcullis_domain::session::wait::End;

use super::Laws;

impl Laws {
    pub(super) fn wait_opened(&mut self, session: &SessionId, event: &WaitOpened, entry: &Entry<Event>) {
        let is_new = self.world.waits.find(session, &event.name).is_none();
        self.must(is_new && entry.at < event.until, || format!("wait `{}` is there, or was over at once", event.name));
    }

    pub(super) fn wait_ended(&mut self, session: &SessionId, event: &WaitEnded, entry: &Entry<Event>) {
        let wait = self.world.waits.find(session, &event.name).cloned();
        let is_lawful = wait.is_some_and(|wait| {
            wait.end.is_none()
                && match event.end {
                    End::Event(_) => entry.at < wait.until && entry.bodies.len() == 1,
                    End::Expired => entry.at >= wait.until && entry.bodies.is_empty(),
                    End::Cancelled => entry.bodies.is_empty(),
                }
        });
        self.must(is_lawful, || {
            format!("wait `{}` had ended, was never opened, or ends at the wrong time", event.name)
        });
    }

    pub(super) fn wait_delivered(&mut self, session: &SessionId, event: &WaitDelivered, entry: &Entry<Event>) {
        let wait = self.world.waits.find(session, &event.name);
        let is_due = wait.is_some_and(|wait| wait.end.is_some() && !wait.is_done);
        let is_over = wait.is_some_and(|wait| wait.is_too_late(entry.at));
        self.must(is_due, || format!("wait `{}` was not to be delivered", event.name));
        self.must(is_over || !event.is_given_up, || format!("wait `{}` was given up, and could be told", event.name));
    }
}
