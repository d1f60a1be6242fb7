//! Rules from files and from the configuration's own text.

use std::path::Path;

use portcullis_cedar::Source;

use crate::policy::table::PolicyTable;

/// What holds when no policies are configured: administrators may do everything, others nothing.
const DEFAULT: &str = r#"@id("default-administrator")
permit (principal in Role::"administrator", action, resource);
"#;

/// What is said where all policies are on trial.
pub const ON_TRIAL: &str =
    "policy.mode is `audit`: NO CALL IS REFUSED BY POLICY; what would have been refused is in the journal";

/// What is said where rules of before are in force.
pub const PUT_BACK: &str = "the policies were rolled back: what the files say does not count until they change, or until `portcullis policy rollforward`";

/// The largest file of rules, in bytes.
const FILE_LIMIT_BYTES: usize = 4 << 20;

/// Reads all rules; paths are relative to `base`, and `config` is what the configuration file is called in messages.
///
/// # Errors
///
/// The file that can't be read and why.
pub fn sources(table: &PolicyTable, base: &Path, config: &str) -> Result<Vec<Source>, (String, String)> {
    let mut sources = Vec::new();
    for file in &table.files {
        let (path, name) = (base.join(file), file.display().to_string());
        let text = std::fs::read_to_string(&path).map_err(|error| (name.clone(), format!("can't be read: {error}")))?;
        if text.len() > FILE_LIMIT_BYTES {
            return Err((name, format!("is larger than {FILE_LIMIT_BYTES} bytes")));
        }
        sources.push(Source { file: name, text });
    }
    if let Some(text) = &table.text {
        sources.push(Source { file: format!("{config} (policy.text)"), text: text.clone() });
    }
    if sources.is_empty() {
        sources.push(Source { file: "(default)".to_owned(), text: DEFAULT.to_owned() });
    }
    Ok(sources)
}
