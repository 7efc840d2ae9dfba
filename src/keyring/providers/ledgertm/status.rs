//! Status words: the last two bytes of every reply.

use std::fmt;

/// The status word of a reply, as the app or the device's firmware gave it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub struct StatusWord(pub u16);

impl StatusWord {
    /// Done.
    pub const OK: Self = Self(0x9000);
    /// The app failed while it did what was asked.
    pub const EXECUTION: Self = Self(0x6400);
    /// A length that the command cannot have.
    pub const WRONG_LENGTH: Self = Self(0x6700);
    /// Nothing to sign.
    pub const EMPTY_BUFFER: Self = Self(0x6982);
    /// The reply does not fit.
    pub const OUTPUT_TOO_SMALL: Self = Self(0x6983);
    /// The app cannot read the vote; its parser's code, one byte, comes before.
    pub const DATA_INVALID: Self = Self(0x6984);
    /// The app's own height and round rule.
    pub const CONDITIONS: Self = Self(0x6985);
    /// A person refused.
    pub const NOT_ALLOWED: Self = Self(0x6986);
    /// An instruction that the app does not have.
    pub const UNKNOWN_INSTRUCTION: Self = Self(0x6d00);
    /// A class that the app does not have: it is another app.
    pub const UNKNOWN_CLASS: Self = Self(0x6e00);
    /// The app does not know what went wrong.
    pub const UNKNOWN: Self = Self(0x6f00);

    /// What it is called; `None` for a number that is not the app's, but the firmware's own.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::OK => "ok",
            Self::EXECUTION => "execution error",
            Self::WRONG_LENGTH => "wrong length",
            Self::EMPTY_BUFFER => "empty buffer",
            Self::OUTPUT_TOO_SMALL => "output buffer too small",
            Self::DATA_INVALID => "data invalid",
            Self::CONDITIONS => "conditions not satisfied",
            Self::NOT_ALLOWED => "command not allowed",
            Self::UNKNOWN_INSTRUCTION => "unknown instruction",
            Self::UNKNOWN_CLASS => "unknown class",
            Self::UNKNOWN => "unknown error",
            _ => return None,
        })
    }

    /// What it means here.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::OK => "the device did what was asked",
            Self::EXECUTION => "the app failed while it did what was asked",
            Self::WRONG_LENGTH => "the app takes no message of this length",
            Self::EMPTY_BUFFER => "the app was given nothing to sign",
            Self::OUTPUT_TOO_SMALL => "the app has no room for its answer",
            Self::DATA_INVALID => "the app cannot read this vote or proposal",
            Self::CONDITIONS => "the app has signed this height, round and step, or a later one",
            Self::NOT_ALLOWED => "a person refused it on the device",
            Self::UNKNOWN_INSTRUCTION => "the app does not know this instruction",
            Self::UNKNOWN_CLASS => "another app is open",
            Self::UNKNOWN => "the app does not know what went wrong",
            _ => "the device is most likely locked; the code is its firmware's and not the app's",
        }
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::OK => return None,
            Self::EXECUTION | Self::OUTPUT_TOO_SMALL | Self::UNKNOWN => {
                "close the app on the device, open it again and confirm the first vote"
            }
            Self::WRONG_LENGTH | Self::EMPTY_BUFFER | Self::DATA_INVALID => {
                "`tmkms ledger show` tells the app's version; docs/ledger.md has the app's limits"
            }
            Self::CONDITIONS => {
                "the next height or round is signed again; where the device is ahead of the chain, close the app and open it again"
            }
            Self::NOT_ALLOWED => "the next vote asks again; confirm it on the device",
            Self::UNKNOWN_INSTRUCTION | Self::UNKNOWN_CLASS => {
                "open the app \"Tendermint Validator\" on the device"
            }
            _ => "unlock the device and open the app \"Tendermint Validator\"",
        })
    }

    /// Whether the app looked at the message and will not sign it, however often it is asked. Everything else passes when
    /// a person unlocks the device or opens the app.
    #[must_use]
    pub fn is_about_the_message(self) -> bool {
        matches!(
            self,
            Self::EXECUTION
                | Self::WRONG_LENGTH
                | Self::EMPTY_BUFFER
                | Self::OUTPUT_TOO_SMALL
                | Self::DATA_INVALID
                | Self::CONDITIONS
                | Self::NOT_ALLOWED
                | Self::UNKNOWN
        )
    }
}

impl fmt::Display for StatusWord {
    /// `status 0x6985, conditions not satisfied`; a number alone where it has no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status 0x{:04x}", self.0)?;
        match self.name() {
            Some(name) => write!(f, ", {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_word_of_the_app_has_a_name_and_a_hint() {
        for code in [
            0x6400, 0x6700, 0x6982, 0x6983, 0x6984, 0x6985, 0x6986, 0x6d00, 0x6e00, 0x6f00,
        ] {
            let word = StatusWord(code);
            assert!(word.name().is_some(), "{word}");
            assert!(word.hint().is_some(), "{word}");
            assert!(!word.meaning().contains("firmware"), "{word}");
        }
        assert_eq!(StatusWord::OK.hint(), None);
    }

    #[test]
    fn a_code_of_the_firmware_is_told_as_its_number() {
        for code in [0x5515, 0x6804, 0x6b0c] {
            let word = StatusWord(code);
            assert_eq!(word.to_string(), format!("status 0x{code:04x}"));
            assert!(word.hint().is_some_and(|hint| hint.contains("unlock")));
            assert!(!word.is_about_the_message());
        }
    }
}
