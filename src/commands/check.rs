//! `tmkms check`: everything that `start` would find before it dials, without changing or locking anything.

use std::fmt::Write as _;

use crate::{
    commands::{Failure, Global, output},
    config::Config,
    event,
};

mod devices;
mod dial;
mod parts;
mod sockets;

/// Look at everything that start would use, and change nothing
///
/// Each finding is `ok`, `warning` or `error`; errors have a hint. The exit code is 1 if there is an error. A running `tmkms start` is
/// not disturbed.
#[derive(clap::Args, Debug)]
pub(super) struct Check {
    /// Also connect to each node and complete the handshake
    ///
    /// A node whose chain a running `tmkms start` serves is left alone. A node that is just starting up may give up when the trial
    /// connection ends.
    #[arg(long)]
    dial: bool,
}

impl Check {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let mut findings = Findings::default();
        let path = global.config_file()?;
        match Config::load(&path) {
            Ok(config) => {
                findings.ok(format!("configuration {}", path.display()));
                let records = parts::look_at(&config, &mut findings);
                sockets::look_at(&config, &records, &mut findings);
                if self.dial {
                    dial::all(&config, &records, &mut findings);
                }
            }
            Err(error) if error.problems().is_empty() => return Err(error.into()),
            Err(error) => {
                for problem in error.problems() {
                    findings.error(problem.to_string(), problem.hint.clone());
                }
            }
        }
        output(&findings.text)?;
        match findings.errors {
            0 => Ok(()),
            1 => Err(Failure::new("one error was found")),
            more => Err(Failure::new(format!("{more} errors were found"))),
        }
    }
}

/// What was found, in the order in which it was looked at.
#[derive(Default)]
struct Findings {
    text: String,
    errors: usize,
}

impl Findings {
    fn ok(&mut self, what: impl AsRef<str>) {
        self.line("ok", what.as_ref());
    }

    fn warning(&mut self, what: impl AsRef<str>, hint: Option<String>) {
        self.line("warning", what.as_ref());
        self.hint(hint);
    }

    fn error(&mut self, what: impl AsRef<str>, hint: Option<String>) {
        self.errors += 1;
        self.line("error", what.as_ref());
        self.hint(hint);
    }

    /// An error of the system or of another room, its causes on the same line.
    fn failed(&mut self, subject: &str, error: &dyn std::error::Error, hint: Option<String>) {
        let what = format!("{subject}{}", event::in_one_line(error));
        self.error(what, hint);
    }

    fn hint(&mut self, hint: Option<String>) {
        if let Some(hint) = hint {
            self.line("hint", &hint);
        }
    }

    fn line(&mut self, word: &str, what: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{word}: {what}");
    }
}
