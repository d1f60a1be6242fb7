//! What every engine must do, as one suite. An engine's tests hand in how it is opened and get all cases by [`suite::conforms`].
//!
//! The cases know an engine by its trait only and open it again and again on the same store. What they do to it is told in [`scene`]; [`keeping`],
//! [`deciding`] and [`reading`] are the cases. Faults of a disk and damage to a file belong to one engine and are tested beside it.

pub(crate) mod scene;

pub(crate) mod deciding;
pub(crate) mod keeping;
pub(crate) mod reading;

pub(crate) mod suite;
