//! `tmkms yubihsm`: the hands on a YubiHSM2.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::SystemTime,
};

use clap::Subcommand;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::{
    application::logging::Timestamp,
    commands::{Failure, Global},
    keyring::providers::yubihsm::SerialNumber,
};

mod connect;
mod detect;
mod keys;
mod setup;
mod test;

use self::connect::Which;

/// Find, set up and test YubiHSM2 devices, and manage the keys in them
#[derive(Debug, Subcommand)]
pub(super) enum YubiHsm {
    /// Show the devices that are plugged in, or behind a connector of the configuration
    ///
    /// Needs no configuration.
    Detect,
    /// Erase a device and give it roles, passwords and a wrap key, all from one phrase of 24 words
    ///
    /// Shows the phrase and everything that comes from it, and what will be erased; asks twice before anything happens. The phrase and the
    /// passwords go to stdout and nowhere else.
    Setup(setup::Setup),
    /// Sign nonsense with a key again and again, and say how long it takes
    ///
    /// Without --count until Ctrl-C. Figures come at the end.
    Test(test::Test),
    /// Make, show, back up and import keys
    #[command(subcommand)]
    Keys(keys::Keys),
}

impl YubiHsm {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Detect => detect::run(global),
            Self::Setup(command) => command.run(global),
            Self::Test(command) => command.run(global),
            Self::Keys(command) => command.run(global),
        }
    }
}

/// An object ID as it is typed: decimal, or hexadecimal after `0x`.
fn object_id(typed: &str) -> Result<u16, String> {
    let id = match typed.strip_prefix("0x").or(typed.strip_prefix("0X")) {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => typed.parse(),
    };
    let is_signed = typed.contains('+');
    match id {
        Ok(0) => Err("no key ID given: an ID is 1 to 65534".into()),
        Ok(0xffff) => Err("65535 is the device's own".into()),
        Ok(id) if !is_signed => Ok(id),
        _ => Err("an ID is 1 to 65534, decimal or hexadecimal after 0x".into()),
    }
}

/// The first signal is only noted, so that a command ends in its own time, with its session closed; the second ends the process.
fn defer_signals() -> Result<Arc<AtomicBool>, Failure> {
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&seen))
            .and_then(|_| flag::register(signal, Arc::clone(&seen)))
            .map_err(|error| Failure::new("cannot wait for signals").cause(error.to_string()))?;
    }
    Ok(seen)
}

/// The time for labels and reports: RFC 3339 in seconds.
fn now() -> String {
    let now = Timestamp(SystemTime::now()).to_string();
    match now.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => now,
    }
}

fn serial_number(typed: &str) -> Result<SerialNumber, String> {
    typed.parse().map_err(|e| format!("{e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_decimal_or_hexadecimal_and_in_range() {
        assert_eq!(object_id("9002"), Ok(9002));
        assert_eq!(object_id("0x01F4"), Ok(500));
        assert_eq!(object_id("0X1"), Ok(1));
        for wrong in [
            "", "0", "0x0", "65535", "0xffff", "65536", "-1", "+1", "0x+1", "1F4", "x1", "0x", " 1",
        ] {
            assert!(object_id(wrong).is_err(), "{wrong}");
        }
    }
}
