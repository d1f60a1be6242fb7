//! Nothing is answered before it is durable, and there is a limit to what waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use portcullis_domain::event::Event;
use portcullis_domain::journal::Draft;
use portcullis_domain::session::Expected;
use portcullis_domain::time::Timestamp;
use portcullis_domain::world::World;

use crate::journal::conformance::scene::{Opened as _, Step, TurnedClock, put, stream, until, whole};
use crate::journal::engine::{Engine as _, Job};
use crate::journal::fault::StoreFault;
use crate::journal::sqlite::engine::QUEUE_LIMIT;
use crate::journal::sqlite::tests::disks::Gate;
use crate::journal::sqlite::tests::embedded::{Embedded, judge};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_answered_before_it_is_durable() {
    let (store, gate) = (Embedded::new(), Arc::new(Gate::default()));
    let opened = store.open_wrapped(TurnedClock::new(), gate.wrap()).unwrap();
    opened.journal.execute(put("claim-1", "step", Expected::Anything, "value")).await.unwrap().unwrap();
    gate.shut();
    let journal = opened.journal.clone();
    let issue = tokio::spawn(async move { Step::Issue(1).run(&journal).await });
    until("the key is on its way to the disk", || gate.is_waited_at()).await;
    let journal = opened.journal.clone();
    let question = tokio::spawn(async move { journal.read(|world| world.identity.all().count()).await });
    let reader = whole(&opened.journal, &portcullis_domain::journal::StreamId::Control).await;
    // The decision is made and the disk has it; still nobody knows: not its caller, not those who ask or read.
    assert!(!issue.is_finished() && !question.is_finished());
    assert_eq!((reader.len(), opened.journal.keys().all().count()), (0, 0));
    gate.open();
    assert!(issue.await.unwrap().is_ok());
    assert_eq!(question.await.unwrap().unwrap(), 1);
    assert_eq!(opened.journal.keys().all().count(), 1);
    Box::new(opened).close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_sees_those_before_it_in_the_same_batch() {
    let (store, gate) = (Embedded::new(), Arc::new(Gate::default()));
    let opened = store.open_wrapped(TurnedClock::new(), gate.wrap()).unwrap();
    gate.shut();
    let first = {
        let journal = opened.journal.clone();
        tokio::spawn(async move { Step::Issue(1).run(&journal).await })
    };
    until("the writer is busy", || gate.is_waited_at()).await;
    let answers = Arc::new(Mutex::new(Vec::new()));
    for version in 0..100 {
        let expected = if version == 0 { Expected::Absent } else { Expected::Version(version) };
        opened.engine.submit(Box::new(Put { expected, version: None, answers: answers.clone() }));
    }
    gate.open();
    assert!(first.await.unwrap().is_ok());
    until("all are answered", || answers.lock().unwrap().len() == 100).await;
    assert!(answers.lock().unwrap().iter().copied().eq((1..=100).map(Some)));
    assert_eq!(gate.passed(), 2, "what waits while the disk is busy goes into one batch");
    assert_eq!(whole(&opened.journal, &stream("claim-1")).await.len(), 101);
    Box::new(opened).close();
}

/// Writes a value and says which version it became.
struct Put {
    expected: Expected,
    version: Option<u64>,
    answers: Arc<Mutex<Vec<Option<u64>>>>,
}

impl Job for Put {
    fn decide(&mut self, world: &World, at: Timestamp) -> Vec<Draft<Event>> {
        use portcullis_domain::admission::Command as _;
        let verdict = put("claim-1", "step", self.expected, "value").decide(world, at);
        self.version = verdict.answer.ok().map(|put| put.version);
        verdict.drafts
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreFault>) {
        self.answers.lock().unwrap().push(self.version.filter(|_| outcome.is_ok()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_has_a_limit_and_beyond_it_nothing_is_decided() {
    let (store, gate) = (Embedded::new(), Arc::new(Gate::default()));
    let opened = store.open_wrapped(TurnedClock::new(), gate.wrap()).unwrap();
    gate.shut();
    let first = {
        let journal = opened.journal.clone();
        tokio::spawn(async move { Step::Issue(1).run(&journal).await })
    };
    until("the writer is busy", || gate.is_waited_at()).await;
    let counts = Arc::new(Counts::default());
    for _ in 0..QUEUE_LIMIT {
        opened.engine.submit(Box::new(Counted(counts.clone())));
    }
    assert_eq!((counts.done.load(Ordering::SeqCst), counts.busy.load(Ordering::SeqCst)), (0, 0));
    assert!(matches!(Step::Issue(1).run(&opened.journal).await, Err(StoreFault::Busy)));
    opened.engine.submit(Box::new(Counted(counts.clone())));
    assert_eq!(counts.busy.load(Ordering::SeqCst), 1);
    gate.open();
    assert!(first.await.unwrap().is_ok());
    until("all that waited is done", || counts.done.load(Ordering::SeqCst) == QUEUE_LIMIT).await;
    assert_eq!(counts.decided.load(Ordering::SeqCst), QUEUE_LIMIT);
    Box::new(opened).close();
    assert_eq!(judge(&store.path()).entries, 1);
}

#[derive(Default)]
struct Counts {
    decided: AtomicUsize,
    done: AtomicUsize,
    busy: AtomicUsize,
}

struct Counted(Arc<Counts>);

impl Job for Counted {
    fn decide(&mut self, _: &World, _: Timestamp) -> Vec<Draft<Event>> {
        self.0.decided.fetch_add(1, Ordering::SeqCst);
        Vec::new()
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreFault>) {
        let count = if outcome.is_ok() { &self.0.done } else { &self.0.busy };
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_store_is_open_once_at_a_time() {
    let store = Embedded::new();
    let opened = store.open_wrapped(TurnedClock::new(), Box::new(|disk| disk)).unwrap();
    let fault = store.refusal().unwrap().to_string();
    assert!(fault.ends_with("is in use by another gateway"), "{fault}");
    Step::Issue(1).run(&opened.journal).await.unwrap();
    Box::new(opened).close();
    assert!(store.refusal().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_nobody_holds_is_not_opened_before_its_writer_has_ended() {
    let (store, gate) = (Embedded::new(), Arc::new(Gate::default()));
    let opened = store.open_wrapped(TurnedClock::new(), gate.wrap()).unwrap();
    gate.shut();
    let journal = opened.journal.clone();
    let pending = tokio::spawn(async move { Step::Issue(1).run(&journal).await });
    until("the writer is busy", || gate.is_waited_at()).await;
    // Its caller has left, and the engine was let go without being closed.
    pending.abort();
    let _ = pending.await;
    drop(opened);
    assert!(store.refusal().is_some());
    gate.open();
    until("the writer has ended", || store.refusal().is_none()).await;
    assert_eq!(judge(&store.path()).entries, 1);
}
