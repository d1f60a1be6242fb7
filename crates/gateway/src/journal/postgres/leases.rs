//! Which gateway has the lease of which session, in a table of its own.

use portcullis_domain::ids::SessionId;

use crate::journal::fault::StoreFault;
use crate::journal::leases::SessionLeases;
use crate::journal::postgres::engine::PostgresEngine;

/// Only who lives gets one, and only where no other that lives has it. Who was found dead lives no more, however it sees that itself.
const TAKE: &str = "
    INSERT INTO portcullis.session_leases (session, gateway)
    SELECT wanted.session, $2 FROM unnest($1::text[]) AS wanted (session)
    WHERE EXISTS (SELECT FROM portcullis.gateways WHERE id = $2 AND ended_at IS NULL)
      AND NOT EXISTS (
        SELECT FROM portcullis.session_leases lease JOIN portcullis.gateways holder ON holder.id = lease.gateway
        WHERE lease.session = wanted.session AND holder.ended_at IS NULL AND holder.id <> $2)
    LIMIT $3
    ON CONFLICT (session) DO UPDATE SET gateway = excluded.gateway
    WHERE NOT EXISTS (
        SELECT FROM portcullis.gateways holder
        WHERE holder.id = session_leases.gateway AND holder.ended_at IS NULL AND holder.id <> excluded.gateway)
    RETURNING session";

const GIVE_BACK: &str = "DELETE FROM portcullis.session_leases WHERE session = ANY($1::text[]) AND gateway = $2";

fn names(sessions: &[SessionId]) -> Vec<String> {
    sessions.iter().map(ToString::to_string).collect()
}

impl SessionLeases for PostgresEngine {
    fn take(&self, sessions: &[SessionId], limit: usize) -> Result<Vec<SessionId>, StoreFault> {
        let (names, limit) = (names(sessions), i64::try_from(limit).unwrap_or(i64::MAX));
        let taken: Vec<String> = self.reader().ask(async |connected| {
            let rows = connected.client.query(TAKE, &[&names, &self.gateway().as_str(), &limit]).await?;
            rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
        })?;
        taken.iter().map(|name| name.parse().map_err(StoreFault::Damaged)).collect()
    }

    fn give_back(&self, sessions: &[SessionId]) -> Result<(), StoreFault> {
        let names = names(sessions);
        self.reader().ask(async |connected| {
            connected.client.execute(GIVE_BACK, &[&names, &self.gateway().as_str()]).await?;
            Ok(())
        })
    }
}
