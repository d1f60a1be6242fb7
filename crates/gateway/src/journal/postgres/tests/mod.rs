//! The cluster engine passes the suite of all engines ([`conforming`]), and what only it can be asked: several engines on one database ([`together`]), gateways that
//! die or are taken for dead ([`lives`]), a database that goes away at any moment ([`outages`]) and at the worst one ([`lost_commits`]), a way that is protected by TLS ([`protected`]), stores that must
//! not be opened ([`refusals`]), starts that go on from a bookmark ([`bookmarks`]), and journals that are carried from one store into another ([`copying`]).
//!
//! [`clustered`] has a database for each test and judges what is left in it; [`load`] are callers who remember what they were told; [`proxy`] is a way to the database
//! that can be cut.

mod clustered;
mod load;
mod proxy;

mod bookmarks;
mod conforming;
mod copying;
mod lives;
mod lost_commits;
mod outages;
mod protected;
mod refusals;
mod together;
