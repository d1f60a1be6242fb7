//! Dollars in configuration: read from the digits as they are written, never through a float.

use std::borrow::Cow;

use portcullis_domain::money::Nanodollars;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// An exact amount of US dollars with at most nine digits after the point, as in `2.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dollars(pub Nanodollars);

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Dollars {
    fn schema_name() -> Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An exact amount of US dollars with at most nine digits after the point.",
            "type": ["number", "string"],
            "minimum": 0,
        })
    }
}
