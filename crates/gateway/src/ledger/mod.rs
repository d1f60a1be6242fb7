//! Ledger: what the configuration says about money. How often calls may be made is counted by [`rates`], outside of the record. The accounts themselves are in the journal's world; the rules are in `portcullis_domain::ledger`.

pub mod rates;
pub mod table;
