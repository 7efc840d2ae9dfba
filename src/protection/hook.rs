//! The state hook: a command of the operator's that knows the chain's height.

use std::{path::PathBuf, time::Duration};

/// `state_hook` of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Program and arguments, run without a shell; never empty.
    pub cmd: Vec<String>,
    /// How long it may take; 5 s by default.
    pub timeout: Duration,
    /// Without an answer the chain is not served; true by default.
    pub fail_closed: bool,
    /// The directory that it is run in: the configuration file's.
    pub directory: PathBuf,
}
