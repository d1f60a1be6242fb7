//! The servers that the tests of several gateways start for themselves: a database, and a Redis or Valkey.

use super::debian;
use crate::environment::Environment;
use crate::verdict::Verdict;

/// Finds the server's program as the tests do: on the path, or where Debian keeps it.
const FIND: &str = "command -v postgres || ls -d /usr/lib/postgresql/*/bin/postgres";

/// The same for the other one.
const FIND_REDIS: &str = "command -v redis-server || command -v valkey-server";

/// Makes sure that there is each of them. Its tests are skipped where there is none, and fail where nobody watches.
pub(crate) fn servers(environment: &Environment) -> Verdict {
    for (find, package) in [(FIND, "postgresql"), (FIND_REDIS, "redis-server")] {
        if debian::need("sh", &["-c", find], &[package]).is_err() {
            return Verdict::missing(environment.ci, format!("{package} is missing: install it"));
        }
    }
    Verdict::Passed("PostgreSQL and Redis are there".to_owned())
}
