//! What guardrails look for: secrets, personal data, patterns, the size and shape of text and JSON, what SQL does, and instructions that hide.
//!
//! Pure: text and JSON come in, [`Finding`]s go out. Nothing here knows where the text is from or what is done about a finding, and no finding ever contains what was found.
//!
//! Start at [`Spec`], what a rule says, and [`Detector`], what is made of it. [`Scanner`] does the same for text that comes in pieces, [`mask`] takes away what was found.
//! Secrets, personal data, patterns and size take time linear in the text; what that rests on is said in `look`. SQL and values for a schema are bounded in length and depth before they are parsed.

mod detector;
mod finding;
mod mask;
mod scanner;
mod spec;

mod expression;
mod look;
mod personal;
mod places;
mod poisoning;
mod reader;
mod schema;
mod secrets;
mod size;
mod sql;

pub use detector::{BadSpec, Detector};
pub use finding::Finding;
pub use mask::{mask, mask_json};
pub use scanner::{Released, Scanner};
pub use spec::{
    Dialect, Pattern, Personal, PersonalKind, Poisoning, Schema, SecretKind, Secrets, Size, Spec, Sql, SqlClass,
};
