//! The machine a result belongs to, and who runs on which of its cores.

use std::{fs, io::Write, path::Path, process::Command, time::Instant};

use serde::Serialize;

use crate::{failure::Result, histogram::Histogram};

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) proxy_cores: String,
    pub(crate) load_cores: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
            line.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let allowed = cores(&field(&read("/proc/self/status"), "Cpus_allowed_list"));
        let (load, proxy) = match allowed.split_last() {
            Some((last, rest)) if !rest.is_empty() => (rest.to_vec(), vec![*last]),
            _ => (allowed.clone(), allowed.clone()),
        };
        let list = |cores: &[u32]| cores.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: allowed.len(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            proxy_cores: list(&proxy),
            load_cores: list(&load),
        }
    }

    /// Moves this process, and with it load and upstream, away from the core of the proxies. Says why when it can't.
    pub(crate) fn pin_load(&self) -> Result<()> {
        let process = std::process::id().to_string();
        let output = Command::new("taskset").args(["-acp", &self.load_cores, &process]).output();
        let output = output.map_err(|error| format!("taskset: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        // By default the kernel may wake a sleeper 50 µs late, which would be the generator's error; threads inherit this.
        fs::write("/proc/self/timerslack_ns", "1").map_err(|error| format!("timer slack: {error}").into())
    }
}

/// A list such as `0-2,5`.
fn cores(list: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// What a durable write costs here, without any gateway.
#[derive(Serialize)]
pub(crate) struct Durability {
    pub(crate) file_system: String,
    pub(crate) fdatasync_p50_us: f64,
    pub(crate) fdatasync_p99_us: f64,
}

impl Durability {
    /// Appends records of 1 KiB to a new file in the folder, each made durable before the next.
    pub(crate) fn measure(folder: &Path) -> Result<Self> {
        const WRITES: usize = 500;
        let mut file = tempfile::tempfile_in(folder)?;
        let mut histogram = Histogram::new();
        for _ in 0..WRITES {
            file.write_all(&[b'x'; 1024])?;
            let start = Instant::now();
            file.sync_data()?;
            histogram.record(start.elapsed());
        }
        Ok(Self {
            file_system: file_system(folder),
            fdatasync_p50_us: histogram.percentile_us(50),
            fdatasync_p99_us: histogram.percentile_us(99),
        })
    }

    /// A file system in memory answers at once and keeps nothing.
    pub(crate) fn is_real(&self) -> bool {
        !matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

fn file_system(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_default();
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        folder.starts_with(&point).then_some((point.len(), kind))
    };
    // The longest mount point that holds the folder is its own; of two on the same point the later one covers the other.
    mounts
        .lines()
        .filter_map(mount)
        .max_by_key(|(length, _)| *length)
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(cores("0-2,5"), [0, 1, 2, 5]);
        assert_eq!(cores("3"), [3]);
        assert!(cores("").is_empty());
    }
}
