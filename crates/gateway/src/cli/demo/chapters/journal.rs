//! The record, checked by somebody who believes nobody.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::stage::Stage;
use crate::cli::demo::trouble::differs;
use crate::cli::exit::Exit;
use crate::journal::sqlite::schema::FILE;
use crate::journal::{Report, verify};

const ABOUT: &str = "Every entry names the digest of the one before, all of them are leaves of one tree, and its root is signed. So \
    nobody has to believe the gateway: `portcullis journal verify` reads the files themselves, beside it or without it.";

const FORGERY: &str = "The gateway is stopped, and in a copy of its files somebody makes the blocked $50,000 into $10,000, in the \
    entry itself, by one SQL statement:";

/// What is forged, in the arguments of a denied call.
const FORGED: (&str, &str) = (r#"amount\":50000}"#, r#"amount\":10000}"#);

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("The record", ABOUT).await;
    let report = read(&stage.data())?;
    let Report { entries, streams, bodies, checkpoints, .. } = &report;
    let found = format!("{entries} entries in {streams} streams, {bodies} bodies, {checkpoints} signed checkpoints");
    page.said("verify", Tone::Plain, &found);
    page.said("root", Tone::Plain, &report.root);
    page.gap();
    let unsound = [report.problems, report.notes].concat();
    page.check("the journal is whole: every chain, every signature, every body", unsound, Vec::new())?;

    page.paragraph(FORGERY).await;
    stage.close_gateway().await;
    let copy = stage.file("forged");
    copy_files(&stage.data(), &copy).map_err(|error| Exit::io(format!("can't copy the journal: {error}")))?;
    let forged = forge(&copy).map_err(|error| Exit::io(format!("can't change the copy: {error}")))?;
    if forged != 1 {
        return Err(differs(format!("{forged} entries have the denied call")));
    }
    let report = read(&copy)?;
    for problem in &report.problems {
        page.said("verify", Tone::Yellow, problem);
    }
    page.gap();
    page.check("the forgery is found", report.problems.is_empty(), false)?;
    fs::remove_dir_all(&copy).map_err(|error| Exit::io(format!("can't remove the copy: {error}")))
}

fn read(data: &Path) -> Result<Report, Exit> {
    verify(data).map_err(|fault| differs(format!("the journal can't be verified: {fault}")))
}

fn copy_files(data: &Path, copy: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(copy)?;
    for file in fs::read_dir(data)? {
        let file = file?;
        fs::copy(file.path(), copy.join(file.file_name()))?;
    }
    Ok(())
}

/// Changes the entry, as somebody with the files and patience would; in how many entries the call was found.
fn forge(copy: &Path) -> rusqlite::Result<usize> {
    const FORGE: &str = "UPDATE entries SET bytes = CAST(replace(CAST(bytes AS TEXT), ?1, ?2) AS BLOB)
        WHERE instr(CAST(bytes AS TEXT), ?1) > 0";
    rusqlite::Connection::open(copy.join(FILE))?.execute(FORGE, FORGED)
}
