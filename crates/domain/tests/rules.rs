//! The rules, tried from outside and at random: whatever is asked, settled, lost and replayed in whatever order, the laws hold,
//! and whatever is done to a journal afterwards is found.
//!
//! Start with [`rules::interleavings`], which has a test for every law, then [`rules::forgery`].
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its supporting functions too"
)]

mod rules {
    mod engine;
    mod steps;

    mod agent_tasks;
    mod approvals;
    mod forgery;
    mod grants;
    mod interleavings;
    mod moments;
    mod news;
    mod requests;
}
