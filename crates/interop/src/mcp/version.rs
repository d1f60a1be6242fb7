//! The versions of the protocol, and which one is spoken with whom.

/// The number of the error that a request speaks a version that is not served.
pub(super) const UNSUPPORTED: i64 = -32022;

/// The two ways in which the protocol works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// A connection begins with `initialize`.
    Legacy,
    /// Each request stands for itself.
    Modern,
}

/// A version that Portcullis speaks, on both faces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// The first one; its own transport is not served, but its messages are the same.
    V2024_11_05,
    /// Brought the transport over one HTTP endpoint. Meant where a request names no version.
    V2025_03_26,
    /// Brought structured results.
    V2025_06_18,
    /// The last legacy one.
    V2025_11_25,
    /// The modern one.
    V2026_07_28,
}

impl Version {
    /// All versions, the newest first.
    pub const ALL: [Self; 5] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];
    /// The newest version.
    pub const MODERN: Self = Self::V2026_07_28;
    /// The newest version that begins with `initialize`.
    pub const NEWEST_LEGACY: Self = Self::V2025_11_25;
    /// What a legacy request without a version header speaks.
    pub const UNSTATED: Self = Self::V2025_03_26;

    /// The version as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The version that is written so, if it is spoken here.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// The way in which it works.
    #[must_use]
    pub fn era(self) -> Era {
        if self == Self::MODERN { Era::Modern } else { Era::Legacy }
    }

    /// What `initialize` is answered when a client asks for `requested`: the same if it is a legacy version, or the newest of them.
    #[must_use]
    pub fn negotiated(requested: &str) -> Self {
        Self::read(requested).filter(|version| version.era() == Era::Legacy).unwrap_or(Self::NEWEST_LEGACY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialize_never_leads_to_the_modern_era() {
        for (requested, version) in [
            ("2025-11-25", Version::V2025_11_25),
            ("2025-03-26", Version::V2025_03_26),
            ("2024-11-05", Version::V2024_11_05),
            ("2026-07-28", Version::V2025_11_25),
            ("2099-01-01", Version::V2025_11_25),
            ("", Version::V2025_11_25),
        ] {
            assert_eq!(Version::negotiated(requested), version, "{requested}");
        }
        for version in Version::ALL {
            assert_eq!(Version::read(version.as_str()), Some(version));
        }
    }
}
