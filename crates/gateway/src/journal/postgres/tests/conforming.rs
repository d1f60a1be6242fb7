//! The suite of all engines.

use crate::journal::conformance::suite::conforms;
use crate::journal::postgres::tests::clustered::Clustered;

conforms!(Clustered::new());
