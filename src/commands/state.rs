//! `tmkms state`: the operator's hands on the records of what was signed. Nothing here lowers a floor.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    commands::{Failure, Global, note, output},
    config::Config,
    keyring::key_name::KeyName,
    privval::{ChainId, Hrs, Step},
    protection::{
        Record, convert,
        store::file::{self, Change, Problem},
        unix_now,
    },
};

mod show;
mod target;

use self::target::{Found, Target};
pub(super) use self::target::{find_chain, holder};

/// Show and raise the records of what was signed
#[derive(Debug, Subcommand)]
pub(super) enum State {
    /// Make the record of a chain's key
    ///
    /// Without --height for a key that has never signed; with it, nothing at or below that height is ever signed. Refuses when there
    /// is a record already.
    Init {
        /// The chain's ID
        chain: String,

        #[command(flatten)]
        floor: OptionalFloor,

        /// Which of the chain's keys: a public key or its address [default: the only one]
        #[arg(long, value_name = "KEY")]
        key: Option<KeyName>,
    },
    /// Show what was signed last
    ///
    /// Also while `tmkms start` runs.
    Show {
        /// The chain's ID [default: every chain of the configuration]
        chain: Option<String>,

        /// Only the record of this key: a public key or its address
        #[arg(long, value_name = "KEY")]
        key: Option<KeyName>,

        /// One JSON object a line for each record
        #[arg(long)]
        json: bool,
    },
    /// Forbid everything at or below a height
    ///
    /// Refused while `tmkms start` holds the record. A record that is higher already stays as it is. There is no way back.
    Raise {
        /// The chain's ID
        chain: String,

        #[command(flatten)]
        floor: Floor,

        /// Which of the chain's keys: a public key or its address [default: the only one]
        #[arg(long, value_name = "KEY")]
        key: Option<KeyName>,
    },
    /// Take over what another signer's state file says
    ///
    /// Reads state files of every tmkms, CometBFT's priv_validator_state.json, the old priv_validator.json, and records of this
    /// version, copies among them. Makes the record where there is none; a record that is higher already stays as it is.
    Import {
        /// The chain's ID
        chain: String,

        /// Which of the chain's keys: a public key or its address [default: the only one]
        #[arg(long, value_name = "KEY")]
        key: Option<KeyName>,

        /// The file to read; it is not changed
        file: PathBuf,
    },
    /// Print the record as another signer's state file
    Export {
        /// The chain's ID
        chain: String,

        /// Which of the chain's keys: a public key or its address [default: the only one]
        #[arg(long, value_name = "KEY")]
        key: Option<KeyName>,

        /// Whose state file
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        format: Format,
    },
}

/// A floor that must be given.
#[derive(Args, Debug)]
pub(super) struct Floor {
    /// The highest height that must not be signed any more
    #[arg(long, value_name = "H", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
    height: i64,

    #[command(flatten)]
    within: Within,
}

/// A floor that may be given.
#[derive(Args, Debug)]
pub(super) struct OptionalFloor {
    /// The highest height that must not be signed any more
    #[arg(long, value_name = "H", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(1..))]
    height: Option<i64>,

    #[command(flatten)]
    within: Within,
}

/// How far within the height.
#[derive(Args, Debug)]
struct Within {
    /// Forbid no more than this round of that height [default: every round]
    #[arg(
        long,
        value_name = "R",
        allow_negative_numbers = true,
        requires = "height",
        value_parser = clap::value_parser!(i64).range(0..=i64::from(i32::MAX))
    )]
    round: Option<i64>,

    /// Forbid no more than this step of that round, by name or 0, 1, 2 [default: every step]
    #[arg(long, value_name = "S", value_enum, requires = "round")]
    step: Option<StepName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StepName {
    #[value(alias = "0")]
    Proposal,
    #[value(alias = "1")]
    Prevote,
    #[value(alias = "2")]
    Precommit,
}

/// Whose state file to write.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    /// The state file of tmkms 0.7 to 0.15
    #[default]
    Tmkms,
    /// CometBFT's priv_validator_state.json
    Cometbft,
}

impl State {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let config = Config::load(&global.config_file()?)?;
        match self {
            Self::Show { chain, key, json } => {
                show::run(&config, chain.as_deref(), key.as_ref(), *json)
            }
            Self::Init { chain, key, floor } => {
                init(&Target::find(&config, chain, key.as_ref())?, floor)
            }
            Self::Raise { chain, key, floor } => {
                raise(&Target::find(&config, chain, key.as_ref())?, floor)
            }
            Self::Import { chain, key, file } => {
                import(&Target::find(&config, chain, key.as_ref())?, file)
            }
            Self::Export { chain, key, format } => {
                export(&Target::find(&config, chain, key.as_ref())?, *format)
            }
        }
    }
}

fn init(target: &Target<'_>, floor: &OptionalFloor) -> Result<(), Failure> {
    let found = target.key_and_record()?;
    let record = match floor.height {
        Some(height) => floor.within.floor(height),
        None => Record::never_signed(),
    };
    if let (None, Some(other)) = (floor.height, target.another_record(&found)) {
        // "Never signed" is not true of it.
        let (place, other) = (found.path.display(), other.display());
        let typed = &found.typed;
        return Err(
            Failure::new(format!("this key has a record already: {other}")).hint(format!(
                "where {place} is to be its place: `tmkms state import {typed} {other}`, and move that one away; or `--height H`"
            )),
        );
    }
    let (id, path) = (&target.chain.id, found.path.as_path());
    file::create(path, id, &found.key, &record).map_err(|error| {
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        match directory {
            Some(directory) if !directory.exists() => {
                Failure::of(&error).hint(format!("mkdir -m 700 {}", directory.display()))
            }
            _ => error.into(),
        }
    })?;
    note(&format!("made the record {}", path.display()));
    output(&format!("{id}: {}\n", show::floor(&record)))
}

fn raise(target: &Target<'_>, floor: &Floor) -> Result<(), Failure> {
    // A record in another format needs the key to be converted with; one of our own says which key it has.
    let (key, path) = match target.key_and_record() {
        Ok(Found { key, path, .. }) => (Some(key), path),
        Err(failure) => (None, target.told_by_records().ok_or(failure)?),
    };
    let floor = floor.within.floor(floor.height);
    let id = &target.chain.id;
    let change = file::raise(&path, id, key.as_ref(), &floor)?;
    tell(id, &change)
}

fn import(target: &Target<'_>, source: &Path) -> Result<(), Failure> {
    let Found { key, path, .. } = target.key_and_record()?;
    // Told apart here: to the record's room a file that is not there is a record that is missing.
    source.metadata().map_err(|error| {
        Failure::new(format!("cannot read {}", source.display())).cause(error.to_string())
    })?;
    let (id, path) = (&target.chain.id, path.as_path());
    let change = file::import(path, id, &key, source).map_err(|error| {
        let is_source = error.path == source && source != path;
        match error.problem {
            Problem::Empty | Problem::Truncated(_) | Problem::Unparsable(_) if is_source => {
                Failure::of(&error).hint(
                    "FILE is a state file of tmkms, CometBFT's priv_validator_state.json, or a record of this version",
                )
            }
            _ => error.into(),
        }
    })?;
    tell(id, &change)
}

pub(super) fn tell(id: &ChainId, change: &Change) -> Result<(), Failure> {
    for text in &change.notes {
        note(text);
    }
    let after = show::floor(&change.after);
    output(&match &change.before {
        Some(before) if before == &change.after => {
            format!("{id}: {after} (as before: a record is never lowered)\n")
        }
        Some(before) => format!("{id}: {after} (before: {})\n", show::floor(before)),
        None => format!("{id}: {after} (a new record)\n"),
    })
}

fn export(target: &Target<'_>, format: Format) -> Result<(), Failure> {
    let snapshot = file::inspect(&target.record()?)?;
    if let Some(holder) = snapshot.holder {
        note(&format!(
            "warning: process {holder} is signing: what is printed here may be old by the time that it is used"
        ));
    }
    let format = match format {
        Format::Tmkms => convert::Format::Tmkms,
        Format::Cometbft => convert::Format::Cometbft,
    };
    output(&format!(
        "{}\n",
        convert::export(&snapshot.record, format).trim_end()
    ))
}

impl Within {
    fn floor(&self, height: i64) -> Record {
        let now = unix_now();
        let Some(round) = self.round else {
            return Record::floor_at_height(height, now);
        };
        let step = match self.step {
            Some(StepName::Proposal) => Step::Proposal,
            Some(StepName::Prevote) => Step::Prevote,
            Some(StepName::Precommit) | None => Step::Precommit,
        };
        let hrs = Hrs {
            height,
            round,
            step,
        };
        Record::floor_at(hrs, now)
    }
}
