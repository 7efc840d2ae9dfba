//! `tmkms yubihsm keys list`.

use std::fmt::Write as _;

use crate::{
    commands::{
        Failure, Global, note, output,
        yubihsm::{Which, connect::Opened, keys::shown::shown},
    },
    keyring::{
        format::KeyFormat,
        providers::{
            KeyType,
            yubihsm::{Algorithm, Filter, ObjectId, ObjectType, setup::TEMPORARY_KEY},
        },
    },
};

#[derive(clap::Args, Debug)]
pub(in crate::commands) struct List {
    #[command(flatten)]
    which: Which,
}

impl List {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let mut hsm = self.which.open(global)?;
        let serial = hsm.serial;
        let objects = hsm
            .device
            .list_objects(&Filter::default())
            .map_err(|error| hsm.failed("cannot list the objects of the device", &error))?;
        let of_type = |kind: ObjectType| {
            let entries = objects
                .iter()
                .filter(move |entry| entry.object_type == kind);
            entries.map(|entry| entry.id)
        };
        if of_type(ObjectType::AUTHENTICATION_KEY).any(|id| id == TEMPORARY_KEY) {
            note(
                "warning: key 0xfffe, which may do everything, is left of an interrupted setup; `tmkms yubihsm setup -r` removes it",
            );
        }
        let mut ids: Vec<ObjectId> = of_type(ObjectType::ASYMMETRIC_KEY).collect();
        ids.sort_unstable();
        if ids.is_empty() {
            note(&format!("no keys in this YubiHSM (#{serial})"));
            return Ok(());
        }
        let mut text = format!("Listing keys in YubiHSM #{serial}:\n");
        for id in ids {
            entry(&mut hsm, id, &mut text)?;
        }
        output(&text)
    }
}

/// Two lines for a key. Writing to a string cannot fail.
fn entry(hsm: &mut Opened, id: ObjectId, text: &mut String) -> Result<(), Failure> {
    let what = format!("cannot look at key 0x{id:04x}");
    let info = hsm.device.object_info(id, ObjectType::ASYMMETRIC_KEY);
    let Some(info) = info.map_err(|error| hsm.failed(&what, &error))? else {
        // Deleted by somebody else a moment ago.
        return Ok(());
    };
    let key = match hsm.device.public_key(id) {
        Ok(key) => key,
        // One key that the device does not show is no reason to hide the others.
        Err(error) if hsm.device.is_alive() => {
            let _ = writeln!(
                text,
                "- 0x{id:04x}: {}, whose public key cannot be read: {error}\n   label: {:?}",
                info.algorithm,
                info.label.text()
            );
            return Ok(());
        }
        Err(error) => return Err(hsm.failed(&what, &error)),
    };
    let use_for = match (hsm.configured_key(id), key.algorithm) {
        (Some(configured), _) => configured.key_type,
        (None, Algorithm::EC_K256) => KeyType::Account,
        (None, _) => KeyType::Consensus,
    };
    let kind = match use_for {
        KeyType::Account => "acct",
        KeyType::Consensus => "cons",
    };
    let _ = match shown(
        &key,
        use_for,
        hsm.key_format_of(id).or(Some(&KeyFormat::Hex)),
    ) {
        Some(shown) => writeln!(text, "- 0x{id:04x}: [{kind}] {shown}"),
        None => writeln!(
            text,
            "- 0x{id:04x}: {}, which tmkms does not sign with",
            info.algorithm
        ),
    };
    let _ = writeln!(text, "   label: {:?}", info.label.text());
    Ok(())
}
