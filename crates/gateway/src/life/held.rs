//! What a call of an agent keeps.

use tokio::sync::OwnedSemaphorePermit;

use crate::repetition::UnderWay;
use crate::turns::TurnPlace;

/// What a call keeps until it is settled.
#[derive(Debug)]
pub struct Held {
    _place: OwnedSemaphorePermit,
    _under_way: Option<UnderWay>,
    _turn: Option<TurnPlace>,
}

impl Held {
    /// Its place at the replica, among the calls under way, and its turn.
    #[must_use]
    pub fn new(place: OwnedSemaphorePermit, under_way: Option<UnderWay>, turn: Option<TurnPlace>) -> Self {
        Self { _place: place, _under_way: under_way, _turn: turn }
    }
}
