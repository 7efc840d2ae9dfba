//! The record of an imported key: made only from what the operator says it has signed.

use std::path::PathBuf;

use clap::Args;

use crate::{
    chain,
    commands::{Failure, note, state, yubihsm::connect::Opened},
    config::{ChainKey, ConsensusKey},
    crypto::PublicKey,
    privval::ChainId,
    protection::{
        Record,
        store::file::{self, RecordPath, Whose},
        unix_now,
    },
};

/// Of a key that is not in the device yet and brings its own ID: no object has this one.
pub(super) const NO_ID: u16 = 0;

/// What an imported key has signed.
#[derive(Args, Debug)]
pub(super) struct NewRecord {
    /// The chain whose record is made [default: the one that the configuration names for this key]
    #[arg(long, value_name = "ID")]
    chain: Option<String>,

    /// Make the chain's record from this state file: of any tmkms, or CometBFT's priv_validator_state.json
    #[arg(long, value_name = "FILE", conflicts_with = "height")]
    state_file: Option<PathBuf>,

    /// Make the chain's record so that nothing at or below this height is ever signed
    #[arg(long, value_name = "H", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
    height: Option<i64>,
}

/// From where the floor comes.
enum Source<'a> {
    File(&'a PathBuf),
    Height(i64),
    /// The operator named none.
    Nothing,
}

/// A record that will be made once the key is in the device, or the reason why none is.
pub(super) struct Making<'a> {
    chain: Option<Place>,
    source: Source<'a>,
}

/// A chain, and where the record of the imported key is looked for.
struct Place {
    id: ChainId,
    record: RecordPath,
}

impl Place {
    fn new(hsm: &Opened, chain: &chain::Config, id: u16) -> Self {
        let mut keys = hsm.config().consensus_keys(chain);
        let is_it = |key: &ChainKey<'_>| match key.key {
            ConsensusKey::YubiHsm { index, key, .. } => index == hsm.index() && key.key == id,
            ConsensusKey::Softsign(_) | ConsensusKey::Ledger { .. } => false,
        };
        let record = match keys.iter().position(is_it) {
            Some(place) => keys.swap_remove(place).record,
            // A key that the configuration does not name yet, beside those that it names.
            None => RecordPath {
                state_file: chain.state_file.clone(),
                whose: if keys.is_empty() {
                    Whose::First
                } else {
                    Whose::Later
                },
                one_of_several: !keys.is_empty(),
            },
        };
        Self {
            id: chain.id.clone(),
            record,
        }
    }
}

impl NewRecord {
    /// Looks at everything that can be wrong before the key is imported.
    pub(super) fn resolve(&self, hsm: &Opened, id: u16) -> Result<Making<'_>, Failure> {
        let source = match (&self.state_file, self.height) {
            (Some(file), _) => Source::File(file),
            (None, Some(height)) => Source::Height(height),
            (None, None) => Source::Nothing,
        };
        let named = self.chain.clone().or_else(|| hsm.only_chain_of(id));
        let chain = match &named {
            Some(name) => {
                let chain = state::find_chain(hsm.config(), name)?;
                Some(Place::new(hsm, chain, id))
            }
            None => None,
        };
        match (&source, &chain) {
            (Source::Nothing, Some(_)) if self.chain.is_some() => Err(Failure::usage(
                "--chain needs --state-file or --height",
            )
            .hint("a record is made only from what the key has signed; --height H forbids everything up to H")),
            (Source::File(_) | Source::Height(_), None) => Err(Failure::usage(match id {
                NO_ID => "which chain? the configuration names none for the key of the backup".into(),
                id => format!(
                    "which chain? the configuration names none, or several, for key 0x{id:04x}"
                ),
            })
            .hint("--chain ID")),
            (Source::File(file), Some(_)) => match file.metadata() {
                Ok(_) => Ok(Making { chain, source }),
                Err(error) => Err(Failure::new(format!("cannot read {}", file.display()))
                    .cause(error.to_string())
                    .hint("nothing was imported")),
            },
            _ => Ok(Making { chain, source }),
        }
    }
}

impl Making<'_> {
    /// Makes the record, or says that there is none. `key`: as records have it.
    pub(super) fn finish(self, key: Option<&PublicKey>) -> Result<(), Failure> {
        let Some(Place { id, record }) = self.chain else {
            note(
                "no record was made: this key may have signed; once the configuration names its chain: `tmkms state import CHAIN FILE`, or `tmkms state init CHAIN --height H`",
            );
            return Ok(());
        };
        if matches!(self.source, Source::Nothing) {
            let found = key.and_then(|key| record.find(key).ok());
            note(
                &match found.filter(|path| path.symlink_metadata().is_ok()) {
                    Some(path) => format!("the record {} stays as it is", path.display()),
                    None => format!(
                        "no record was made: this key may have signed; `tmkms state import {id} FILE`, or `tmkms state init {id} --height H`"
                    ),
                },
            );
            return Ok(());
        }
        let key = key.ok_or_else(|| {
            Failure::new(
                "the key is in the device, and this version makes no record for its algorithm",
            )
        })?;
        let (path, id) = (record.find(key)?, &id);
        let (path, exists) = (path.as_path(), path.symlink_metadata().is_ok());
        let change = match self.source {
            Source::File(source) => file::import(path, id, key, source),
            Source::Height(height) if exists => {
                let floor = Record::floor_at_height(height, unix_now());
                file::raise(path, id, Some(key), &floor)
            }
            Source::Height(height) => {
                let floor = Record::floor_at_height(height, unix_now());
                file::create(path, id, key, &floor).map(|()| file::Change {
                    before: None,
                    after: floor,
                    notes: Vec::new(),
                })
            }
            Source::Nothing => return Ok(()),
        };
        let change = change.map_err(|error| {
            Failure::from(error).and(Failure::new(
                "the key is in the device, and its chain has no record that fits it",
            ))
        })?;
        state::tell(id, &change)
    }
}
