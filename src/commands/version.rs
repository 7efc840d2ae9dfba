//! `tmkms version`: the bare version, for scripts.

use crate::commands::{Failure, output};

/// Print the version
#[derive(clap::Args, Debug)]
pub(super) struct Version {}

impl Version {
    pub(super) fn run(&self) -> Result<(), Failure> {
        output(concat!(env!("CARGO_PKG_VERSION"), "\n"))
    }
}
