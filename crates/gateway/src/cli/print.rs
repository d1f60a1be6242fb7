//! What commands print.

use std::io::Write as _;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::cli::arguments::Common;

/// A line on standard output. A reader that has left, as `head` does, is no fault.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line on standard error.
pub fn error_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A value as JSON.
pub fn json(value: &serde_json::Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A table with a head.
pub fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    line(&table.trim_fmt());
}

/// What was done: as JSON for programs, or as a line for people.
pub fn said(common: &Common, value: &serde_json::Value, text: &str) {
    if common.json { json(value) } else { line(text) }
}
