//! What sessions keep for clients under ids: responses and conversations of the OpenAI API. The record itself is a body of the session's stream; here is where it lies.
//!
//! An id leads to its session for the session's owner alone: to everybody else there is no such record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{PrincipalName, RecordId, SessionId, SessionName};
use crate::refusal::{Code, Refusal};

/// How many passing records are kept for a principal. When there are more, the oldest is forgotten.
pub const PASSING_LIMIT: usize = 16_384;
/// How many lasting records a principal may have.
pub const LASTING_LIMIT: usize = 4_096;
/// How many items a record may have.
pub const ITEMS_LIMIT: usize = 4_096;
/// How many items all records of a principal may have together.
pub const ALL_ITEMS_LIMIT: usize = 65_536;

/// Where a record lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The session that keeps it.
    pub session: SessionName,
    /// The entry that has its head as its body.
    pub head: u64,
    /// Its items, in order.
    pub parts: Vec<Part>,
    /// Its number among those of its owner; none for what lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
}

/// Items that came at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The entry that has them as its body, a list.
    pub seq: u64,
    /// Those of them that were not deleted.
    pub items: Vec<RecordId>,
}

/// All records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Records {
    owners: BTreeMap<PrincipalName, Owned>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Owned {
    records: BTreeMap<RecordId, Record>,
    /// The passing ones, the oldest first.
    passing: BTreeMap<u64, RecordId>,
    /// How many passing ones there ever were.
    count: u64,
    /// How many items all of them have.
    #[serde(default)]
    item_count: usize,
}

impl Owned {
    fn remove(&mut self, id: &RecordId) {
        if let Some(record) = self.records.remove(id) {
            self.item_count = self.item_count.saturating_sub(record.item_count());
            record.age.map(|age| self.passing.remove(&age));
        }
    }
}

impl Record {
    /// How many items it has.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.parts.iter().map(|part| part.items.len()).sum()
    }

    /// Whether it has that item.
    #[must_use]
    pub fn has(&self, item: &RecordId) -> bool {
        self.parts.iter().any(|part| part.items.contains(item))
    }
}

impl Records {
    /// The record of that id, if it is this principal's.
    #[must_use]
    pub fn find(&self, owner: &PrincipalName, id: &RecordId) -> Option<&Record> {
        self.owners.get(owner)?.records.get(id)
    }

    /// Whether a record may be written in that session.
    ///
    /// # Errors
    ///
    /// [`Code::Conflict`] when another session has one of that id; [`Code::TooMany`].
    pub fn check_put(&self, session: &SessionId, id: &RecordId, is_lasting: bool) -> Result<(), Refusal> {
        let Some(owned) = self.owners.get(&session.owner) else { return Ok(()) };
        match owned.records.get(id) {
            Some(record) if record.session == session.name => Ok(()),
            Some(_) => Err(Refusal::new(Code::Conflict, format!("`{id}` belongs to another session"))),
            None if is_lasting && owned.records.len() - owned.passing.len() >= LASTING_LIMIT => {
                Err(Refusal::new(Code::TooMany, format!("there are {LASTING_LIMIT} of these already: delete some")))
            }
            None => Ok(()),
        }
    }

    /// Whether so many items may be added to a record.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`]; [`Code::TooLarge`].
    pub fn check_extend(&self, session: &SessionId, id: &RecordId, count: usize) -> Result<(), Refusal> {
        let record = self.in_session(session, id)?;
        if record.item_count().saturating_add(count) > ITEMS_LIMIT {
            return Err(Refusal::new(Code::TooLarge, format!("`{id}` would have more than {ITEMS_LIMIT} items")));
        }
        Ok(())
    }

    /// Whether this principal may have so many items more, in whichever records.
    ///
    /// # Errors
    ///
    /// [`Code::TooMany`].
    pub fn check_items(&self, owner: &PrincipalName, count: usize) -> Result<(), Refusal> {
        let known = self.owners.get(owner).map_or(0, |owned| owned.item_count);
        if known.saturating_add(count) > ALL_ITEMS_LIMIT {
            let message = format!("there would be more than {ALL_ITEMS_LIMIT} items in all: delete some");
            return Err(Refusal::new(Code::TooMany, message));
        }
        Ok(())
    }

    /// Whether a record, or an item of it, may be deleted.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`].
    pub fn check_drop(&self, session: &SessionId, id: &RecordId, item: Option<&RecordId>) -> Result<(), Refusal> {
        let record = self.in_session(session, id)?;
        match item {
            Some(item) if !record.has(item) => Err(not_found(item)),
            Some(_) | None => Ok(()),
        }
    }

    fn in_session(&self, session: &SessionId, id: &RecordId) -> Result<&Record, Refusal> {
        let record = self.find(&session.owner, id).filter(|record| record.session == session.name);
        record.ok_or_else(|| not_found(id))
    }

    /// Takes in that the head of a record was written by the entry of that number.
    pub fn was_put(&mut self, session: &SessionId, id: &RecordId, is_lasting: bool, seq: u64) {
        let owned = self.owners.entry(session.owner.clone()).or_default();
        if let Some(record) = owned.records.get_mut(id) {
            record.head = seq;
            return;
        }
        let age = (!is_lasting).then_some(owned.count);
        let record = Record { session: session.name.clone(), head: seq, parts: Vec::new(), age };
        owned.records.insert(id.clone(), record);
        if let Some(age) = age {
            owned.count += 1;
            owned.passing.insert(age, id.clone());
        }
        if owned.passing.len() > PASSING_LIMIT
            && let Some((_, oldest)) = owned.passing.pop_first()
        {
            owned.remove(&oldest);
        }
    }

    /// Takes in that items were added to a record by the entry of that number.
    pub fn was_extended(&mut self, session: &SessionId, id: &RecordId, items: &[RecordId], seq: u64) {
        let Some(owned) = self.owners.get_mut(&session.owner) else { return };
        if let Some(record) = owned.records.get_mut(id) {
            record.parts.push(Part { seq, items: items.to_vec() });
            owned.item_count += items.len();
        }
    }

    /// Takes in that a record, or an item of it, was deleted.
    pub fn was_dropped(&mut self, session: &SessionId, id: &RecordId, item: Option<&RecordId>) {
        let Some(owned) = self.owners.get_mut(&session.owner) else { return };
        match (item, owned.records.get_mut(id)) {
            (Some(item), Some(record)) => {
                let before = record.item_count();
                record.parts.iter_mut().for_each(|part| part.items.retain(|other| other != item));
                record.parts.retain(|part| !part.items.is_empty());
                owned.item_count = owned.item_count.saturating_sub(before - record.item_count());
            }
            (None, Some(_)) => owned.remove(id),
            (_, None) => {}
        }
    }
}

/// The answer to everybody who asks for a record that is not theirs, whether there is one or not.
#[must_use]
pub fn not_found(id: &RecordId) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no `{id}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RecordId {
        text.parse().unwrap()
    }

    fn session(text: &str) -> SessionId {
        text.parse().unwrap()
    }

    #[test]
    fn a_record_is_its_owners_and_lies_in_one_session() {
        let mut records = Records::default();
        let (ann, other) = (session("ann:s"), session("ann:t"));
        records.was_put(&ann, &id("conv_1"), true, 3);
        records.was_extended(&ann, &id("conv_1"), &[id("msg_1"), id("msg_2")], 4);
        assert!(records.find(&"bob".parse().unwrap(), &id("conv_1")).is_none());
        assert_eq!(records.check_extend(&session("bob:s"), &id("conv_1"), 1).unwrap_err().code, Code::NotFound);
        assert_eq!(records.check_put(&other, &id("conv_1"), true).unwrap_err().code, Code::Conflict);
        assert_eq!(records.check_extend(&ann, &id("conv_1"), ITEMS_LIMIT - 1).unwrap_err().code, Code::TooLarge);
        assert!(records.check_extend(&ann, &id("conv_1"), ITEMS_LIMIT - 2).is_ok());
        assert_eq!(records.check_drop(&ann, &id("conv_1"), Some(&id("msg_3"))).unwrap_err().code, Code::NotFound);
        records.was_dropped(&ann, &id("conv_1"), Some(&id("msg_1")));
        let record = records.find(&ann.owner, &id("conv_1")).unwrap();
        assert_eq!((record.head, record.item_count(), record.has(&id("msg_1"))), (3, 1, false));
        records.was_dropped(&ann, &id("conv_1"), None);
        assert!(records.check_drop(&ann, &id("conv_1"), None).is_err());
    }

    #[test]
    fn all_records_of_a_principal_have_so_many_items_together() {
        let mut records = Records::default();
        let ann = session("ann:s");
        let items: Vec<RecordId> = (0..ITEMS_LIMIT).map(|number| id(&format!("msg_{number}"))).collect();
        for number in 0..ALL_ITEMS_LIMIT / ITEMS_LIMIT {
            assert_eq!(records.check_items(&ann.owner, ITEMS_LIMIT), Ok(()));
            records.was_put(&ann, &id(&format!("conv_{number}")), true, 1);
            records.was_extended(&ann, &id(&format!("conv_{number}")), &items, 2);
        }
        assert_eq!(records.check_items(&ann.owner, 1).unwrap_err().code, Code::TooMany);
        assert_eq!(records.check_items(&session("bob:s").owner, 1), Ok(()));
        records.was_dropped(&ann, &id("conv_1"), Some(&id("msg_7")));
        assert_eq!(records.check_items(&ann.owner, 1), Ok(()));
        records.was_dropped(&ann, &id("conv_1"), None);
        assert_eq!(records.check_items(&ann.owner, ITEMS_LIMIT), Ok(()));
        assert_eq!(records.check_items(&ann.owner, ITEMS_LIMIT + 1).unwrap_err().code, Code::TooMany);
    }

    #[test]
    fn the_oldest_passing_record_is_forgotten_and_a_lasting_one_is_not() {
        let mut records = Records::default();
        let ann = session("ann:s");
        records.was_put(&ann, &id("conv_1"), true, 1);
        for number in 0..=PASSING_LIMIT {
            records.was_put(&ann, &id(&format!("resp_{number}")), false, 2);
        }
        let is_there = |name: &str| records.find(&ann.owner, &id(name)).is_some();
        assert_eq!((is_there("conv_1"), is_there("resp_0"), is_there("resp_1")), (true, false, true));
    }
}
