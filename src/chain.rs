//! A chain: its ID, its keys with their guards, and its policy.

use std::path::PathBuf;

use crate::{keyring::format::KeyFormat, privval::ChainId, protection::hook};

/// `[[chain]]`: one chain that keys sign for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The chain's ID.
    pub id: ChainId,
    /// How public keys are printed; `None` prints hex and cosmos-json.
    pub key_format: Option<KeyFormat>,
    /// The state record, as an absolute path or relative to the working directory.
    pub state_file: PathBuf,
    /// A command that knows the chain's height.
    pub state_hook: Option<hook::Config>,
    /// Sign vote extensions; true unless the operator says false.
    pub sign_extensions: bool,
    /// Refuse another block in a later step of one round.
    pub strict_rounds: bool,
}
