//! Which of a chain's keys its nodes mean.

use crate::{
    keyring::{Key, key_name::KeyName, providers::ProviderError},
    kms::opening::Error,
    protection::store::file::RecordPath,
};

/// Where a key comes from.
pub(super) enum KeySource {
    /// It is here.
    Open(Key),
    /// It is in a device.
    Device(AskDevice),
}

/// One try for a key in a device. A call comes back soon, and tells a device that may come later from one that never will do.
pub(super) type AskDevice = Box<dyn FnMut() -> Result<Key, ProviderError> + Send>;

/// A key and the place of its record.
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) record: RecordPath,
}

/// The key that is meant, among those that a chain has.
pub(super) enum Choice {
    /// It is here.
    Made(Found),
    /// It can only be in one of these devices.
    Open(Candidates),
}

/// The devices in which the key that is meant may be.
pub(super) struct Candidates {
    pub(super) devices: Vec<(AskDevice, RecordPath)>,
    /// What the nodes call it; all of it must be true.
    pub(super) names: Vec<KeyName>,
    /// What is wrong with a key that was not opened; it may be the one.
    pub(super) failed: Option<Error>,
}

impl Candidates {
    /// One try. Of a device that has another key no second one is made.
    pub(super) fn ask(&mut self) -> Result<Found, Error> {
        let mut later = None;
        let mut rest = Vec::new();
        for (mut ask, record) in self.devices.drain(..) {
            match ask() {
                Ok(key) if is_named(&key, &self.names) => return Ok(Found { key, record }),
                Ok(_) => {}
                Err(error) if error.is_transient() => {
                    later = later.or(Some(error));
                    rest.push((ask, record));
                }
                Err(error) => self.failed = self.failed.take().or(Some(error.into())),
            }
        }
        self.devices = rest;
        Err(match later {
            Some(error) => error.into(),
            None => self.why_none(),
        })
    }

    /// Why the key is in none of them.
    pub(super) fn why_none(&mut self) -> Error {
        let failed = self.failed.take();
        failed.unwrap_or_else(|| not_there(&self.names))
    }
}

/// Whether a key is the one that is meant. Where nobody says it, each is.
pub(super) fn is_named(key: &Key, names: &[KeyName]) -> bool {
    let key = key.signer.public_key();
    names.iter().all(|name| name.names(key))
}

fn not_there(names: &[KeyName]) -> Error {
    let names: Vec<String> = names.iter().map(KeyName::to_string).collect();
    Error::NoSuchKey {
        names: names.join(", "),
    }
}
