//! The cluster engine passes the suite of all engines ([`conforming`]), and what only it can be asked: several engines on one database ([`together`]), gateways that
//! die or are taken for dead ([`lives`]), a database that goes away at any moment ([`outages`]), and stores that must not be opened ([`refusals`]).
//!
//! [`clustered`] has a database for each test and judges what is left in it.

mod clustered;

mod conforming;
