//! How a chore, or one step of it, ends.

pub(crate) enum Verdict {
    /// With what was found or done.
    Passed(String),
    /// Not done, and why that is no failure here.
    Skipped(String),
    /// What went wrong.
    Failed(String),
}

impl Verdict {
    /// What could not be had: somebody at a terminal may go on without it, a machine may not.
    pub(crate) fn missing(ci: bool, what: String) -> Self {
        if ci { Self::Failed(what) } else { Self::Skipped(what) }
    }

    pub(crate) fn failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Passed(message) | Self::Skipped(message) | Self::Failed(message) => message,
        }
    }

    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "passed",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "FAILED",
        }
    }
}
