//! The tracked files, read once. Rules see names and texts, so a test can hand them any tree it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// A file this large is data, and is not read.
const TEXT_LIMIT_BYTES: usize = 2 * 1024 * 1024;

#[derive(Default)]
pub(crate) struct Files {
    /// From the root, with `/`, to the whole text; binary files are in `paths` only.
    texts: BTreeMap<String, String>,
    paths: BTreeSet<String>,
}

impl Files {
    /// What Git tracks or would track: new files count before they are added.
    pub(crate) fn tracked(root: &Path) -> Result<Self, String> {
        let listing = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .map_err(|error| format!("cannot run git: {error}"))?;
        if !listing.status.success() {
            return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listing.stderr).trim()));
        }
        let mut files = Self::default();
        for path in String::from_utf8_lossy(&listing.stdout).split('\0').filter(|path| !path.is_empty()) {
            // A file that was deleted and not yet committed is still listed.
            let Ok(bytes) = std::fs::read(root.join(path)) else {
                continue;
            };
            files.paths.insert(path.to_owned());
            if bytes.len() <= TEXT_LIMIT_BYTES
                && let Ok(text) = String::from_utf8(bytes)
            {
                files.texts.insert(path.to_owned(), text);
            }
        }
        Ok(files)
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Every text whose name ends so, in order of name.
    pub(crate) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| path.ends_with(end))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether there is a file or a folder of this name.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.paths.contains(path)
            || self.paths.range(folder.clone()..).next().is_some_and(|next| next.starts_with(&folder))
    }

    /// Whether there is a file or a folder whose path ends so, however deep it lies.
    pub(crate) fn exists_below(&self, end: &str) -> bool {
        let end = format!("/{}/", end.trim_end_matches('/'));
        self.paths.iter().any(|path| format!("/{path}/").contains(&end))
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<_, _> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { paths: texts.keys().cloned().collect(), texts }
    }
}
