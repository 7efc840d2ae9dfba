//! Why a record cannot be opened, made or changed, and what an operator does about it.

use std::{fmt, io, path::PathBuf};

use crate::privval::ChainId;

/// A record that cannot be used. Nothing was signed, and no floor was lowered.
#[derive(Debug)]
pub struct OpenError {
    /// The record.
    pub path: PathBuf,
    /// The chain, where it is known.
    pub chain: Option<ChainId>,
    /// What names the record in a command, if that is more than the chain.
    pub typed: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a record.
#[derive(Debug)]
pub enum Problem {
    /// There is no file.
    Missing,
    /// There is one already.
    Exists,
    /// The file is 0 bytes long.
    Empty,
    /// The file is shorter than a record; its length in bytes.
    Truncated(u64),
    /// The file is no record that this or the original tmkms, or CometBFT, ever wrote; what was found.
    Unparsable(String),
    /// A checksum is wrong: the disk does not hold what was written, and the lost state may be the newest.
    Corrupt,
    /// Neither of the two states in the file can be believed.
    Torn,
    /// The record is another chain's.
    WrongChain {
        /// The chain that the record names.
        found: String,
    },
    /// The record is another key's.
    WrongKey {
        /// The key that the record names.
        found: String,
        /// The chain's key.
        expected: String,
    },
    /// The key has two records: this one and one beside it.
    TwoRecords {
        /// The other.
        beside: PathBuf,
    },
    /// The chain has several keys, and the record does not say of which it is.
    Unowned,
    /// A later version of tmkms wrote it; the number of its format.
    NewerFormat(String),
    /// The file is a copy of a record, perhaps an old one.
    Copied,
    /// Another process holds the record.
    Locked {
        /// Its process ID, where the system tells.
        holder: Option<u32>,
    },
    /// The file was replaced again and again while it was being opened.
    Replaced,
    /// A record of another format has several names; a conversion would split it.
    SeveralNames(u64),
    /// A record of another format that holds a private key; converting it would take the key file away.
    HoldsKey,
    /// The file has to be converted first, and that needs the chain's public key.
    NotConverted,
    /// The state hook's height is too far ahead to be believed.
    Jump {
        /// What the hook told.
        height: i64,
        /// The record's height.
        last: i64,
        /// The greatest height that would have been believed.
        limit: i64,
    },
    /// A call to the system failed.
    Io {
        /// What was being done: `read`, `write`, `lock`, …
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// What to do about it, as one line of an answer to an operator.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let chain = self.chain.as_ref().map_or("CHAIN", ChainId::as_str);
        let chain = self.typed.as_deref().unwrap_or(chain);
        let path = self.path.display();
        let init = format!(
            "`tmkms state init {chain} --height H`, H being no lower than any height that this key has signed"
        );
        Some(match &self.problem {
            Problem::Missing => format!(
                "a key that has never signed: `tmkms state init {chain}`; one that has: {init}; a validator moved from another machine or signer: `tmkms state import {chain} FILE`"
            ),
            Problem::Exists => format!(
                "nothing was changed; `tmkms state show {chain}` prints it, `tmkms state raise {chain} --height H` raises it"
            ),
            Problem::Empty
            | Problem::Truncated(_)
            | Problem::Unparsable(_)
            | Problem::Corrupt
            | Problem::Torn => {
                format!("what was signed last is unknown: move {path} away, then {init}")
            }
            Problem::WrongChain { .. } | Problem::WrongKey { .. } => format!(
                "give this chain and key a `state_file` of their own, then `tmkms state init {chain} [--height H]`"
            ),
            Problem::TwoRecords { .. } => {
                format!("`tmkms state show {chain}` prints both: move the lower one away")
            }
            Problem::Unowned => format!(
                "give the key that signed with it `state_file = \"{path}\"` of its own, beside its chain_ids"
            ),
            Problem::NewerFormat(_) => "start the version of tmkms that wrote it".to_owned(),
            Problem::Copied => format!(
                "a copy may be older than what was signed since: once nothing else signs with this key, `tmkms state import {chain} {path}` takes it over, and `tmkms state raise {chain} --height H` lifts it above what it may have missed"
            ),
            Problem::Locked {
                holder: Some(holder),
            } => format!("stop process {holder} first: one record, one signer"),
            Problem::Locked { holder: None } => {
                "stop the other process first: one record, one signer".to_owned()
            }
            Problem::Replaced => "see what else writes to that directory".to_owned(),
            Problem::SeveralNames(_) => {
                "remove all but one of its names (hard links), and let one chain use it".to_owned()
            }
            Problem::HoldsKey => format!(
                "give the chain a `state_file` of its own, then `tmkms state import {chain} {path}`"
            ),
            Problem::NotConverted => {
                format!("start tmkms once, or `tmkms state import {chain} {path}`")
            }
            Problem::Jump { .. } => format!(
                "see what the hook prints; if it is right, `tmkms state raise {chain} --height H`"
            ),
            Problem::Io { .. } => return None,
        })
    }
}

impl fmt::Display for OpenError {
    #[allow(
        clippy::too_many_lines,
        reason = "a table: one sentence for each problem"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.problem {
            Problem::Missing => write!(
                f,
                "no state record at {path}: what this key has signed is unknown"
            ),
            Problem::Exists => write!(f, "{path} exists already"),
            Problem::Empty => write!(f, "the state record {path} is empty"),
            Problem::Truncated(len) => {
                write!(
                    f,
                    "the state record {path} is cut off: {len} bytes are left of it"
                )
            }
            Problem::Unparsable(what) => write!(f, "{path} is no state record: {what}"),
            Problem::Corrupt => write!(
                f,
                "the state record {path} is damaged: a checksum does not match what is stored"
            ),
            Problem::Torn => write!(
                f,
                "the state record {path} is damaged: neither of its two states is whole"
            ),
            Problem::WrongChain { found } => {
                write!(f, "the state record {path} belongs to the chain {found}")?;
                match &self.chain {
                    Some(chain) => write!(f, ", not to {chain}"),
                    None => Ok(()),
                }
            }
            Problem::WrongKey { found, expected } => write!(
                f,
                "the state record {path} belongs to the public key {found}; the chain's key is {expected}"
            ),
            Problem::TwoRecords { beside } => write!(
                f,
                "there are two state records of one key: {path} and {}",
                beside.display()
            ),
            Problem::Unowned => write!(
                f,
                "the state record {path} does not say of which of the chain's keys it is"
            ),
            Problem::NewerFormat(format) => write!(
                f,
                "the state record {path} has format {format}, which this version does not know"
            ),
            Problem::Copied => write!(
                f,
                "the state record {path} is a copy: it is not the file that was written to last"
            ),
            Problem::Locked {
                holder: Some(holder),
            } => write!(f, "the state record {path} is in use by process {holder}"),
            Problem::Locked { holder: None } => {
                write!(f, "the state record {path} is in use by another process")
            }
            Problem::Replaced => {
                write!(
                    f,
                    "the state record {path} was replaced while it was being opened"
                )
            }
            Problem::SeveralNames(names) => {
                write!(
                    f,
                    "the state record {path} cannot be converted: the file has {names} names"
                )
            }
            Problem::HoldsKey => write!(
                f,
                "the state record {path} cannot be converted in place: it holds a private key as well"
            ),
            Problem::NotConverted => {
                write!(
                    f,
                    "the state record {path} is not in this version's format yet"
                )
            }
            Problem::Jump {
                height,
                last,
                limit,
            } => write!(
                f,
                "the state hook's height {height} is too far ahead of the record {path}, which is at {last}: up to {limit} is believed"
            ),
            Problem::Io { doing, .. } => write!(f, "cannot {doing} the state record {path}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Names what was being done when a call failed.
pub(super) fn while_doing(doing: &'static str) -> impl Fn(io::Error) -> Problem {
    move |source| Problem::Io { doing, source }
}
