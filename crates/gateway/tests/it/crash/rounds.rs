//! Rounds: start, judge, load, kill. A few rounds share a data directory; then a new one begins, with a first start that may be killed as well.

use std::time::Duration;

use portcullis_testkit::http::Client;
use portcullis_testkit::process::wait_until;

use super::callers::{Load, Phase};
use super::chance::Chance;
use super::journal::{Stall, Stored};
use super::judge::{Judge, Verdict, ask};
use super::notes::{KeyNote, Notes, Revoked, Shared};
use super::processes::{self, Processes};
use super::report::Report;
use super::site::{PRINCIPALS, Site, Started};
use crate::gateway::LIMIT;

/// How many rounds share a data directory.
const ROUNDS_OF_A_LIFE: u64 = 20;
/// Each round is killed after at most so long under load.
const LOAD_MS: u64 = 700;
/// Some are killed while the disk hangs, which it does for at most so long.
const STALL_MS: u64 = 120;
/// A start is cut short after at most so long.
const EARLY_MS: u64 = 250;
/// The design wants a start within a second. What is judged is the processor time that a start has used until it was ready, since only that does not depend on what else
/// the machine does; most must be within it.
const MIDDLE_START: Duration = Duration::from_secs(1);
/// And this none may exceed.
const LONGEST_START: Duration = Duration::from_secs(5);

/// How it is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) rounds: u64,
    pub(super) seed: u64,
}

/// Runs all rounds, or until something is wrong.
pub(super) async fn run(options: &Options) -> Result<Report, String> {
    let mut report = Report { seed: options.seed, ..Report::default() };
    let mut chance = Chance::new(options.seed);
    let mut left = options.rounds;
    while left > 0 {
        let rounds = left.min(ROUNDS_OF_A_LIFE);
        let mut life = Life::begin(chance.fork()).await;
        let lived = life.live(rounds, &mut report).await;
        life.add(&mut report);
        if let Err(problem) = lived {
            let log = life.site.end_of_log();
            let folder = life.site.keep();
            return Err(format!(
                "{problem}\nthe log ends with:\n{log}\neverything is kept in {}\n{report}",
                folder.display()
            ));
        }
        left -= rounds;
    }
    let (middle, longest) = report.start_efforts();
    if middle > MIDDLE_START || longest > LONGEST_START {
        return Err(format!("starting takes too long\n{report}"));
    }
    if report.acknowledged == 0 || report.effects == 0 {
        return Err(format!("nothing was put to the test\n{report}"));
    }
    Ok(report)
}

/// A data directory from its first start to its last.
struct Life {
    site: Site,
    chance: Chance,
    notes: Shared,
    judge: Judge,
    last: Verdict,
    /// A key for each principal, once they were issued.
    keys: Vec<String>,
    /// Children of gateways that were killed.
    orphans: Processes,
}

impl Life {
    async fn begin(chance: Chance) -> Self {
        Self {
            site: Site::build().await,
            chance,
            notes: Shared::default(),
            judge: Judge::default(),
            last: Verdict::default(),
            keys: Vec::new(),
            orphans: Processes::new(),
        }
    }

    async fn live(&mut self, rounds: u64, report: &mut Report) -> Result<(), String> {
        for round in 0..rounds {
            if self.chance.one_in(5) {
                self.cut_short().await;
                report.early += 1;
            } else {
                self.round(round, report).await?;
                report.kills += 1;
            }
        }
        self.end(rounds, report).await
    }

    /// A start that is killed before it is ready, most likely.
    async fn cut_short(&mut self) {
        let mut started = self.site.start();
        tokio::time::sleep(Duration::from_millis(self.chance.below(EARLY_MS))).await;
        self.kill(&mut started);
    }

    async fn round(&mut self, round: u64, report: &mut Report) -> Result<(), String> {
        let mut started = self.start(report).await?;
        let phase = Phase::default();
        let load = self.load(round, &phase);
        tokio::time::sleep(Duration::from_millis(self.chance.below(LOAD_MS))).await;
        let broken = |error: rusqlite::Error| format!("holding the journal's writer: {error}");
        let is_stalled = self.chance.one_in(3);
        let stall = is_stalled.then(|| Stall::begin(&self.site.file("data"))).transpose().map_err(broken)?;
        if stall.is_some() {
            tokio::time::sleep(Duration::from_millis(self.chance.below(STALL_MS))).await;
        }
        if started.has_ended() {
            return Err("the gateway has ended by itself".to_owned());
        }
        phase.doom();
        self.kill(&mut started);
        load.end().await;
        report.stalled += u64::from(is_stalled);
        stall.map_or(Ok(()), Stall::end).map_err(broken)?;
        // Also what nobody has recovered yet is a whole record.
        if self.chance.one_in(4) { self.verify().await } else { Ok(()) }
    }

    /// The end of a life: load that comes to its end, a gateway that is asked to stop, and the record judged without it.
    async fn end(&mut self, round: u64, report: &mut Report) -> Result<(), String> {
        let mut started = self.start(report).await?;
        let phase = Phase::default();
        let load = self.load(round, &phase);
        tokio::time::sleep(Duration::from_millis(LOAD_MS)).await;
        phase.stop();
        load.end().await;
        // Those who left have calls that are settled after them.
        let settled = || async { self.judge_once().0.problem().is_none() };
        let _ = wait_until("all calls are settled", LIMIT, settled).await;
        self.verdict(true).await?;
        started.stop().await?;
        self.gone(processes::of(self.site.folder())).await?;
        self.verify().await?;
        self.verdict(false).await?;
        let stored = Stored::read(&self.site.file("data")).map_err(|error| error.to_string())?;
        let is_sealed = |note: &String| note.lines().nth(1) == Some(&stored.entries.len().to_string());
        if stored.checkpoints.last().is_some_and(is_sealed) {
            return Ok(());
        }
        Err("the last entries are not sealed although the gateway was stopped".to_owned())
    }

    /// Starts, waits until it takes calls, and judges what the kill before has left.
    async fn start(&mut self, report: &mut Report) -> Result<Started, String> {
        let mut started = self.ready(report).await?;
        self.issue_keys().await?;
        self.verdict(true).await?;
        let orphans = std::mem::take(&mut self.orphans);
        self.gone(orphans).await?;
        // Somebody else's gateway would have answered as well, had it taken the port.
        if started.has_ended() { Err("the gateway has ended by itself".to_owned()) } else { Ok(started) }
    }

    async fn ready(&mut self, report: &mut Report) -> Result<Started, String> {
        let mut is_again = false;
        loop {
            let mut started = self.site.start();
            match self.site.ready(&mut started).await {
                Ok(took) => {
                    report.starts.push(took);
                    report.efforts.push(started.effort());
                    return Ok(started);
                }
                Err(problem) if problem.contains("can't listen") && !is_again => self.site.move_away(),
                Err(problem) => return Err(problem),
            }
            is_again = true;
        }
    }

    fn load(&mut self, round: u64, phase: &Phase) -> Load {
        let clients: Vec<Client> = self.keys.iter().map(|key| self.site.stranger().with_key(key)).collect();
        Load::begin(&clients, &self.site.admin(), round, &mut self.chance, &self.notes, phase)
    }

    fn kill(&mut self, started: &mut Started) {
        started.kill();
        self.orphans.append(&mut processes::of(self.site.folder()));
    }

    async fn gone(&self, processes: Processes) -> Result<(), String> {
        let left = || {
            let mut running = processes::of(self.site.folder());
            running.retain(|process, _| processes.contains_key(process));
            running
        };
        let gone = wait_until("children have followed their gateway", LIMIT, || async { left().is_empty() });
        gone.await.map_err(|problem| format!("{problem}: {:?}", left()))
    }

    /// Keys are issued once; they are to open the door after every kill.
    async fn issue_keys(&mut self) -> Result<(), String> {
        for principal in PRINCIPALS.iter().skip(self.keys.len()) {
            let body = serde_json::json!({"principal": principal});
            let answer =
                self.site.admin().post("/api/v1/identity/keys", &body).await.map_err(|failure| failure.to_string())?;
            let issued = answer.json();
            let (Some(id), Some(text)) = (issued["id"].as_str(), issued["key"].as_str()) else {
                return Err(format!("no key: {}", answer.text()));
            };
            self.keys.push(text.to_owned());
            let note = KeyNote { id: id.to_owned(), text: text.to_owned(), is_revoked: Revoked::No };
            self.notes.lock().keys.push(note);
        }
        Ok(())
    }

    fn judge_once(&self) -> (Verdict, Option<portcullis_testkit::oracle::Derived>) {
        Judge::default().judge(&self.site, &self.notes.lock())
    }

    /// Judges the record, and what the gateway says by itself where one runs.
    async fn verdict(&mut self, is_running: bool) -> Result<(), String> {
        let (mut verdict, derived) = self.judge.judge(&self.site, &self.notes.lock());
        if let (true, Some(derived)) = (is_running, derived) {
            let notes = self.notes.lock().clone();
            ask(&self.site, notes, &derived, &mut verdict).await;
        }
        let problem = verdict.problem();
        self.last = verdict;
        problem.map_or(Ok(()), Err)
    }

    /// The gateway's own command agrees.
    async fn verify(&self) -> Result<(), String> {
        let command = self.site.command(&["journal", "verify"]);
        let output = tokio::process::Command::from(command).output().await.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!("`portcullis journal verify`: {}\n{}", output.status, String::from_utf8_lossy(&said)))
    }

    fn add(&self, report: &mut Report) {
        let (notes, verdict): (&Notes, _) = (&self.notes.lock(), &self.last);
        report.acknowledged += notes.acknowledged();
        report.exhausted += notes.exhausted;
        report.left += notes.left;
        report.effects += verdict.effects;
        report.entries += verdict.entries;
        report.unknown += verdict.unknown;
        report.missing += verdict.missing.len();
        report.twice += verdict.twice.len();
    }
}
