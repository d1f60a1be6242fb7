//! What guardrails look for: secrets, personal data, patterns, and the size of text and JSON.
//!
//! Pure: text and JSON come in, [`Finding`]s go out. Nothing here knows where the text is from or what is done about a finding, and no finding ever contains what was found.
//!
//! Start at [`Spec`], what a rule says, and [`Detector`], what is made of it. [`Scanner`] does the same for text that comes in pieces, [`mask`] takes away what was found.
//! All of it takes time linear in the text; what that rests on is said in `look`.

mod detector;
mod finding;
mod mask;
mod scanner;
mod spec;

mod expression;
mod look;
mod personal;
mod places;
mod reader;
mod secrets;
mod size;

pub use detector::{BadSpec, Detector};
pub use finding::Finding;
pub use mask::{mask, mask_json};
pub use scanner::{Released, Scanner};
pub use spec::{Pattern, Personal, PersonalKind, SecretKind, Secrets, Size, Spec};
