//! `tmkms yubihsm keys import`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use subtle_encoding::hex;

use crate::{
    commands::{
        Failure, Global, note, output,
        yubihsm::{
            Which,
            connect::Opened,
            keys::{
                AlgorithmName, KeyType, PRIMARY_WRAP_KEY, default_label, label,
                record::{Making, NO_ID, NewRecord},
                refuse_id_in_use,
                shown::shown,
            },
            object_id,
        },
    },
    key_file,
    keyring::{
        format::KeyFormat,
        providers::{
            self,
            softsign::FileFormat,
            yubihsm::{
                Capabilities, Domains, Label, NewObject, ObjectId, ObjectType, PublicKeyBytes,
                Status,
                import::{Backup, PrivateKey, signing_capability},
                public_key as public_key_of,
            },
        },
    },
};

#[derive(clap::Args, Debug)]
pub(in crate::commands) struct Import {
    #[command(flatten)]
    which: Which,

    /// The ID that the key gets, decimal or 0x…; a backup brings its own
    #[arg(short, long, value_name = "KEY_ID", value_parser = object_id)]
    id: Option<u16>,

    /// The wrap key that a backup was made under
    #[arg(short, long, value_name = "ID", value_parser = object_id, default_value_t = PRIMARY_WRAP_KEY)]
    wrapkey: u16,

    /// What the file is [default: json for priv_validator_key.json and priv_validator.json, else wrap]
    #[arg(short = 't', long = "type", value_enum, value_name = "TYPE")]
    file_type: Option<FileType>,

    /// On which curve the key lies [default: as a JSON file says, else ed25519]
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    algorithm: Option<AlgorithmName>,

    /// Its label, at most 40 bytes; a backup brings its own [default: TYPE:TIME]
    #[arg(short, long, value_parser = label)]
    label: Option<String>,

    /// Never let it out, not even encrypted
    #[arg(long)]
    non_exportable: bool,

    /// What the public key of a backup must be, in hex or base64
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,

    #[command(flatten)]
    record: NewRecord,

    /// The file to read, as tmkms 0.2 spelled it: `import --path FILE KEY_ID`
    #[arg(short, long, value_name = "FILE")]
    path: Option<PathBuf>,

    /// The file to read
    #[arg(value_name = "FILE")]
    target: PathBuf,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum FileType {
    /// A backup that a device made, in base64
    Wrap,
    /// A private key in base64
    Base64,
    /// CometBFT's priv_validator_key.json, or the older priv_validator.json
    #[value(alias = "priv_validator")]
    Json,
    /// As tmkms 0.2 spelled json
    #[value(hide = true)]
    Ed25519,
}

/// What was asked for, after both spellings are one.
#[derive(Debug)]
struct Wanted<'a> {
    file: &'a Path,
    id: Option<u16>,
    what: What,
}

#[derive(Debug)]
enum What {
    Key(FileFormat),
    Backup,
}

impl Import {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let wanted = self.wanted()?;
        match wanted.what {
            What::Key(format) => {
                let id = wanted.id.ok_or_else(|| {
                    Failure::usage("a key needs an ID: -i KEY_ID")
                        .hint("only a backup (-t wrap) brings its own ID")
                })?;
                self.import_key(global, wanted.file, id, format)
            }
            What::Backup => self.import_backup(global, wanted.file),
        }
    }

    fn wanted(&self) -> Result<Wanted<'_>, Failure> {
        let (file, id) = match &self.path {
            None => (self.target.as_path(), self.id),
            Some(file) => {
                let typed = self.target.to_string_lossy();
                let id = object_id(&typed).map_err(|e| {
                    Failure::usage(format!("invalid key ID {typed:?}"))
                        .cause(e)
                        .hint("with --path FILE the other argument is the key's ID")
                })?;
                if self.id.is_some_and(|other| other != id) {
                    return Err(Failure::usage("two IDs were given"));
                }
                (file.as_path(), Some(id))
            }
        };
        let is_json = self.path.is_some()
            || file.file_name().is_some_and(|name| {
                name == "priv_validator_key.json" || name == "priv_validator.json"
            });
        let what = match self.file_type {
            Some(FileType::Json | FileType::Ed25519) => What::Key(FileFormat::Json),
            Some(FileType::Base64) => What::Key(FileFormat::Base64),
            Some(FileType::Wrap) => What::Backup,
            None if is_json => What::Key(FileFormat::Json),
            None => What::Backup,
        };
        Ok(Wanted { file, id, what })
    }

    fn import_key(
        &self,
        global: &Global,
        file: &Path,
        id: ObjectId,
        format: FileFormat,
    ) -> Result<(), Failure> {
        let key = PrivateKey::read(file, format, self.algorithm.map(Into::into))?;
        let mut hsm = self.which.open(global)?;
        let record = self.record.resolve(&hsm, id)?;
        refuse_id_in_use(&mut hsm, id)?;
        self.put(&mut hsm, id, &key)?;
        let found = read_back(&mut hsm, id)?;
        if public_key_of(&found).ok().as_ref() != Some(&key.public_key) {
            let what = format!(
                "the device made another key of {}: its public key is not the file's",
                file.display()
            );
            return Err(take_away(&mut hsm, id, &what));
        }
        tell(&hsm, id, &found)?;
        note(&format!(
            "warning: {} still holds the key; one place for one key: move it to offline storage, or destroy it once a backup was tried",
            file.display()
        ));
        make(record, &found)
    }

    fn put(&self, hsm: &mut Opened, id: ObjectId, key: &PrivateKey) -> Result<(), Failure> {
        let mut capabilities = signing_capability(key.algorithm);
        if !self.non_exportable {
            capabilities = capabilities.with(Capabilities::EXPORTABLE_UNDER_WRAP);
        }
        let label = self
            .label
            .clone()
            .unwrap_or_else(|| default_label(KeyType::Consensus.name()));
        let object = NewObject {
            id,
            label: Label::new(&label),
            domains: Domains::ONE,
            capabilities,
        };
        hsm.device
            .put_asymmetric_key(&object, key.algorithm, key.expose_secret())
            .map_err(|error| {
                hsm.failed_to_make(&format!("cannot import key 0x{id:04x}"), &object, &error)
            })?;
        Ok(())
    }

    fn import_backup(&self, global: &Global, file: &Path) -> Result<(), Failure> {
        let backup = Backup::read(file).map_err(|error| {
            Failure::new(format!("cannot import {}", file.display()))
                .caused_by(&error)
                .maybe_hint(error.hint())
        })?;
        let expected = self.public_key.as_deref().map(public_key).transpose()?;
        if self.id.is_some() || self.label.is_some() || self.non_exportable {
            note(
                "warning: a backup brings its own ID, label and capabilities; -i, -l and --non-exportable are ignored",
            );
        }
        let mut hsm = self.which.open(global)?;
        self.refuse_unsound_record(&hsm)?;
        let (kind, id) = hsm
            .device
            .import_wrapped(self.wrapkey, &backup.0)
            .map_err(|error| {
                let what = format!(
                    "cannot import {} under wrap key 0x{:04x}",
                    file.display(),
                    self.wrapkey
                );
                explain_backup(hsm.failed_to_change(&what, &error), error.status())
            })?;
        if kind != ObjectType::ASYMMETRIC_KEY {
            return output(&format!("Imported object 0x{id:04x} ({kind})\n"));
        }
        let found = read_back(&mut hsm, id)?;
        let read_back = public_key_of(&found).ok();
        let is_expected = |key: &[u8]| {
            read_back
                .as_ref()
                .is_some_and(|found| found.as_bytes() == key)
        };
        if expected.is_some_and(|expected| !is_expected(&expected)) {
            let what = format!(
                "{} holds another key than --public-key says",
                file.display()
            );
            return Err(take_away(&mut hsm, id, &what));
        }
        tell(&hsm, id, &found)?;
        let record = self.record.resolve(&hsm, id).map_err(|failure| {
            let left = format!("key 0x{id:04x} is in the device, and no record was made for it");
            let hint = "tmkms state import CHAIN FILE, or tmkms state init CHAIN --height H";
            failure.and(Failure::new(left).hint(hint))
        })?;
        make(record, &found)
    }

    /// A backup tells its ID only when it is in the device. What is wrong with the record for every ID is found before.
    fn refuse_unsound_record(&self, hsm: &Opened) -> Result<(), Failure> {
        let ids = hsm.configured_ids();
        let mut ids = ids.into_iter();
        if ids.any(|id| self.record.resolve(hsm, id).is_ok()) {
            return Ok(());
        }
        self.record.resolve(hsm, NO_ID).map(drop)
    }
}

/// The device's word for which key it has.
fn read_back(hsm: &mut Opened, id: ObjectId) -> Result<PublicKeyBytes, Failure> {
    hsm.device.public_key(id).map_err(|error| {
        let what = format!("imported key 0x{id:04x} and cannot read its public key");
        hsm.failed(&what, &error).hint(
            "it was compared with nothing: do not use it before `tmkms yubihsm keys list` shows the right public key",
        )
    })
}

/// A key that is not the one that was wanted must not stay.
fn take_away(hsm: &mut Opened, id: ObjectId, what: &str) -> Failure {
    let failure = Failure::new(what.to_owned());
    match hsm.device.delete_object(id, ObjectType::ASYMMETRIC_KEY) {
        Ok(()) => failure.cause(format!("key 0x{id:04x} was deleted again")),
        Err(error) => failure
            .cause(format!("key 0x{id:04x} is still in the device: {error}"))
            .hint(format!(
                "do not use it; as the admin: yubihsm-shell --authkey 1 -a delete-object -t asymmetric-key -i 0x{id:04x}"
            )),
    }
}

fn tell(hsm: &Opened, id: ObjectId, key: &PublicKeyBytes) -> Result<(), Failure> {
    let use_for = hsm
        .configured_key(id)
        .map_or(providers::KeyType::Consensus, |key| key.key_type);
    let format = hsm.key_format_of(id).or(Some(&KeyFormat::Hex));
    let shown = shown(key, use_for, format);
    let shown =
        shown.unwrap_or_else(|| format!("{}, which tmkms does not sign with", key.algorithm));
    output(&format!("Imported key 0x{id:04x}: {shown}\n"))
}

fn make(record: Making<'_>, key: &PublicKeyBytes) -> Result<(), Failure> {
    let key = public_key_of(key).ok();
    record.finish(key.as_ref())
}

/// A public key as `keys list` shows it in hex, or as base64.
fn public_key(typed: &str) -> Result<Vec<u8>, Failure> {
    let hex = matches!(typed.len(), 64 | 66)
        .then(|| hex::decode(typed.to_ascii_lowercase()).ok())
        .flatten();
    let bytes = hex.or_else(|| Some(key_file::from_base64(typed.as_bytes())?.to_vec()));
    bytes
        .filter(|bytes| matches!(bytes.len(), 32 | 33))
        .ok_or_else(|| {
            Failure::usage("--public-key is no public key")
                .hint("32 or 33 bytes, in hex or base64, as `tmkms yubihsm keys list` shows them")
        })
}

/// What a device says of a backup is terse.
fn explain_backup(failure: Failure, status: Option<Status>) -> Failure {
    match status {
        Some(Status::ObjectExists) => failure.hint(
            "nothing was changed: the ID that the backup brings is in use; `tmkms yubihsm keys list`",
        ),
        Some(Status::InvalidData) => failure.hint(
            "it is damaged, or was made under another wrap key: of another phrase, or one that --wrapkey names",
        ),
        Some(Status::ObjectNotFound) => failure.hint("there is no such wrap key: name another with --wrapkey"),
        _ => failure,
    }
}
