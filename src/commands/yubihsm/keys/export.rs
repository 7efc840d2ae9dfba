//! `tmkms yubihsm keys export`.

use std::path::{Path, PathBuf};

use crate::{
    commands::{
        Failure, Global, output,
        yubihsm::{
            Which,
            connect::Opened,
            keys::{PRIMARY_WRAP_KEY, refuse_existing},
            object_id,
        },
    },
    keyring::providers::yubihsm::{ObjectId, ObjectType, Status, WrapForm, import::Backup},
};

#[derive(clap::Args, Debug)]
pub(in crate::commands) struct Export {
    #[command(flatten)]
    which: Which,

    /// The key, decimal or 0x…
    #[arg(short, long, value_name = "KEY_ID", value_parser = object_id)]
    id: u16,

    /// The wrap key that encrypts it
    #[arg(short, long, value_name = "ID", value_parser = object_id, default_value_t = PRIMARY_WRAP_KEY)]
    wrapkey: u16,

    /// The file to create
    path: PathBuf,
}

impl Export {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        refuse_existing(&self.path)?;
        let mut hsm = self.which.open(global)?;
        write(&mut hsm, self.id, self.wrapkey, &self.path)?;
        output(&format!(
            "Exported key 0x{:04x} (encrypted under wrap key 0x{:04x}) to {}\n",
            self.id,
            self.wrapkey,
            self.path.display()
        ))
    }
}

/// Has a key wrapped and writes the backup.
pub(super) fn write(
    hsm: &mut Opened,
    id: ObjectId,
    wrap_key: ObjectId,
    path: &Path,
) -> Result<(), Failure> {
    let wrapped = hsm
        .device
        .export_wrapped(wrap_key, ObjectType::ASYMMETRIC_KEY, id, WrapForm::Expanded)
        .map_err(|error| {
            let what = format!("cannot export key 0x{id:04x} under wrap key 0x{wrap_key:04x}");
            let hint = match error.status() {
                Some(Status::ObjectNotFound) => which_is_missing(hsm, id, wrap_key),
                _ => None,
            };
            hsm.failed(&what, &error).maybe_hint(hint)
        })?;
    Backup(wrapped)
        .write(path)
        .map_err(|error| Failure::of(&error).maybe_hint(error.hint()))
}

/// The device does not say which of the two it has not.
fn which_is_missing(hsm: &mut Opened, id: ObjectId, wrap_key: ObjectId) -> Option<String> {
    let mut has = |id, kind| Some(hsm.device.object_info(id, kind).ok()?.is_some());
    let key = has(id, ObjectType::ASYMMETRIC_KEY)?;
    let wrap_key_is_there = has(wrap_key, ObjectType::WRAP_KEY)?;
    match (key, wrap_key_is_there) {
        (false, _) => Some(format!(
            "there is no key 0x{id:04x}: `tmkms yubihsm keys list` shows those that are there"
        )),
        (true, false) => Some(format!(
            "there is no wrap key 0x{wrap_key:04x}: `tmkms yubihsm setup` makes wrap key 1; name another with --wrapkey"
        )),
        (true, true) => None,
    }
}
