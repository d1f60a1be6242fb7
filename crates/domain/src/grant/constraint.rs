//! What an argument must be.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Numeral;
use crate::ids::SessionName;

/// What an argument must be. Of a list, each value must be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// Whatever it is, and whether or not it is there.
    Any,
    /// This.
    Exactly(Literal),
    /// One of these.
    OneOf(Vec<Literal>),
    /// A number that is neither below the first nor above the second.
    Between(Numeral, Numeral),
    /// What this one has said.
    From(Source),
    /// The value of this key of the session's state, which no agent may have written.
    State(SessionName),
}

/// Who has said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The user, in their own words.
    User,
    /// The user, or a source that the configuration trusts.
    Trusted,
}

/// A value to compare with. Text is compared letter by letter with text, and by its value with a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Literal {
    /// Text, or a number in quotes.
    Text(String),
    /// A whole number.
    Number(Numeral),
    /// True or false.
    Bool(bool),
}

impl Literal {
    /// The number that it stands for.
    #[must_use]
    pub fn number(&self) -> Option<Numeral> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Number(number) => Some(*number),
            Self::Bool(_) => None,
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(out, "`{}`", text.escape_debug()),
            Self::Number(number) => write!(out, "{number}"),
            Self::Bool(value) => write!(out, "{value}"),
        }
    }
}

impl Serialize for Literal {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => out.serialize_str(text),
            Self::Number(number) => number.serialize(out),
            Self::Bool(value) => out.serialize_bool(*value),
        }
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Plain;
        impl Visitor<'_> for Plain {
            type Value = Literal;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("text, an integer, a number in quotes, or true or false")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Literal, E> {
                Ok(Literal::Bool(value))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Literal, E> {
                Numeral::of_integer(number).map(Literal::Number).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Literal, E> {
                let number = i64::try_from(number).map_err(|_| E::custom(format!("`{number}` is out of range")))?;
                self.visit_i64(number)
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Literal, E> {
                Err(E::custom(format!("write {number} in quotes, so that it is read exactly")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Literal, E> {
                Ok(Literal::Text(text.to_owned()))
            }
        }
        input.deserialize_any(Plain)
    }
}
