//! `tmkms start`: serves the configured validators.

use crate::commands::{Failure, Global};

/// Serve the configured validators (the default with -c)
#[derive(clap::Args, Debug)]
pub(super) struct Start {}

impl Start {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let path = global.config_file()?;
        Err(Failure::new(format!("cannot serve {} yet", path.display())))
    }
}
