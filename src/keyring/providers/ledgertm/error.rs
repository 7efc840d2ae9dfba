//! Why a Ledger did not do what it was asked.

use std::sync::Arc;

use crate::{
    connection::ConnectionError,
    keyring::providers::{
        ProviderError,
        ledgertm::{NAME, packets::BadPacket, status::StatusWord},
    },
};

/// What is being done while the app looks at a message.
pub(super) const SIGNING: &str = "signing";

/// Why a Ledger did not do what it was asked. Clones share what the system said.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The system's HID devices cannot be listed.
    #[error("the HID devices of this machine cannot be listed: {reason}")]
    Listing {
        /// What the system said.
        reason: String,
    },
    /// No Ledger is plugged in, or none with that serial number or path.
    #[error("no Ledger was found ({wanted})")]
    NotFound {
        /// What was looked for, as in the configuration.
        wanted: String,
    },
    /// Several, and nothing says which.
    #[error("{} Ledgers are plugged in and nothing says which is meant: {}", found.len(), found.join("; "))]
    Several {
        /// Each as `ledger detect` shows it.
        found: Vec<String>,
    },
    /// It is there, but the system does not let this process use it.
    #[error("the Ledger at {path} cannot be opened: {reason}")]
    Open {
        /// The device's path.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// Another tmkms talks to it.
    #[error("the Ledger at {path} is used by another tmkms")]
    InUse {
        /// The device's path.
        path: String,
    },
    /// The emulator cannot be reached, or hung up.
    #[error("the emulator does not answer: {}", crate::event::in_one_line(.0.as_ref()))]
    Emulator(Arc<ConnectionError>),
    /// It was pulled, or its app was closed or opened, which looks the same.
    #[error("the Ledger has gone: {reason}")]
    Gone {
        /// What the system said.
        reason: String,
    },
    /// No answer in time.
    #[error("the Ledger did not answer within {seconds} s")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
    },
    /// What came back is no answer.
    #[error("the Ledger sent what is no answer: {what}")]
    Garbled {
        /// What is wrong with it.
        what: String,
    },
    /// The app or the firmware refused. A parser's code comes with "data invalid".
    #[error("{doing} failed: {} ({status}{})", status.meaning(), parser_code(*parser))]
    Status {
        /// What was being done.
        doing: &'static str,
        /// The status word.
        status: StatusWord,
        /// The app's parser code.
        parser: Option<u8>,
    },
    /// Not the app that signs votes.
    #[error("the open app is {name} and not \"Tendermint Validator\" ({status})")]
    OtherApp {
        /// What the firmware calls it, and its version.
        name: String,
        /// What it answered to the app's own command.
        status: StatusWord,
    },
    /// Another device, or the same one with another phrase, since this process started.
    #[error("the Ledger now holds another key than when it was first opened")]
    OtherKey,
    /// The device's signature does not verify.
    #[error("the Ledger made a signature that does not verify")]
    BadSignature,
    /// A fault of tmkms; the device is opened again.
    #[error("internal crash: {said}")]
    Crashed {
        /// What the panic said.
        said: String,
    },
    /// This process is stopping.
    #[error("shutting down")]
    Stopping,
}

impl LedgerError {
    /// What the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Listing { .. } => {
                "tmkms needs /sys and /dev: in a container or a sandbox pass them on"
            }
            Self::NotFound { .. } => {
                "plug it in and unlock it; `tmkms ledger detect` lists what this machine sees"
            }
            Self::Several { .. } => {
                "name one: `path = \"/dev/hidraw0\"` (or `serial`) in [[providers.ledgertm]], `--path` for a command"
            }
            Self::Open { .. } => {
                "let tmkms use it: install contrib/udev/60-tmkms-ledger.rules and plug the device in again"
            }
            Self::InUse { .. } => "stop the other tmkms first: one process talks to a Ledger",
            Self::Emulator(_) => {
                "start the emulator, or correct `adapter` in [[providers.ledgertm]]"
            }
            Self::Gone { .. } => "plug it in, unlock it and open the app \"Tendermint Validator\"",
            Self::Silent { .. } => "look at the device's screen; pull it and plug it in again",
            Self::Garbled { .. } => "pull the device and plug it in again",
            Self::Status { doing, status, .. }
                if *doing != SIGNING && status.is_about_the_message() =>
            {
                "unlock the device; close the app \"Tendermint Validator\" on it and open it again"
            }
            Self::Status { status, .. } => return status.hint().map(Into::into),
            Self::OtherApp { .. } => "open the app \"Tendermint Validator\" on the device",
            Self::OtherKey => {
                "plug in the device with the chain's key, or restart tmkms to use this one"
            }
            Self::BadSignature => "do not use this device any more",
            Self::Crashed { .. } | Self::Stopping => return None,
        };
        Some(hint.into())
    }

    /// Whether it passes by itself or by a person's hand on the device, without a new configuration.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Several { .. } | Self::BadSignature => false,
            // Where nothing is signed, there is no message that it could be about.
            Self::Status { doing, status, .. } => {
                *doing != SIGNING || !status.is_about_the_message()
            }
            _ => true,
        }
    }

    /// As the keyring tells it, of the device that the configuration names so.
    #[must_use]
    pub fn into_provider_error(self, device: &str) -> ProviderError {
        let device = format!("{NAME} {device}");
        let (reason, hint) = (self.to_string(), self.hint());
        ProviderError::of_device(device, reason, hint, self.is_transient())
    }
}

fn parser_code(parser: Option<u8>) -> String {
    parser.map_or_else(String::new, |code| format!(", parser code {code}"))
}

impl From<BadPacket> for LedgerError {
    fn from(error: BadPacket) -> Self {
        Self::Garbled {
            what: error.to_string(),
        }
    }
}

impl From<ConnectionError> for LedgerError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Shutdown => Self::Stopping,
            ConnectionError::Idle { limit } => Self::Silent {
                seconds: limit.as_secs(),
            },
            error => Self::Emulator(Arc::new(error)),
        }
    }
}
