//! Says which rules are built in, as `PORTCULLIS_RULES`: a world that other rules have made is not the world that these would make.
//!
//! It is a digest of the sources of `crates/domain`, so that a release that leaves the rules as they are can go on from what the one before it has kept.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Result;
use std::path::{Path, PathBuf};

const RULES: &str = "../domain/src";

fn main() -> Result<()> {
    let mut files = Vec::new();
    collect(Path::new(RULES), &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    println!("cargo::rerun-if-changed={RULES}");
    println!("cargo::rustc-env=PORTCULLIS_RULES={:016x}", hasher.finish());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
