//! One connection, and what is asked of a server before anything is trusted to it.

use std::future::poll_fn;
use std::sync::Arc;

use portcullis_domain::ids::GatewayId;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use crate::journal::fault::StoreFault;
use crate::journal::postgres::address::Address;
use crate::journal::postgres::tls::{Protected, Tls};
use crate::journal::postgres::trouble::Trouble;

/// The oldest server that is known to do what is needed.
const OLDEST_VERSION: i32 = 140_000;

/// How the database is connected to.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    tls: Tls,
}

/// An open connection. It ends when this is dropped, with whatever transaction is open on it.
pub struct Connected {
    /// What statements are sent by.
    pub client: Client,
    driver: AbortHandle,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Told when another gateway has written something.
#[derive(Clone)]
pub struct Listener {
    /// Who listens: one's own notices are not told.
    pub me: GatewayId,
    /// What is notified.
    pub changed: Arc<Notify>,
}

impl Connector {
    /// A connector to that address.
    ///
    /// # Errors
    ///
    /// When the certificates that the URL names can't be read.
    pub fn new(address: Address) -> Result<Self, StoreFault> {
        let tls = Tls::new(address.root_certificates.as_deref()).map_err(StoreFault::Unusable)?;
        Ok(Self { address, tls })
    }

    /// Connects, and makes sure that the server does what is needed of it.
    ///
    /// # Errors
    ///
    /// When it can't be reached, or must not be used.
    pub async fn connect(&self, listener: Option<Listener>) -> Result<Connected, Trouble> {
        let (client, connection) = self.address.config.connect(self.tls.clone()).await?;
        let driver = tokio::spawn(drive(connection, listener)).abort_handle();
        let connected = Connected { client, driver };
        check(&connected.client).await?;
        Ok(connected)
    }
}

/// Moves bytes until the connection ends. Everybody who waits for an answer learns of the end by themselves.
async fn drive(mut connection: Connection<Socket, Protected<Socket>>, listener: Option<Listener>) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let (AsyncMessage::Notification(notice), Some(listener)) = (message, &listener)
            && notice.payload() != listener.me.as_str()
        {
            listener.changed.notify_one();
        }
    }
}

async fn check(client: &Client) -> Result<(), Trouble> {
    let settings = client
        .query_one(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'),
                    current_setting('synchronous_commit'), current_setting('fsync')",
            &[],
        )
        .await?;
    let (number, version): (i32, String) = (settings.try_get(0)?, settings.try_get(1)?);
    let (commit, sync): (String, String) = (settings.try_get(2)?, settings.try_get(3)?);
    let unusable = |problem: String| Err(Trouble::Fatal(StoreFault::Unusable(problem)));
    if number < OLDEST_VERSION {
        return unusable(format!(
            "the database is PostgreSQL {version}; {} is the oldest that will do",
            OLDEST_VERSION / 10_000
        ));
    }
    if commit == "off" {
        return unusable(
            "`synchronous_commit` is off in the database: what it has acknowledged would be lost when it crashes"
                .to_owned(),
        );
    }
    if sync == "off" {
        return unusable(
            "`fsync` is off in the database: what it has acknowledged would be lost when its machine crashes"
                .to_owned(),
        );
    }
    Ok(())
}
