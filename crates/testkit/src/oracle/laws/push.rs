//! The laws of push notifications: where a client wants news of a task, and the news themselves.

use portcullis_domain::event::Event;
use portcullis_domain::ids::SessionId;
use portcullis_domain::journal::Entry;
use portcullis_domain::session::event::{NewsCame, NewsDelivered, PushBound, PushOpened};
use portcullis_domain::session::push::PushName;

use super::Laws;

impl Laws {
    pub(super) fn push_opened(&mut self, session: &SessionId, event: &PushOpened, entry: &Entry<Event>) {
        let is_new = self.world.pushes.find(session, &event.push).is_none();
        self.must(is_new, || format!("the place for news `{}` was opened before", event.push));
        self.must(entry.bodies.len() == 1, || "it does not say where the place is".to_owned());
    }

    pub(super) fn push_bound(&mut self, session: &SessionId, event: &PushBound) {
        self.has_push(session, &event.push);
        let Some(push) = self.world.pushes.find(session, &event.push) else { return };
        let is_of_task = push.task.as_ref().is_none_or(|task| *task == event.task);
        self.must(push.is_bound || !event.is_over, || format!("`{}` is over and was not taken", event.push));
        self.must(is_of_task, || format!("`{}` is for another task", event.push));
    }

    pub(super) fn news_came(&mut self, session: &SessionId, event: &NewsCame, entry: &Entry<Event>) {
        self.has_push(session, &event.push);
        let Some(push) = self.world.pushes.find(session, &event.push) else { return };
        let is_of_task = push.task.as_ref().is_none_or(|task| *task == event.task);
        let is_first = event.id.as_ref().is_none_or(|id| !push.knows(id));
        self.must(is_of_task, || format!("news of `{}` are at the place of another task", event.task));
        self.must(is_first, || format!("news {:?} came before", event.id));
        self.must(entry.bodies.len() == 1, || "they say nothing".to_owned());
    }

    /// In the order in which they came.
    pub(super) fn news_delivered(&mut self, session: &SessionId, event: &NewsDelivered) {
        let push = self.world.pushes.find(session, &event.push);
        let is_next = push.is_some_and(|push| push.waiting.first() == Some(&event.seq));
        self.must(is_next, || format!("news {} of `{}` were not the next", event.seq, event.push));
    }

    pub(super) fn has_push(&mut self, session: &SessionId, push: &PushName) {
        let is_there = self.world.pushes.find(session, push).is_some();
        self.must(is_there, || format!("there is no place for news `{push}`"));
    }
}
