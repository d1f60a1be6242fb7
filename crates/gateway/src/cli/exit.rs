//! Exit codes, as in `sysexits.h` where it has one. They are documented in the help and stable.

use std::process::ExitCode;

use crate::cli::print::error_line;

/// Something was asked that is not so: a problem was found, a refusal came, the record is broken.
const NEGATIVE: u8 = 1;
/// The gateway can't be reached.
const UNAVAILABLE: u8 = 69;
/// A fault of the gateway itself.
const SOFTWARE: u8 = 70;
/// Reading or writing failed.
const IO: u8 = 74;
/// The configuration is wrong.
const CONFIG: u8 = 78;

/// Why a command does not end well.
#[derive(Debug)]
pub struct Exit {
    code: u8,
    message: String,
}

impl Exit {
    /// What was asked is not so.
    pub fn negative(message: impl Into<String>) -> Self {
        Self { code: NEGATIVE, message: message.into() }
    }

    /// The gateway can't be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: UNAVAILABLE, message: message.into() }
    }

    /// A fault of the gateway or of the system.
    pub fn system(message: impl Into<String>) -> Self {
        Self { code: SOFTWARE, message: message.into() }
    }

    /// Reading or writing failed.
    pub fn io(message: impl Into<String>) -> Self {
        Self { code: IO, message: message.into() }
    }

    /// The configuration is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self { code: CONFIG, message: message.into() }
    }

    /// Says what went wrong and gives the code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            error_line(&format!("portcullis: {}", self.message));
        }
        ExitCode::from(self.code)
    }
}

impl From<crate::journal::StoreFault> for Exit {
    fn from(fault: crate::journal::StoreFault) -> Self {
        Self::io(fault.to_string())
    }
}
