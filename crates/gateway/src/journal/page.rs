//! A part of a journal as rows: entries in order, with the bodies and checkpoints that belong between them.

use std::collections::VecDeque;
use std::ops::Range;

use crate::journal::audit::{Audit, Place};
use crate::journal::decider::BODIES_LIMIT;
use crate::journal::vault::Salt;

/// How many entries are in memory at a time, with their bodies.
pub const PAGE: usize = 256;

/// Streams that began: number, name, salt.
pub type StreamRow = (u64, String, Option<Salt>);

/// Entries in order with the bodies and checkpoints that belong between them.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Where each is filed, and its bytes.
    pub entries: Vec<(Place, Vec<u8>)>,
    /// Bodies by their numbers, encrypted.
    pub bodies: VecDeque<(u64, Vec<u8>)>,
    /// Checkpoints by how many entries they cover.
    pub checkpoints: VecDeque<(u64, String)>,
    /// The last position, if more may follow.
    pub last: Option<u64>,
}

/// Which bodies and checkpoints belong to a page.
#[derive(Debug)]
pub struct Span {
    /// Their numbers.
    pub bodies: Range<u64>,
    /// How many entries they cover. One of a size is due after the entry at that position.
    pub checkpoints: Range<u64>,
    /// The last position, if more may follow.
    pub last: Option<u64>,
}

impl Span {
    /// What belongs to these entries, which were asked for after that position, [`PAGE`] at most.
    #[must_use]
    pub fn of(after: u64, entries: &[(Place, Vec<u8>)]) -> Self {
        let is_last = entries.len() < PAGE;
        let last = entries.last().map(|(place, _)| place.position).filter(|_| !is_last);
        let upto = last.unwrap_or(u64::MAX);
        let first = if after == 0 { 0 } else { after.saturating_add(1).saturating_mul(BODIES_LIMIT) };
        let end = upto.saturating_add(1).saturating_mul(BODIES_LIMIT);
        Self { bodies: first..end, checkpoints: after..upto, last }
    }
}

impl Page {
    /// Hands everything to the audit, in order.
    pub fn check(mut self, audit: &mut Audit) {
        for (place, bytes) in std::mem::take(&mut self.entries) {
            while let Some((size, note)) = self.checkpoints.pop_front_if(|(size, _)| *size < place.position) {
                audit.checkpoint(size, &note);
            }
            let digests = audit.entry(place, &bytes).map_or_else(Vec::new, |entry| entry.bodies);
            for (number, digest) in (place.position.saturating_mul(BODIES_LIMIT)..).zip(digests) {
                self.strays(audit, number);
                let sealed = self.bodies.pop_front_if(|(found, _)| *found == number).map(|(_, sealed)| sealed);
                audit.body(place, number, digest, sealed);
            }
        }
        self.strays(audit, u64::MAX);
        for (size, note) in self.checkpoints {
            audit.checkpoint(size, &note);
        }
    }

    /// Bodies before that number, all of whose entries are done with.
    fn strays(&mut self, audit: &mut Audit, before: u64) {
        while let Some((number, _)) = self.bodies.pop_front_if(|(number, _)| *number < before) {
            audit.problem(format!("body {number} belongs to no entry"));
        }
    }
}
