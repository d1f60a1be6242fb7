//! The database server that the tests of the cluster engine start for themselves.

use super::debian;
use crate::environment::Environment;
use crate::verdict::Verdict;

/// Finds the server's program as the tests do: on the path, or where Debian keeps it.
const FIND: &str = "command -v postgres || ls -d /usr/lib/postgresql/*/bin/postgres";

/// Makes sure that there is a server. Its tests are skipped where there is none, and fail where nobody watches.
pub(crate) fn server(environment: &Environment) -> Verdict {
    match debian::need("sh", &["-c", FIND], &["postgresql"]) {
        Ok(()) => Verdict::Passed("PostgreSQL is there".to_owned()),
        Err(_) => Verdict::missing(environment.ci, "PostgreSQL is missing: install postgresql".to_owned()),
    }
}
