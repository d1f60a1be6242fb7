//! A journal in a database as one side of a copy.

use portcullis_domain::ids::GatewayId;

use crate::journal::audit::Audit;
use crate::journal::fault::StoreFault;
use crate::journal::files::DataDirectory;
use crate::journal::page::{Page, StreamRow};
use crate::journal::postgres::address::Address;
use crate::journal::postgres::connect::{Connected, Connector};
use crate::journal::postgres::link::{ADD_BODIES, ADD_CHECKPOINT, ADD_ENTRIES, ADD_STREAMS, MOVE_HEAD};
use crate::journal::postgres::schema::{from_sql, to_sql};
use crate::journal::postgres::trouble::Trouble;
use crate::journal::postgres::{keys, outside, schema};

/// A journal that is read while no gateway writes it.
pub struct Origin {
    connected: Connected,
}

impl Origin {
    /// Takes the lock that a gateway starts under, and sees the journal from then on as it was at this moment.
    ///
    /// # Errors
    ///
    /// When there is none, or a gateway lives on it.
    pub async fn open(address: &Address) -> Result<Self, Trouble> {
        let connected = Connector::new(address.clone())?.connect(None).await?;
        schema::lock(&connected.client).await?;
        schema::expect(&connected.client).await?;
        let select =
            "SELECT id FROM portcullis.gateways WHERE ended_at IS NULL AND lease_until > clock_timestamp() LIMIT 1";
        if let Some(row) = connected.client.query_opt(select, &[]).await? {
            let id: String = row.try_get(0)?;
            let id = id.parse::<GatewayId>().map_err(StoreFault::Damaged)?;
            let problem = format!("gateway {id} runs on the source, or was killed a moment ago");
            return Err(Trouble::Fatal(StoreFault::Unusable(problem)));
        }
        connected.client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(Self { connected })
    }

    /// All streams.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn streams(&self) -> Result<Vec<StreamRow>, Trouble> {
        outside::streams(&self.connected.client).await
    }

    /// The page after that position.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn page(&self, after: u64) -> Result<Page, Trouble> {
        outside::page(&self.connected.client, after).await
    }
}

/// A journal that is being written, all of it in one transaction.
pub struct Target {
    connected: Connected,
    sealed: u64,
}

impl Target {
    /// Makes the tables where there are none. Until the end no gateway can start on it.
    ///
    /// # Errors
    ///
    /// When there is a journal, the database is away, or it has tables that are not known here.
    pub async fn begin(address: &Address) -> Result<Self, Trouble> {
        let connected = Connector::new(address.clone())?.connect(None).await?;
        schema::lock(&connected.client).await?;
        schema::migrate(&connected.client).await?;
        connected.client.batch_execute("BEGIN").await?;
        let head = connected.client.query_one("SELECT position FROM portcullis.head FOR UPDATE", &[]).await?;
        let entries = from_sql(head.try_get(0)?);
        if entries > 0 {
            let problem = format!("the database of the target has a journal of {entries} entries already");
            return Err(Trouble::Fatal(StoreFault::Unusable(problem)));
        }
        Ok(Self { connected, sealed: 0 })
    }

    /// Writes the streams.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn add_streams(&self, streams: &[StreamRow]) -> Result<(), Trouble> {
        let numbers: Vec<i64> = streams.iter().map(|(number, ..)| to_sql(*number)).collect();
        let names: Vec<&str> = streams.iter().map(|(_, name, _)| name.as_str()).collect();
        let salts: Vec<Option<&[u8]>> = streams.iter().map(|(.., salt)| salt.as_ref().map(|salt| &salt[..])).collect();
        self.connected.client.execute(ADD_STREAMS, &[&numbers, &names, &salts]).await?;
        Ok(())
    }

    /// Writes a page.
    ///
    /// # Errors
    ///
    /// When the database says so.
    pub async fn add(&mut self, page: Page) -> Result<(), Trouble> {
        let client = &self.connected.client;
        let column = |of: fn(&crate::journal::audit::Place) -> u64| {
            page.entries.iter().map(|(place, _)| to_sql(of(place))).collect::<Vec<i64>>()
        };
        let (positions, streams, seqs) =
            (column(|place| place.position), column(|place| place.stream), column(|place| place.seq));
        let bytes: Vec<&[u8]> = page.entries.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        client.execute(ADD_ENTRIES, &[&positions, &streams, &seqs, &bytes]).await?;
        let numbers: Vec<i64> = page.bodies.iter().map(|(number, _)| to_sql(*number)).collect();
        let sealed: Vec<&[u8]> = page.bodies.iter().map(|(_, sealed)| sealed.as_slice()).collect();
        client.execute(ADD_BODIES, &[&numbers, &sealed]).await?;
        for (size, note) in &page.checkpoints {
            client.execute(ADD_CHECKPOINT, &[&to_sql(*size), note]).await?;
            self.sealed = *size;
        }
        Ok(())
    }

    /// Writes the head and the fingerprints of the secrets, and reads everything back.
    ///
    /// # Errors
    ///
    /// When the database says so, or the secrets are not those of the store.
    pub async fn finish(&self, directory: &DataDirectory, read: &Audit, written: &mut Audit) -> Result<(), Trouble> {
        let client = &self.connected.client;
        let (size, root) = read.head();
        client.execute(MOVE_HEAD, &[&to_sql(size), &root.0.as_slice(), &to_sql(self.sealed)]).await?;
        keys::open(client, directory).await?;
        outside::pass(client, written).await
    }

    /// From here on it is there.
    ///
    /// # Errors
    ///
    /// When the database says so; then it is there or not, as the next look will tell.
    pub async fn commit(self) -> Result<(), Trouble> {
        self.connected.client.batch_execute("COMMIT").await?;
        schema::unlock(&self.connected.client).await
    }
}
