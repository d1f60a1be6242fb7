//! What a grant says, in sentences for people.

use super::{Constraint, Entry, Others, Source};

impl Entry {
    /// What it allows.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut parts: Vec<String> =
            self.arguments.iter().map(|(name, constraint)| format!("`{name}` {constraint}")).collect();
        let named_by_limit = self.in_all.keys().filter(|name| !self.arguments.contains_key(*name));
        parts.extend(named_by_limit.map(|name| format!("`{name}` is a number")));
        if self.others == Others::Allow {
            parts.push("other arguments may be anything".to_owned());
        } else if parts.is_empty() && !self.is_of_models_or_agents() {
            parts.push("there are no arguments".to_owned());
        }
        let limits = self.in_all.iter().map(|(name, limit)| format!("`{name}` comes to at most {limit} in all"));
        parts.extend(limits);
        parts.extend(self.calls.map(|calls| match calls {
            1 => "it is called once at most".to_owned(),
            calls => format!("it is called {calls} times at most"),
        }));
        let conditions = if parts.is_empty() { String::new() } else { format!(" where {}", parts.join(", ")) };
        format!("It may use `{}`{}.", self.capability, conditions)
    }

    /// Whether there are no arguments to speak of.
    fn is_of_models_or_agents(&self) -> bool {
        let written = self.capability.to_string();
        written.starts_with("model/") || written.starts_with("agent/")
    }
}

impl std::fmt::Display for Constraint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => write!(out, "may be anything"),
            Self::Exactly(literal) => write!(out, "is exactly {literal}"),
            Self::OneOf(literals) => {
                let literals: Vec<String> = literals.iter().map(ToString::to_string).collect();
                write!(out, "is one of {}", literals.join(", "))
            }
            Self::Between(low, high) => write!(out, "is a number from {low} to {high}"),
            Self::From(Source::User) => write!(out, "stands in the user's own words"),
            Self::From(Source::Trusted) => write!(out, "is what the user has said or a trusted source vouches for"),
            Self::State(key) => write!(out, "is the value of `{key}` in the session's state"),
        }
    }
}
