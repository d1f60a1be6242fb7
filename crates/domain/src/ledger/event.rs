//! What the journal says about accounts by themselves. Holds and charges are part of the call's own entries.

use serde::{Deserialize, Serialize};

use crate::ledger::account::Account;
use crate::money::Nanodollars;

/// From here on the account may spend this much in all; without an amount there is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The account.
    pub account: Account,
    /// What it may spend in all, what it has spent included.
    pub amount: Option<Nanodollars>,
}
