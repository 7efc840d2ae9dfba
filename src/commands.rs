//! The command tree: what may be typed, which configuration is meant, and how a failure is told.
//!
//! Results go to stdout, everything else to stderr. A failure is `error: what`, its causes, and a hint; exit code 1, or 2 for a
//! command that was typed wrongly.

use std::{
    env,
    io::{self, Write},
    path::{Path, PathBuf},
};

use abscissa_core::{Command, Configurable, Runnable};
use clap::{Parser, Subcommand};

use crate::application::{APP, logging::LogFormat};

mod check;
mod completions;
mod consensus_key;
mod failure;
mod generate;
mod identity;
mod init;
mod key_type;
mod ledger;
mod prompt;
mod softsign;
mod start;
mod state;
mod version;
mod yubihsm;

pub use self::failure::Failure;

/// The environment variable that names the configuration where `-c` does not.
const CONFIG_VARIABLE: &str = "TMKMS_CONFIG_FILE";

/// The configuration's name, in the working directory and in `~/.tmkms`.
const CONFIG_NAME: &str = "tmkms.toml";

/// Signs for CometBFT and Tendermint validators, and never twice for one height, round and step
#[derive(Command, Debug, Parser)]
#[command(name = "tmkms", version, arg_required_else_help = true)]
pub struct EntryPoint {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    command: Option<Subcommands>,
}

/// Options that may stand before or after the command.
#[derive(clap::Args, Debug)]
pub struct Global {
    /// Configuration file [default: $TMKMS_CONFIG_FILE, ./tmkms.toml, ~/.tmkms/tmkms.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Log debug messages too (stands above RUST_LOG)
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// How log lines are written to stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Init(init::Init),
    // As 0.0.1 and 0.1 to 0.5 called them: `run` and `keygen`.
    #[command(alias = "run")]
    Start(start::Start),
    Check(check::Check),
    #[command(subcommand)]
    State(state::State),
    #[command(alias = "keygen")]
    Generate(generate::Generate),
    #[command(subcommand)]
    Identity(identity::Identity),
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    #[command(subcommand)]
    Softsign(softsign::Softsign),
    #[command(subcommand, name = "yubihsm")]
    YubiHsm(yubihsm::YubiHsm),
    Version(version::Version),
    Completions(completions::Completions),
}

impl Runnable for EntryPoint {
    fn run(&self) {
        APP.conclude(self.dispatch())
    }
}

impl Configurable<()> for EntryPoint {}

impl EntryPoint {
    fn dispatch(&self) -> Result<(), Failure> {
        match &self.command {
            Some(Subcommands::Init(command)) => command.run(),
            Some(Subcommands::Start(command)) => command.run(&self.global),
            Some(Subcommands::Check(command)) => command.run(&self.global),
            Some(Subcommands::State(command)) => command.run(&self.global),
            Some(Subcommands::Generate(command)) => command.run(),
            Some(Subcommands::Identity(command)) => command.run(&self.global),
            Some(Subcommands::Ledger(command)) => command.run(&self.global),
            Some(Subcommands::Softsign(command)) => command.run(),
            Some(Subcommands::YubiHsm(command)) => command.run(&self.global),
            Some(Subcommands::Version(command)) => command.run(),
            Some(Subcommands::Completions(command)) => command.run(),
            // `tmkms -c FILE`, as the first announcement wrote it.
            None if self.global.config.is_some() => start::Start {}.run(&self.global),
            None => {
                Err(Failure::usage("no command was given").hint("`tmkms help` lists the commands"))
            }
        }
    }
}

impl Global {
    /// The configuration file: `-c`, else `TMKMS_CONFIG_FILE`, else `./tmkms.toml`, else `~/.tmkms/tmkms.toml`. What was
    /// named is returned whether or not it exists.
    ///
    /// # Errors
    /// `Failure` if none was named and none is found.
    pub fn config_file(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        if let Some(path) = env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let here = PathBuf::from(CONFIG_NAME);
        let at_home = env::home_dir()
            .filter(|home| !home.as_os_str().is_empty())
            .map(|home| home.join(".tmkms").join(CONFIG_NAME));
        // Something that is there but cannot be looked at is returned as well: reading it then says why.
        let exists = |path: &Path| path.try_exists().unwrap_or(true);
        if exists(&here) {
            return Ok(here);
        }
        match at_home {
            Some(path) if exists(&path) => Ok(path),
            at_home => {
                let mut failure = Failure::new("no configuration file was found").cause(format!(
                    "there is no {CONFIG_NAME} in the working directory"
                ));
                if let Some(path) = at_home {
                    failure = failure.cause(format!("there is no {}", path.display()));
                }
                Err(failure
                    .hint("name one with -c FILE, or make a new home with `tmkms init HOME`"))
            }
        }
    }
}

/// Writes a result to stdout.
///
/// # Errors
/// `Failure` if stdout does not take it.
fn output(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|e| Failure::new("cannot write to stdout").cause(e.to_string()))
}

/// Writes a line that is no result to stderr.
fn note(text: &str) {
    // Nobody is left to tell when stderr is closed, and the result does not depend on it.
    let _ = writeln!(io::stderr(), "{text}");
}
