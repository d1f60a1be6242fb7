//! Effects on disk: a line for every time that a tool really ran, so that a test can prove that it did, did not, or did twice.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Appends `line` and returns when it is on disk. Lines of several processes stand one after the other.
///
/// # Errors
///
/// What the file system says.
pub fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(path)?;
    // One write, so that a process that is killed here leaves the whole line or none of it.
    file.write_all(format!("{line}\n").as_bytes())?;
    file.sync_all()
}

/// The lines in their order; none where there is no file yet.
///
/// # Errors
///
/// What the file system says, but for a missing file.
pub fn lines(path: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_the_order_they_were_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("effects");
        assert_eq!(lines(&path).unwrap(), Vec::<String>::new());
        append(&path, "one").unwrap();
        append(&path, "two").unwrap();
        assert_eq!(lines(&path).unwrap(), ["one", "two"]);
        assert!(append(&folder.path().join("missing/effects"), "x").is_err());
    }
}
