//! Typed values: arguments of calls, and what is known of principals.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A typed value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Long(i64),
    /// A decimal, in ten-thousandths.
    Decimal(i64),
    /// Values of one type.
    Set(Vec<Value>),
    /// Named values; members that are opaque, absent or null are left out.
    Record(Arguments),
}

/// Typed values by name.
pub type Arguments = BTreeMap<String, Value>;
