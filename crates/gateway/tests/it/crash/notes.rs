//! What callers sent and what they were told. It is kept here, in a process that nobody kills.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_domain::digest::Digest;
use portcullis_domain::ids::{CallId, SessionId};

/// Locked for one addition, or to judge while no caller works.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Notes>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that was noted since the data directory was new.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// Calls of tools by the digest of their arguments, which the journal knows them by. Each is sent once.
    pub(super) tools: HashMap<Digest, ToolNote>,
    /// Completions whose answer came to its end.
    pub(super) chats: Vec<ChatNote>,
    /// Values whose version was told.
    pub(super) values: Vec<ValueNote>,
    /// Keys that were issued.
    pub(super) keys: Vec<KeyNote>,
    /// Sessions of which it was told that they are closed.
    pub(super) closed: Vec<SessionId>,
    /// How often a budget was exhausted.
    pub(super) exhausted: u64,
    /// How often a caller left on purpose.
    pub(super) left: u64,
    /// What a caller must not see.
    pub(super) wrong: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct ToolNote {
    /// What its effect is known by.
    pub(super) id: String,
    /// Whose effect it is.
    pub(super) server: &'static str,
    pub(super) heard: Heard,
}

/// What the caller of a tool was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was sent, and nothing came back.
    Nothing,
    /// It ran.
    Done,
    /// It is not allowed and did not run.
    Denied,
}

#[derive(Debug, Clone)]
pub(super) struct ChatNote {
    pub(super) call: CallId,
    pub(super) session: SessionId,
    /// The first line of the answer, where it is known; the history must have it as well.
    pub(super) marker: Option<String>,
    /// In which round.
    pub(super) round: u64,
}

#[derive(Debug, Clone)]
pub(super) struct ValueNote {
    pub(super) session: SessionId,
    pub(super) key: String,
    pub(super) version: u64,
    pub(super) digest: Digest,
}

#[derive(Debug, Clone)]
pub(super) struct KeyNote {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) is_revoked: Revoked,
}

/// How far the end of a key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revoked {
    No,
    /// It was asked for, and no answer came.
    Perhaps,
    Yes,
}

impl Notes {
    /// How much was acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        let heard = self.tools.values().filter(|note| note.heard != Heard::Nothing).count();
        let revoked = self.keys.iter().filter(|note| note.is_revoked == Revoked::Yes).count();
        heard + self.chats.len() + self.values.len() + self.keys.len() + revoked + self.closed.len()
    }
}
