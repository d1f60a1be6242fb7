//! `portcullis journal verify|show`: they read the store itself, so that nobody has to believe a running gateway.

use crate::cli::arguments::{Common, Journal};
use crate::cli::exit::Exit;

pub(super) fn run(_common: &Common, _command: Journal) -> Result<(), Exit> {
    Err(Exit::system("not yet"))
}
