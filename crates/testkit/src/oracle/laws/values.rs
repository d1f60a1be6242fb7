//! What the entries say of a session's scratchpad.

use std::collections::HashMap;

use portcullis_domain::session::StateKey;
use portcullis_domain::time::Timestamp;

/// The values of a session's scratchpad, as the entries tell them.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// What was last written under each key that ever was.
    pub(super) kept: HashMap<StateKey, Kept>,
    /// The highest version that any of them was given.
    pub(super) most: u64,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) version: u64,
    pub(super) until: Option<Timestamp>,
    pub(super) is_deleted: bool,
}
