//! A device from nothing: what `tmkms yubihsm setup` makes of it.

mod derive;
mod provision;
mod report;
mod roles;

pub use self::{
    derive::{Phrase, PhraseError, WORDS, WRAP_KEY_LEN},
    provision::{
        Left, NEW_DEVICE_KEY, NEW_DEVICE_PASSWORD, Open, PRIMARY_WRAP_KEY, Progress, Provision,
        REPORT_OBJECT, SECOND_WRAP_KEY, SetupError, TEMPORARY_KEY, WrapKey, login, new_device,
        temporary,
    },
    report::Report,
    roles::Role,
};
