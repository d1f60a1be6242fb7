//! The table `ledger` of the configuration.

use std::collections::BTreeMap;

use portcullis_domain::ids::PrincipalName;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::amount::Dollars;
use crate::ledger::rates::table::RatesTable;

/// What calls may cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerTable {
    /// What principals may spend in all; those not named have no limit.
    #[schemars(with = "BTreeMap<String, Budget>")]
    pub budgets: BTreeMap<PrincipalName, Budget>,
    /// What may be spent in each session in all. It holds for sessions that are opened from then on.
    pub session: Option<Budget>,
    /// How often calls may be made.
    pub rates: RatesTable,
}

/// A limit on money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// In US dollars.
    pub usd: Dollars,
}
