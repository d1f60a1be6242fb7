//! The public client libraries that the integration tests speak to the gateway with.
//!
//! What is wanted is in `tests/clients`: each `python/requirements-<name>.txt` becomes a Python environment `<name>`, each
//! `<name>/package-lock.json` becomes `<name>/node_modules`, and each `rust/crate-<name>.txt` names a crate whose programs come
//! to be in `<name>/bin`. The environments of the Python package are asked for in `sdk/python/tests`, in the same way. They are
//! installed once, beside what cargo builds and outside of the sources, and again when what is wanted changes. The tests find
//! them through [`VARIABLE`].
//!
//! Two of the libraries are none: the tests of several gateways speak to a PostgreSQL server and to a Redis server, which come
//! from Debian as a whole.
//!
//! This part never installs anything into the checkout, the user's home or the system's Python; only where an interpreter or
//! that server itself is missing on Debian does it ask the system for one.

mod install;

mod debian;
mod library;
mod servers;

pub(crate) use install::{VARIABLE, install, ready};
pub(crate) use servers::servers;
