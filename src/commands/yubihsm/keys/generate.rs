//! `tmkms yubihsm keys generate`.

use std::path::{Path, PathBuf};

use crate::{
    commands::{
        Failure, Global, note, output,
        yubihsm::{
            Which,
            connect::Opened,
            keys::{
                KeyType, PRIMARY_WRAP_KEY, algorithm_name, bech32_prefix, default_label, export,
                label, refuse_existing, refuse_id_in_use, shown::shown_with_prefix,
            },
            object_id,
        },
    },
    keyring::providers::yubihsm::{
        Capabilities, Domains, Label, NewObject, ObjectType, import::signing_capability,
    },
};

#[derive(clap::Args, Debug)]
pub(in crate::commands) struct Generate {
    #[command(flatten)]
    which: Which,

    /// The new key's ID, decimal or 0x…
    #[arg(value_parser = object_id)]
    key_id: u16,

    /// Its label, at most 40 bytes [default: PREFIX:TIME or TYPE:TIME]
    #[arg(short, long, value_parser = label)]
    label: Option<String>,

    /// Print the public key in bech32 with this in front
    #[arg(short, long, value_name = "PREFIX", value_parser = bech32_prefix)]
    prefix: Option<String>,

    /// What the key is for
    #[arg(
        short = 't',
        long = "type",
        value_enum,
        default_value_t,
        value_name = "TYPE"
    )]
    key_type: KeyType,

    /// Never let it out, not even encrypted: it will have no backup
    #[arg(long, conflicts_with = "backup")]
    non_exportable: bool,

    /// Write an encrypted backup to this new file
    #[arg(short, long, value_name = "FILE")]
    backup: Option<PathBuf>,

    /// The wrap key that encrypts the backup
    #[arg(short, long, value_name = "ID", value_parser = object_id, default_value_t = PRIMARY_WRAP_KEY)]
    wrapkey: u16,
}

impl Generate {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        if let Some(path) = &self.backup {
            refuse_existing(path)?;
        }
        let mut hsm = self.which.open(global)?;
        refuse_id_in_use(&mut hsm, self.key_id)?;
        if self.backup.is_some() {
            self.refuse_missing_wrap_key(&mut hsm)?;
        }
        self.generate(&mut hsm)?;
        let key = hsm.device.public_key(self.key_id).map_err(|error| {
            hsm.failed(
                &format!(
                    "made key 0x{:04x} and cannot read its public key",
                    self.key_id
                ),
                &error,
            )
        })?;
        output(&format!(
            "Generated {} ({}) key 0x{:04x}: {}\n",
            self.key_type.name(),
            algorithm_name(self.key_type.algorithm()).unwrap_or_default(),
            self.key_id,
            shown_with_prefix(&key, self.key_type.use_for(), self.prefix.as_deref())
                .ok_or_else(|| Failure::new("the device tells no public key of it"))?,
        ))?;
        match &self.backup {
            Some(path) => self.back_up(&mut hsm, path),
            None if self.non_exportable => {
                note("it has no backup and cannot get one: when this device dies, so does the key");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn generate(&self, hsm: &mut Opened) -> Result<(), Failure> {
        let label = self.label.clone().unwrap_or_else(|| {
            default_label(self.prefix.as_deref().unwrap_or(self.key_type.name()))
        });
        let algorithm = self.key_type.algorithm();
        let mut capabilities = signing_capability(algorithm);
        if !self.non_exportable {
            capabilities = capabilities.with(Capabilities::EXPORTABLE_UNDER_WRAP);
        }
        let object = NewObject {
            id: self.key_id,
            label: Label::new(&label),
            domains: Domains::ONE,
            capabilities,
        };
        hsm.device
            .generate_asymmetric_key(&object, algorithm)
            .map_err(|error| {
                let what = format!("cannot generate key 0x{:04x}", self.key_id);
                hsm.failed_to_make(&what, &object, &error)
            })?;
        Ok(())
    }

    /// A key without the backup that was asked for is half the work.
    fn refuse_missing_wrap_key(&self, hsm: &mut Opened) -> Result<(), Failure> {
        let found = hsm
            .device
            .object_info(self.wrapkey, ObjectType::WRAP_KEY)
            .map_err(|error| {
                hsm.failed(
                    &format!("cannot look for wrap key 0x{:04x}", self.wrapkey),
                    &error,
                )
            })?;
        match found {
            Some(_) => Ok(()),
            None => Err(Failure::new(format!(
                "there is no wrap key 0x{:04x} to encrypt a backup with",
                self.wrapkey
            ))
            .hint("nothing was done; `tmkms yubihsm setup` makes wrap key 1; name another with --wrapkey")),
        }
    }

    fn back_up(&self, hsm: &mut Opened, path: &Path) -> Result<(), Failure> {
        export::write(hsm, self.key_id, self.wrapkey, path).map_err(|failure| {
            failure.and(
                Failure::new(format!(
                    "key 0x{:04x} was made and has no backup",
                    self.key_id
                ))
                .hint(format!(
                    "tmkms yubihsm keys export -i 0x{:04x} -w 0x{:04x} FILE",
                    self.key_id, self.wrapkey
                )),
            )
        })?;
        output(&format!(
            "Wrote backup of key {} (encrypted under wrap key {}) to {}\n",
            self.key_id,
            self.wrapkey,
            path.display()
        ))
    }
}
