//! Ledger: what the configuration says about money. The accounts themselves are in the journal's world; the rules are in `portcullis_domain::ledger`.

pub mod table;
