//! Processor time, as the kernel counts it: of a process with all its threads and children, and of the whole machine.

use std::{collections::BTreeMap, fs, time::Duration};

/// The unit of `/proc/<pid>/stat`, part of the kernel's interface on every common architecture.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process tree at one moment.
///
/// `schedstat` counts in nanoseconds but forgets threads that have ended; `stat` remembers them but counts in ticks, too
/// coarse for a few thousand calls. So both are read, and the ticks only correct what the threads can't account for.
pub(crate) struct Usage {
    threads: BTreeMap<u32, u64>,
    ticks: u64,
    processes: u64,
}

impl Usage {
    pub(crate) fn of(root: u32) -> Self {
        let mut usage = Self { threads: BTreeMap::new(), ticks: 0, processes: 0 };
        for (process, stat) in tree(root) {
            usage.ticks += stat.ticks;
            usage.processes += 1;
            for thread in numbers_in(&format!("/proc/{process}/task")) {
                let text = fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).unwrap_or_default();
                let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
                usage.threads.insert(thread, nanos.unwrap_or(0));
            }
        }
        usage
    }

    pub(crate) fn since(&self, before: &Self) -> Duration {
        let grown =
            |(thread, nanos): (&u32, &u64)| nanos.saturating_sub(before.threads.get(thread).copied().unwrap_or(0));
        let precise = Duration::from_nanos(self.threads.iter().map(grown).sum());
        let ticks = u32::try_from(self.ticks.saturating_sub(before.ticks)).unwrap_or(u32::MAX);
        // User and system time are rounded separately, for each process.
        let rounding = TICK * 2 * u32::try_from(self.processes).unwrap_or(1);
        let coarse = TICK.saturating_mul(ticks);
        if coarse > precise + rounding { coarse } else { precise }
    }
}

/// Resident memory of a process tree in KiB.
pub(crate) fn resident_kib(root: u32) -> u64 {
    let resident = |process: u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    };
    tree(root).into_keys().filter_map(resident).sum()
}

/// Time all processors together were busy since the machine started, and time a hypervisor took from them.
#[derive(Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) busy: Duration,
    pub(crate) stolen: Duration,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: Vec<u32> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, stolen, ..] = fields.as_slice() else {
            return Self { busy: Duration::ZERO, stolen: Duration::ZERO };
        };
        Self { busy: TICK * (user + nice + system + irq + softirq), stolen: TICK * *stolen }
    }
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn tree(root: u32) -> BTreeMap<u32, Stat> {
    let mut others: BTreeMap<u32, Stat> =
        numbers_in("/proc").filter_map(|process| Some((process, stat(process)?))).collect();
    let mut found: BTreeMap<u32, Stat> = others.remove(&root).map(|stat| (root, stat)).into_iter().collect();
    loop {
        let (children, rest): (BTreeMap<_, _>, _) =
            others.into_iter().partition(|(_, stat)| found.contains_key(&stat.parent));
        if children.is_empty() {
            return found;
        }
        found.extend(children);
        others = rest;
    }
}

fn stat(process: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the name and may itself hold blanks and brackets.
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat { parent: u32::try_from(number(1)?).ok()?, ticks: number(11)? + number(12)? })
}

fn numbers_in(folder: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
