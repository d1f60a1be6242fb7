//! Renewing the lease while something takes long that is no batch: reading all of memory anew, or what was written during an outage.
//!
//! The connection that reads is busy then, so that another one says that this gateway lives. A gateway that others have found dead meanwhile stays dead.

use std::convert::Infallible;
use std::time::Duration;

use portcullis_domain::ids::GatewayId;

use crate::journal::postgres::connect::Connector;
use crate::journal::postgres::trouble::Trouble;

/// How often the lease is renewed within its time.
const TIMES_PER_LEASE: u32 = 5;

const RENEW: &str = "
    UPDATE portcullis.gateways SET lease_until = clock_timestamp() + $2::float8 * interval '1 second'
    WHERE id = $1 AND ended_at IS NULL";

/// Whose lease it is, and how it is reached.
#[derive(Clone)]
pub struct Renewal {
    /// Reaches the database.
    pub connector: Connector,
    /// This run of this gateway.
    pub me: GatewayId,
    /// How long it is believed to live without another word.
    pub lease: Duration,
}

impl Renewal {
    /// Does the work, and renews the lease for as long as that lasts.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.go_on() => match never {},
        }
    }

    /// It ends only when what it is beside ends.
    async fn go_on(&self) -> Infallible {
        loop {
            let Err(problem) = self.renew().await;
            tracing::debug!(?problem, "the lease was not renewed while memory is read");
        }
    }

    /// Renews until that fails. What is over soon needs no connection.
    async fn renew(&self) -> Result<Infallible, Trouble> {
        let pause = self.lease / TIMES_PER_LEASE;
        tokio::time::sleep(pause).await;
        let connected = self.connector.connect(None).await?;
        loop {
            connected.client.execute(RENEW, &[&self.me.as_str(), &self.lease.as_secs_f64()]).await?;
            tokio::time::sleep(pause).await;
        }
    }
}
