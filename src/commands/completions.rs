//! `tmkms completions`: scripts that complete commands, options and file names.

use clap::{CommandFactory, ValueEnum};

use crate::commands::{EntryPoint, Failure, output};

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
pub(super) struct Completions {
    /// The shell that will read it
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut EntryPoint::command(), "tmkms", &mut script);
        output(&String::from_utf8_lossy(&script))
    }
}
