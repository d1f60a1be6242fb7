//! The tables. A new crate, module or exception is a line here with its reason; a rule that needs code is a file beside this.

/// A crate of ours and which others of ours it may depend on, for tests too.
pub(crate) struct Crate {
    pub(crate) folder: &'static str,
    pub(crate) package: &'static str,
    pub(crate) may: &'static [&'static str],
}

/// Dependencies run one way: the rules know nobody, the shell knows everybody.
pub(crate) const CRATES: &[Crate] = &[
    Crate { folder: "crates/domain", package: "portcullis-domain", may: &[] },
    // The kit for its tests, which break rules at random.
    Crate { folder: "crates/cedar", package: "portcullis-cedar", may: &["portcullis-domain", "portcullis-testkit"] },
    Crate { folder: "crates/interop", package: "portcullis-interop", may: &["portcullis-domain"] },
    // Detectors are about text; they need to know nobody.
    Crate { folder: "crates/guard", package: "portcullis-guard", may: &[] },
    Crate {
        folder: "crates/testkit",
        package: "portcullis-testkit",
        may: &["portcullis-domain", "portcullis-interop"],
    },
    Crate {
        folder: "crates/gateway",
        package: "portcullis",
        may: &["portcullis-domain", "portcullis-cedar", "portcullis-interop", "portcullis-guard", "portcullis-testkit"],
    },
    // Measures the gateway from outside, as a stranger would.
    Crate { folder: "bench", package: "bench", may: &[] },
    Crate { folder: "xtask", package: "xtask", may: &[] },
];

/// The borders between the top modules of one crate. Its root (`lib.rs`) may speak of all of them.
pub(crate) struct Border {
    pub(crate) folder: &'static str,
    pub(crate) groups: &'static [Group],
    pub(crate) exceptions: &'static [Exception],
}

/// Modules that stand under the same rule.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) members: &'static [&'static str],
    /// Names of groups. A module's own group must be named too if its members may import one another.
    pub(crate) may: &'static [&'static str],
    /// What to do instead of importing what is not allowed.
    pub(crate) instead: &'static str,
}

/// One edge more than the groups allow.
pub(crate) struct Exception {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) reason: &'static str,
}

pub(crate) const BORDERS: &[Border] = &[DOMAIN, GATEWAY];

const DOMAIN: Border = Border {
    folder: "crates/domain",
    groups: &[
        Group {
            name: "a common word",
            members: &[
                "ids",
                "money",
                "time",
                "call",
                "refusal",
                "digest",
                "json",
                "authority",
                "scope",
                "grant",
                "value",
                "profile",
            ],
            may: &["a common word"],
            instead: "a common word knows nothing of what is said with it",
        },
        Group {
            name: "a pillar",
            members: &["identity", "session", "registry", "policy", "ledger", "journal", "rollout"],
            may: &["a common word"],
            instead: "the caller passes the fact",
        },
        Group {
            name: "a meeting place",
            members: &["event", "world", "admission"],
            may: &["a common word", "a pillar", "a meeting place"],
            instead: "",
        },
    ],
    exceptions: &[],
};

const GATEWAY: Border = Border {
    folder: "crates/gateway",
    groups: &[
        Group {
            name: "a common word",
            members: &[
                "clock",
                "entropy",
                "amount",
                "credential",
                "asking",
                "server",
                "reply",
                "repetition",
                "spoken",
                "turns",
                "stop",
                "doorway",
                "backoff",
                "jwk",
                "trust",
                "tls",
                "x509",
            ],
            may: &["a common word"],
            instead: "a common word knows nothing of what is said with it",
        },
        Group {
            name: "a folder of the shell",
            members: &[
                "doors",
                "upstreams",
                "journal",
                "identity",
                "registry",
                "policy",
                "guardrails",
                "ledger",
                "session",
                "rollout",
                "admin",
                "console",
                "telemetry",
                "evals",
                "demo",
            ],
            may: &["a common word"],
            instead: "folders of the shell meet in `life`, `timers` and `assemble`",
        },
        // Each table is declared beside its pillar; the configuration is the struct of them all.
        Group {
            name: "the configuration",
            members: &["config"],
            may: &["a common word", "a folder of the shell"],
            instead: "the configuration knows tables, not what is made of them",
        },
        Group {
            name: "a meeting place",
            members: &[
                "life",
                "snapshot",
                "observe",
                "listings",
                "conversation",
                "scratchpad",
                "granted",
                "heard",
                "hydration",
                "deliveries",
                "approvals",
                "cancels",
                "news",
                "rollback",
                "timers",
                "assemble",
                "cli",
            ],
            may: &["a common word", "a folder of the shell", "the configuration", "a meeting place"],
            instead: "",
        },
    ],
    exceptions: &[
        Exception { from: "doors", to: "life", reason: "every door hands its call to the one line it walks" },
        Exception { from: "doors", to: "snapshot", reason: "a door reads what is in force when the call comes in" },
        Exception { from: "doors", to: "conversation", reason: "a session's owner reads the conversation" },
        Exception { from: "doors", to: "granted", reason: "whoever acts in a session reads what it is granted" },
        Exception { from: "doors", to: "scratchpad", reason: "a session's owner reads what it remembers" },
        Exception { from: "doors", to: "rollback", reason: "an administrator orders rules of before" },
        Exception { from: "doors", to: "identity", reason: "keys are issued at the administrators' door" },
    ],
};

/// Only `assemble` and the module that defines it name a concrete store or connector; all others know its trait.
pub(crate) struct Concrete {
    pub(crate) name: &'static str,
    /// The top module of the gateway that defines it.
    pub(crate) home: &'static str,
}

pub(crate) const CONCRETE_FOLDER: &str = "crates/gateway";
pub(crate) const CONCRETE_USER: &str = "assemble";
pub(crate) const CONCRETE: &[Concrete] = &[
    Concrete { name: "SqliteEngine", home: "journal" },
    Concrete { name: "SqliteDisk", home: "journal" },
    Concrete { name: "PostgresEngine", home: "journal" },
    Concrete { name: "HttpToolServer", home: "upstreams" },
    Concrete { name: "StdioToolServer", home: "upstreams" },
];

/// The one module, as crate and top module, that reads the environment.
pub(crate) const ENVIRONMENT_READER: (&str, &str) = ("crates/gateway", "config");
/// Tools, and what tests are made with, may ask their surroundings: nobody has to explain them from a configuration file.
pub(crate) const ENVIRONMENT_FREE: &[&str] = &["bench", "xtask", "crates/testkit"];

/// A crate that nothing waits in and what it never names; `async` is forbidden in all of them.
pub(crate) struct Pure {
    pub(crate) folder: &'static str,
    pub(crate) never: &'static [&'static str],
    pub(crate) because: &'static str,
}

pub(crate) const PURE: &[Pure] = &[
    Pure {
        folder: "crates/domain",
        never: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "std::time::SystemTime",
            "std::time::Instant",
            "aws_lc_rs::rand",
            "tokio",
            "tracing",
        ],
        because: "the rules are pure: no clock, no chance, no socket, no disk; the caller passes the fact",
    },
    Pure {
        folder: "crates/interop",
        never: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "std::time::SystemTime",
            "std::time::Instant",
            "tokio",
            "tracing",
        ],
        because: "the languages turn bytes into calls and wait for nothing",
    },
    Pure {
        folder: "crates/guard",
        never: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "std::time::SystemTime",
            "std::time::Instant",
            "tokio",
            "tracing",
        ],
        because: "what is found depends on the text alone",
    },
    Pure {
        folder: "crates/cedar",
        never: &["std::fs", "std::net", "std::env", "std::process", "std::thread", "tokio", "tracing"],
        because: "a decision is computed from what is handed in",
    },
];

/// Beyond the first a note, beyond the second an error. Tests do not count.
pub(crate) const FILE_LINES: (usize, usize) = (500, 800);
pub(crate) const FUNCTION_LINES: (usize, usize) = (60, 120);

/// Names that say nothing about what is inside, so that everything ends up there.
pub(crate) const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

/// Macros that are never committed, in tests neither.
pub(crate) const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

// The two tables below are spelled in pieces, so that this file does not contain what it forbids.

/// A word that says the author meant to come back.
pub(crate) const UNFINISHED_MARK: &str = concat!("FIX", "ME");

/// Paths of one machine and hosts that only one network knows: they mean nothing to a reader.
pub(crate) const FOREIGN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
    concat!("files.", "pythonhosted"),
    concat!("registry.", "npmjs"),
    concat!("deb.", "debian.org"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_name_only_what_they_define() {
        for known in CRATES {
            for other in known.may {
                assert!(CRATES.iter().any(|known| known.package == *other), "{other} is no crate of ours");
            }
        }
        for border in BORDERS {
            for name in border.groups.iter().flat_map(|group| group.may) {
                assert!(border.groups.iter().any(|group| group.name == *name), "{name} is no group");
            }
            for name in border.exceptions.iter().flat_map(|exception| [exception.from, exception.to]) {
                assert!(border.groups.iter().any(|group| group.members.contains(&name)), "{name} is in no group");
            }
        }
    }

    #[test]
    fn every_module_is_in_one_group() {
        for border in BORDERS {
            let mut members: Vec<&str> = border.groups.iter().flat_map(|group| group.members).copied().collect();
            let all = members.len();
            members.sort_unstable();
            members.dedup();
            assert_eq!(members.len(), all, "in {}", border.folder);
        }
    }
}
