//! `portcullis policy`: what the rules say, would say, and have said.
//!
//! Every command asks the same engine that the gateway asks. Start with [`ask`], which puts one question for everybody on a chain, then [`ground`] (which rules, and who
//! and what there is) and [`record`] (the calls of the journal, with what rules could see then).

mod ask;
mod backtest;
mod explain;
mod ground;
mod history;
mod record;
mod roll;
mod run;
mod tests_file;
mod try_one;
mod vouched;

pub(super) use run::run;
