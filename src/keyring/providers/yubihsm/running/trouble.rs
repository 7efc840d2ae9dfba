//! Why a device does not do what it is asked, in a form that everybody who waits for it can have a copy of.

use std::fmt;

use crate::{
    event,
    keyring::{SignerError, providers::ProviderError},
};

use super::super::{error::DeviceError, inspection::KeyProblem};

/// A reason, its remedy, and whether it may pass.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) hint: Option<String>,
    /// It may pass without anybody changing the configuration or the device's objects.
    pub(super) transient: bool,
}

impl Trouble {
    /// One that passes by itself.
    pub(super) fn passing(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            hint: None,
            transient: true,
        }
    }

    /// As the keyring tells it, of the device that messages name so.
    pub(super) fn into_provider_error(self, device: &str) -> ProviderError {
        ProviderError::of_device(device.to_owned(), self.reason, self.hint, self.transient)
    }
}

impl From<&DeviceError> for Trouble {
    fn from(error: &DeviceError) -> Self {
        Self {
            reason: event::in_one_line(error),
            hint: error.hint(),
            transient: error.is_transient(),
        }
    }
}

impl From<&KeyProblem> for Trouble {
    fn from(problem: &KeyProblem) -> Self {
        Self {
            reason: event::in_one_line(problem),
            hint: problem.hint(),
            transient: problem.is_transient(),
        }
    }
}

impl From<Trouble> for SignerError {
    fn from(trouble: Trouble) -> Self {
        let reason = trouble.to_string();
        if trouble.transient {
            Self::Transient { reason }
        } else {
            Self::Final { reason }
        }
    }
}

/// Reason and hint in one line.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}
