//! The embedded engine passes the suite of all engines ([`conforming`]), and what only it can be asked: that nothing is answered early ([`durability`]), when it
//! seals ([`sealing`]), what it does with a damaged store ([`damage`]) and with a disk that fails at any moment ([`failures`]), that its log is folded back ([`folding`]),
//! what others see of it meanwhile ([`outside`]), that ends that it did not take are written later ([`owing`]), and that a start may go on from a bookmark and never
//! needs one ([`bookmarks`]).
//!
//! [`embedded`] opens it for all of these and judges what it leaves behind; [`disks`] are what stands between it and SQLite.

mod disks;
mod embedded;

mod bookmarks;
mod conforming;
mod damage;
mod durability;
mod failures;
mod folding;
mod outside;
mod owing;
mod sealing;
