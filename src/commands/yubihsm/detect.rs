//! `tmkms yubihsm detect`.

use std::{error::Error as _, fmt::Write as _};

use crate::{
    commands::{Failure, Global, note, output, yubihsm::connect::ask},
    config::Config,
    keyring::providers::yubihsm::{Adapter, DeviceError, transport::usb},
};

/// Where nothing is found a person is told where it was looked for.
const HINT: &str = "plug one in; `lsusb -d 1050:0030` shows it to root. If it does: contrib/udev/60-tmkms-yubihsm.rules lets others use it";

pub(super) fn run(global: &Global) -> Result<(), Failure> {
    let mut troubles = Vec::new();
    let mut text = String::new();
    on_usb(&mut text, &mut troubles);
    behind_connectors(&adapters(global)?, &mut text, &mut troubles);
    if !text.is_empty() {
        for trouble in &troubles {
            note(&format!("warning: {trouble}"));
        }
        return output(&text);
    }
    let mut failure = Failure::new("no YubiHSM2 devices detected!");
    for trouble in troubles {
        failure = failure.cause(trouble);
    }
    Err(failure.hint(HINT))
}

/// Writing to a string cannot fail.
fn on_usb(text: &mut String, troubles: &mut Vec<String>) {
    let found = match usb::detect() {
        Ok(found) => found,
        Err(error) => {
            troubles.push(told(&DeviceError::from(error)));
            return;
        }
    };
    if !found.is_empty() {
        text.push_str("Detected YubiHSM2 USB devices:\n");
    }
    for one in found {
        let (bus, (major, minor)) = (one.bus, one.firmware);
        let _ = match one.serial {
            Ok(serial) => {
                note(&format!("YubiHSM {serial}: firmware {major}.{minor}"));
                writeln!(text, "- Serial #{serial} (bus {bus})")
            }
            Err(error) => {
                troubles.push(told(&DeviceError::from(error)));
                writeln!(text, "- Serial unknown (bus {bus})")
            }
        };
    }
}

fn behind_connectors(adapters: &[Adapter], text: &mut String, troubles: &mut Vec<String>) {
    let mut lines = String::new();
    for adapter in adapters {
        match ask(adapter) {
            Ok(info) => {
                let (serial, (major, minor, patch)) = (info.serial, info.firmware);
                note(&format!(
                    "YubiHSM {serial}: firmware {major}.{minor}.{patch}"
                ));
                let _ = writeln!(lines, "- Serial #{serial} ({adapter})");
            }
            Err(error) => troubles.push(format!("{adapter}: {}", told(&error))),
        }
    }
    if !lines.is_empty() {
        text.push_str("Detected YubiHSM2 devices behind connectors:\n");
        text.push_str(&lines);
    }
}

/// An error and its causes, in one line.
fn told(error: &DeviceError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// The connectors of the configuration, each once, if there is a configuration.
fn adapters(global: &Global) -> Result<Vec<Adapter>, Failure> {
    let config = match global.config_file() {
        Ok(path) if global.config.is_some() => Config::load(&path)?,
        Ok(path) => match Config::load(&path) {
            Ok(config) => config,
            Err(_) => {
                note(&format!(
                    "warning: {} has errors, so its connectors are not asked; `tmkms check` tells them",
                    path.display()
                ));
                return Ok(Vec::new());
            }
        },
        Err(_) => return Ok(Vec::new()),
    };
    let mut adapters = Vec::new();
    for hsm in config.yubihsm {
        let is_connector = matches!(hsm.adapter, Adapter::Http { .. });
        if is_connector && !adapters.contains(&hsm.adapter) {
            adapters.push(hsm.adapter);
        }
    }
    Ok(adapters)
}
