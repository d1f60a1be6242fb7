//! The record, checked by somebody who believes nobody.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::cli::demo::page::{Page, Tone};
use crate::cli::demo::stage::Stage;
use crate::cli::demo::trouble::differs;
use crate::cli::exit::Exit;
use crate::journal::{Report, verify};

const ABOUT: &str = "Every entry names the digest of the one before, all of them are leaves of one tree, and its root is signed. So \
    nobody has to believe the gateway: `portcullis journal verify` reads the files themselves, beside it or without it.";

const FORGERY: &str =
    "The gateway is stopped, and in a copy of its files somebody makes the blocked $50,000 into $10,000:";

/// What is forged, in the arguments of a denied call: the same length, so that nothing moves.
const FORGED: (&[u8], &[u8]) = (br#"amount\":50000}"#, br#"amount\":10000}"#);

pub(in crate::cli::demo) async fn tell(stage: &mut Stage, page: &mut Page) -> Result<(), Exit> {
    page.chapter("The record", ABOUT).await;
    let report = read(&stage.data())?;
    let Report { entries, streams, bodies, checkpoints, .. } = &report;
    let found = format!("{entries} entries in {streams} streams, {bodies} bodies, {checkpoints} signed checkpoints");
    page.said("verify", Tone::Plain, &found);
    page.said("root", Tone::Plain, &report.root);
    page.gap();
    page.check("the journal is whole: every chain, every signature, every body", report.problems, Vec::new())?;

    page.paragraph(FORGERY).await;
    stage.close_gateway().await;
    let copy = stage.file("forged");
    let forged = forge(&stage.data(), &copy).map_err(|error| Exit::io(format!("can't copy the journal: {error}")))?;
    if forged == 0 {
        return Err(differs("the denied call is not in the journal's files"));
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

/// Copies the data directory with the forgery in it; how often the place was found.
fn forge(data: &Path, copy: &Path) -> std::io::Result<usize> {
    let (original, forgery) = FORGED;
    let mut forged = 0;
    fs::DirBuilder::new().mode(0o700).create(copy)?;
    for file in fs::read_dir(data)? {
        let file = file?;
        let mut bytes = fs::read(file.path())?;
        let places: Vec<usize> = bytes
            .windows(original.len())
            .enumerate()
            .filter(|(_, window)| *window == original)
            .map(|(at, _)| at)
            .collect();
        for at in places {
            forged += 1;
            bytes.splice(at..at + original.len(), forgery.iter().copied());
        }
        fs::write(copy.join(file.file_name()), bytes)?;
    }
    Ok(forged)
}
