//! A way to the database that can be cut, at once or at the moment of a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::journal::postgres::address::Address;

/// A commit as it is sent: a simple query with nothing else in it.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// How a look at the log begins.
const LOOK: &[u8] = b"REPEATABLE READ READ ONLY";

/// What every entry has in it.
const OF_ENTRY: &[u8] = b"\"prev\":\"";

/// What is done with the commit at which the way is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It does not arrive.
    Before,
    /// It arrives and is answered, and the answer does not come back.
    After,
}

pub(super) struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    server: u16,
    /// Nobody gets through, and who was through is cut off.
    is_shut: AtomicBool,
    turned: Notify,
    /// How many commits still pass before the cut; none is planned at the highest number.
    commits: AtomicUsize,
    cut_after: AtomicBool,
    /// The way stays shut after the planned cut.
    stays_shut: AtomicBool,
    /// How many bytes somebody who looks at the log without the lock is told before the way is cut; no matter how many at 0.
    look_limit: AtomicUsize,
    /// How often it was.
    looks_cut: AtomicUsize,
    /// Who looks at the log without the lock gets no answer for now.
    holds_looks: AtomicBool,
    is_holding: AtomicBool,
}

impl Proxy {
    pub(super) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { server, commits: AtomicUsize::new(usize::MAX), ..State::default() });
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, shared.clone()));
            }
        });
        Self { port, state }
    }

    pub(super) fn address(&self) -> Address {
        Address::parse(&format!("postgres://portcullis@127.0.0.1:{}/postgres", self.port)).unwrap()
    }

    /// Cuts the way at the commit after so many others. A way that stays shut is cut at a commit of entries, and not at one that only renews a lease.
    pub(super) fn plan(&self, cut: Cut, commits: usize, stays_shut: bool) {
        self.state.cut_after.store(cut == Cut::After, Ordering::SeqCst);
        self.state.stays_shut.store(stays_shut, Ordering::SeqCst);
        self.state.commits.store(commits, Ordering::SeqCst);
    }

    /// Whether the planned cut has happened.
    pub(super) fn has_cut(&self) -> bool {
        self.state.commits.load(Ordering::SeqCst) == usize::MAX
    }

    /// From now on whoever looks at the log without the lock is told so many bytes on one connection, and not more.
    pub(super) fn limit_looks(&self, bytes: usize) {
        self.state.look_limit.store(bytes, Ordering::SeqCst);
    }

    /// How often somebody would have been told more.
    pub(super) fn looks_cut(&self) -> usize {
        self.state.looks_cut.load(Ordering::SeqCst)
    }

    /// From now on nobody who looks at the log without the lock gets an answer, until [`Proxy::let_go`]. Other connections are not held up.
    pub(super) fn hold_looks(&self) {
        self.state.holds_looks.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_holding(&self) -> bool {
        self.state.is_holding.load(Ordering::SeqCst)
    }

    pub(super) fn let_go(&self) {
        self.state.holds_looks.store(false, Ordering::SeqCst);
        self.state.turned.notify_waiters();
    }

    pub(super) fn shut(&self) {
        self.state.is_shut.store(true, Ordering::SeqCst);
        self.state.turned.notify_waiters();
    }

    pub(super) fn open(&self) {
        self.state.is_shut.store(false, Ordering::SeqCst);
    }
}

impl State {
    /// Counts a commit; whether the way is cut at it.
    fn is_cut(&self, has_entries: bool) -> bool {
        if self.stays_shut.load(Ordering::SeqCst) && !has_entries {
            return false;
        }
        let counted = self.commits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
            usize::MAX => None,
            0 => Some(usize::MAX),
            left => Some(left - 1),
        });
        let is_cut = counted == Ok(0);
        if is_cut && self.stays_shut.load(Ordering::SeqCst) {
            self.is_shut.store(true, Ordering::SeqCst);
        }
        is_cut
    }
}

impl State {
    /// Whether somebody who was told so much while looking is told no more.
    fn is_told_enough(&self, told: usize) -> bool {
        let is_enough = matches!(self.look_limit.load(Ordering::SeqCst), limit @ 1.. if told > limit);
        self.looks_cut.fetch_add(usize::from(is_enough), Ordering::SeqCst);
        is_enough
    }

    async fn hold(&self) {
        loop {
            let turned = self.turned.notified();
            if !self.holds_looks.load(Ordering::SeqCst) {
                return;
            }
            self.is_holding.store(true, Ordering::SeqCst);
            turned.await;
        }
    }
}

async fn carry(mut client: TcpStream, state: Arc<State>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", state.server)).await else { return };
    let (mut up, mut down) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut has_entries = false;
    let mut told_while_looking = None;
    loop {
        // Made before the look: what is turned after it is not missed.
        let turned = state.turned.notified();
        if state.is_shut.load(Ordering::SeqCst) {
            return;
        }
        tokio::select! {
            () = turned => return,
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let bytes = &up[..length];
                let commit = bytes.windows(COMMIT.len()).position(|window| window == COMMIT);
                if bytes.windows(LOOK.len()).any(|window| window == LOOK) {
                    told_while_looking.get_or_insert(0);
                    state.hold().await;
                }
                has_entries |= bytes.windows(OF_ENTRY.len()).any(|window| window == OF_ENTRY);
                let is_cut = commit.is_some_and(|_| state.is_cut(std::mem::take(&mut has_entries)));
                let (Some(at), true) = (commit, is_cut) else {
                    if server.write_all(bytes).await.is_err() { return; }
                    continue;
                };
                if !state.cut_after.load(Ordering::SeqCst) {
                    let _ = server.write_all(&bytes[..at]).await;
                    return;
                }
                let _ = server.write_all(bytes).await;
                // The answer to the commit is the last one.
                let mut answers = Vec::new();
                while !answers.windows(7).any(|window| window == b"COMMIT\0") {
                    let Ok(length @ 1..) = server.read(&mut down).await else { return };
                    answers.extend_from_slice(&down[..length]);
                }
                return;
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                told_while_looking = told_while_looking.map(|told| told + length);
                if told_while_looking.is_some_and(|told| state.is_told_enough(told)) { return; }
                if client.write_all(&down[..length]).await.is_err() { return; }
            }
        }
    }
}
