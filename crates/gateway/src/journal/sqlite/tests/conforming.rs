//! The suite of all engines.

use crate::journal::conformance::suite::conforms;
use crate::journal::sqlite::tests::embedded::Embedded;

conforms!(Some(Embedded::new()));
