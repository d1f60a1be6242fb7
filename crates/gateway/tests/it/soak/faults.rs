//! One fault a second, in turns, so that each comes as often as its cost allows.

use std::fmt;
use std::time::Duration;

use tokio_postgres::NoTls;

use super::clients::Clients;
use super::{GATEWAYS, Site};
use crate::fleet::Member;
use crate::gateway::ready;

/// Between two faults.
const PAUSE: Duration = Duration::from_secs(1);
/// How long no turn may be acknowledged at all. The slowest thing there is, a gateway that is missed, takes some twenty seconds.
const STANDSTILL_LIMIT: Duration = Duration::from_secs(300);

/// What a gateway says last that the others have missed for longer than its lease.
const MISSED: &str = "another gateway took this one for dead";

/// After how many faults it is said how far it has come.
const PROGRESS_EVERY: usize = 10;

/// What is done, over and over.
const CYCLE: [Fault; 18] = [
    Fault::Agent,
    Fault::Connections,
    Fault::Gateway,
    Fault::Agent,
    Fault::Connections,
    Fault::Redis,
    Fault::Agent,
    Fault::Connections,
    Fault::Agent,
    Fault::Connections,
    Fault::Redis,
    Fault::Agent,
    Fault::Database,
    Fault::Agent,
    Fault::Connections,
    Fault::Agent,
    Fault::Connections,
    Fault::Agent,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A gateway is killed, and started again.
    Gateway,
    /// A replica of the agent is killed; the one that was killed before lives again.
    Agent,
    /// All connections to the database are ended.
    Connections,
    /// The database crashes, and is started again.
    Database,
    /// The Redis loses all that it knows, or ends, or is started again.
    Redis,
}

/// What has been done.
#[derive(Default)]
pub(super) struct Faults {
    count: usize,
    dead: Option<usize>,
    seen: u64,
    still: u32,
    /// How often a gateway was taken for dead while it lived.
    missed: usize,
    /// How often each gateway had begun to listen before it was started last.
    lives: [usize; GATEWAYS],
}

fn lives(member: &Member) -> usize {
    member.process.output().matches("listening").count()
}

impl Faults {
    /// Waits a second and does the next one.
    pub(super) async fn next(&mut self, site: &mut Site, clients: &Clients) {
        tokio::time::sleep(PAUSE).await;
        self.expect_progress(clients, site);
        let fault = CYCLE[self.count % CYCLE.len()];
        let round = self.count / CYCLE.len();
        match fault {
            Fault::Gateway => {
                let number = round % site.fleet.members.len();
                let member = &mut site.fleet.members[number];
                member.process.kill().unwrap();
                self.lives[number] = lives(member);
                member.start();
            }
            Fault::Agent => {
                self.revive(site).await;
                let victim = self.count % site.replicas.len();
                site.replicas[victim].kill();
                self.dead = Some(victim);
            }
            Fault::Connections => end_connections(&site.fleet.server.url()).await,
            Fault::Database => {
                let server = site.fleet.server.clone();
                let crash = move || server.crash().and_then(|()| server.begin());
                tokio::task::spawn_blocking(crash).await.unwrap().unwrap();
            }
            Fault::Redis if !site.redis.is_alive() => site.redis.begin().await.unwrap(),
            Fault::Redis if round.is_multiple_of(2) => site.redis.flush().await.unwrap(),
            Fault::Redis => site.redis.crash().unwrap(),
        }
        self.count += 1;
    }

    /// Whether every kind has come.
    pub(super) fn are_enough(&self) -> bool {
        self.count >= CYCLE.len()
    }

    /// Everything lives again.
    pub(super) async fn heal(&mut self, site: &mut Site) {
        self.revive(site).await;
        if !site.redis.is_alive() {
            site.redis.begin().await.unwrap();
        }
        for member in &mut site.fleet.members {
            if member.process.ended().unwrap().is_some() {
                member.start();
            }
            ready(&mut member.process, member.port).await.unwrap();
        }
    }

    async fn revive(&mut self, site: &mut Site) {
        if let Some(dead) = self.dead.take() {
            site.replicas[dead].live(&site.agent).await;
        }
    }

    fn expect_progress(&mut self, clients: &Clients, site: &mut Site) {
        let acknowledged = clients.acknowledged();
        if self.count.is_multiple_of(PROGRESS_EVERY) {
            eprintln!("soak: {acknowledged} turns acknowledged, {self}");
        }
        self.still = if acknowledged == self.seen { self.still + 1 } else { 0 };
        self.seen = acknowledged;
        if PAUSE * self.still > STANDSTILL_LIMIT {
            let logs = site.fleet.members.iter().map(|member| member.process.output());
            panic!(
                "nothing moves any more; {acknowledged} turns were acknowledged\n{}",
                logs.collect::<Vec<_>>().join("\n\n")
            );
        }
        for (member, lives_before) in site.fleet.members.iter_mut().zip(&mut self.lives) {
            let Some(ended) = member.process.ended().unwrap() else { continue };
            // The database may go away while it starts: then it can't, and whoever runs it starts it again.
            let has_begun = lives(member) > *lives_before;
            // On a machine that is too busy to let it say that it lives, it ends as it should, and is started again too.
            let is_missed = member.process.output().lines().last().is_some_and(|line| line.contains(MISSED));
            assert!(!has_begun || is_missed, "a gateway ended by itself, {ended:?}\n{}", member.process.output());
            self.missed += usize::from(has_begun);
            *lives_before = lives(member);
            member.start();
        }
    }
}

async fn end_connections(url: &str) {
    // It may just be starting again; then there is nothing to end.
    let Ok((client, connection)) = tokio_postgres::connect(url, NoTls).await else { return };
    tokio::spawn(connection);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portcullis'";
    let _ = client.query(end, &[]).await;
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |fault| (0..self.count).filter(|number| CYCLE[number % CYCLE.len()] == fault).count();
        write!(
            out,
            "killed {} gateways and {} agents, ended all connections {} times, crashed the database {} times, flushed, ended or began the Redis {} times, and {} living gateways were taken for dead",
            times(Fault::Gateway),
            times(Fault::Agent),
            times(Fault::Connections),
            times(Fault::Database),
            times(Fault::Redis),
            self.missed
        )
    }
}
