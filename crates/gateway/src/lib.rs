//! The shell of Portcullis: everything that waits, around the pure core.
//!
//! A request comes in at a door ([`doors`]), lives its life ([`life`]) and leaves by an upstream ([`upstreams`]); what happened is in the journal ([`journal`]). [`assemble`] puts
//! the parts together, [`timers`] keeps them up to date, [`cli`] is how people start and ask.

pub mod amount;
pub mod approvals;
pub mod asking;
pub mod assemble;
pub mod backoff;
pub mod cancels;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conversation;
pub mod credential;
pub mod deliveries;
pub mod doors;
pub mod doorway;
pub mod entropy;
pub mod granted;
pub mod guardrails;
pub mod heard;
pub mod hydration;
pub mod identity;
pub mod journal;
pub mod jwk;
pub mod ledger;
pub mod life;
pub mod listings;
pub mod news;
pub mod observe;
pub mod policy;
pub mod registry;
pub mod repetition;
pub mod reply;
pub mod rollback;
pub mod scratchpad;
pub mod server;
pub mod snapshot;
pub mod spoken;
pub mod stop;
pub mod telemetry;
pub mod timers;
pub mod tls;
pub mod trust;
pub mod turns;
pub mod upstreams;
pub mod x509;
