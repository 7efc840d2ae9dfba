//! Which record is meant: a chain has one for each of its keys.

use std::path::{Path, PathBuf};

use crate::{
    chain,
    commands::{Failure, consensus_key},
    config::{ChainKey, Config},
    crypto::PublicKey,
    keyring::key_name::KeyName,
    protection::store::file::{self, RecordPath, Whose},
};

/// A chain of the configuration, and one of its keys.
pub(super) struct Target<'a> {
    pub(super) chain: &'a chain::Config,
    keys: Vec<ChainKey<'a>>,
    name: Option<&'a KeyName>,
}

impl<'a> Target<'a> {
    /// The chain that was typed, and its only key or the one that was typed.
    pub(super) fn find(
        config: &'a Config,
        id: &str,
        name: Option<&'a KeyName>,
    ) -> Result<Self, Failure> {
        let chain = find_chain(config, id)?;
        let keys = config.consensus_keys(chain);
        if keys.len() > 1 && name.is_none() {
            let what = format!("chain {id} has {} keys, and each has a record", keys.len());
            return Err(Failure::usage(what).hint(
                "say which is meant: --key, with the public key or its address; `tmkms check` prints the keys",
            ));
        }
        Ok(Self { chain, keys, name })
    }

    /// Opens the key, only to see which one it is, and gives it with the place of its record.
    pub(super) fn key_and_record(&self) -> Result<Found, Failure> {
        let id = &self.chain.id;
        if self.keys.is_empty() {
            let what = format!("chain {id} has no consensus key that this version opens");
            return Err(Failure::new(what).hint(
                "a record belongs to a key: name the key in a [[providers.…]] section first",
            ));
        }
        let mut failed = None;
        for ChainKey { key, record } in &self.keys {
            match consensus_key::public_key(*key) {
                Ok(key) if self.name.is_none_or(|name| name.names(&key)) => {
                    let path = record
                        .find(&key)
                        .map_err(|error| record.told(error, id, &key))?;
                    let typed = record.as_typed(id, &key);
                    return Ok(Found { key, path, typed });
                }
                Ok(_) => {}
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        Err(failed.unwrap_or_else(|| {
            let name = self.name.map(KeyName::to_string).unwrap_or_default();
            Failure::new(format!("chain {id} has no key {name}"))
                .hint("`tmkms check` prints the keys")
        }))
    }

    /// A record of this key in another place than its own, where the configuration once named that.
    pub(super) fn another_record(&self, found: &Found) -> Option<PathBuf> {
        let mut all = all_of(self.chain, &self.keys);
        all.extend(of_chain(self.chain).all());
        all.into_iter()
            .find(|path| *path != found.path && owner(path).as_ref() == Some(&found.key))
    }

    /// The place of the record, where the records themselves tell.
    pub(super) fn told_by_records(&self) -> Option<PathBuf> {
        let mut records = all_of(self.chain, &self.keys);
        if let Some(name) = self.name {
            records.retain(|path| owner(path).is_some_and(|owner| name.names(&owner)));
        }
        match records.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// The place of the record. The key is opened only where the records do not tell.
    pub(super) fn record(&self) -> Result<PathBuf, Failure> {
        match self.told_by_records() {
            Some(path) => Ok(path),
            None => Ok(self.key_and_record()?.path),
        }
    }
}

/// A key, and its record.
pub(super) struct Found {
    pub(super) key: PublicKey,
    pub(super) path: PathBuf,
    /// What names the record in a command.
    pub(super) typed: String,
}

/// The chain that was typed.
pub(in crate::commands) fn find_chain<'a>(
    config: &'a Config,
    id: &str,
) -> Result<&'a chain::Config, Failure> {
    let mut chains = config.chains.iter();
    chains
        .find(|chain| chain.id.as_str() == id)
        .ok_or_else(|| unknown_chain(config, id))
}

/// Every record of a chain that there is, or the place where the first one would be.
pub(super) fn records(config: &Config, chain: &chain::Config) -> Vec<PathBuf> {
    all_of(chain, &config.consensus_keys(chain))
}

/// The process that serves one of a chain's keys.
pub(in crate::commands) fn holder(config: &Config, chain: &chain::Config) -> Option<u32> {
    let records = records(config, chain);
    let mut records = records.iter();
    records.find_map(|path| file::inspect(path).ok()?.holder)
}

/// Whose record a file is, where it tells.
fn owner(path: &Path) -> Option<PublicKey> {
    file::inspect(path).ok()?.key
}

fn all_of(chain: &chain::Config, keys: &[ChainKey<'_>]) -> Vec<PathBuf> {
    if keys.is_empty() {
        return of_chain(chain).all();
    }
    let mut all: Vec<PathBuf> = Vec::new();
    for path in keys.iter().flat_map(|key| key.record.all()) {
        if !all.contains(&path) {
            all.push(path);
        }
    }
    all
}

/// Where the record of a chain's only key is.
fn of_chain(chain: &chain::Config) -> RecordPath {
    RecordPath {
        state_file: chain.state_file.clone(),
        whose: Whose::First,
        one_of_several: false,
    }
}

fn unknown_chain(config: &Config, id: &str) -> Failure {
    let known: Vec<&str> = config
        .chains
        .iter()
        .map(|chain| chain.id.as_str())
        .collect();
    let path = config.path.display();
    let failure = Failure::new(format!("there is no chain {id:?} in {path}"));
    if known.is_empty() {
        failure.hint("it has no chain at all: add a [[chain]] section")
    } else {
        failure.hint(format!("its chains are {}", known.join(", ")))
    }
}
