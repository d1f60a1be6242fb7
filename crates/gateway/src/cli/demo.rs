//! `portcullis demo`.

use crate::cli::arguments::Demo;
use crate::cli::exit::Exit;

pub(super) async fn run(_demo: &Demo) -> Result<(), Exit> {
    Err(Exit::system("not yet"))
}
