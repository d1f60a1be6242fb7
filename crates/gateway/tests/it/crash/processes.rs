//! Which processes run, by what stands in their command line: the gateway's children outlive it for a moment and no longer.

use std::collections::BTreeMap;
use std::path::Path;

/// Processes with their command lines. An id may be given anew, so that the time of the start belongs to it.
pub(super) type Processes = BTreeMap<(u32, String), String>;

/// The running processes whose command line names something in `folder`. Those that have ended and were not waited for have none.
pub(super) fn of(folder: &Path) -> Processes {
    let ids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(read).filter(|(_, command)| command.contains(&*folder.to_string_lossy())).collect()
}

/// It may end while it is looked at.
fn read(id: u32) -> Option<((u32, String), String)> {
    let command = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    // The name in brackets may have spaces; behind it the start is the 20th field (proc_pid_stat(5), field 22).
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(((id, fields.split_whitespace().nth(19)?.to_owned()), command))
}
