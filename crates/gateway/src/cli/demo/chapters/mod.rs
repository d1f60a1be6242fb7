//! The chapters of the story, in the order in which they are told. Each explains what it is about, plays it, and checks what it has shown.

pub(super) mod setting;

pub(super) mod between;
mod kill;
pub(super) mod midway;
pub(super) mod wait;

mod blocked;
pub(super) mod payment;
pub(super) mod wording;

pub(super) mod exact;

pub(super) mod cost;
pub(super) mod others;

pub(super) mod journal;
pub(super) mod keep;
