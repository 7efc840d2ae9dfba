//! `tmkms.toml`, of every era: the table of contents of a signer's configuration.
//!
//! The text is read as a spanned TOML tree and walked by hand, so that every error knows its line, column and key; what a
//! section means is decided beside the code that uses it (`chain::Config`, `client::Config`, …). The work has three steps:
//! the sections are read (`reader`, `chains`, `validators`, `providers`), older spellings are turned into the current form
//! (`historic`), and every cross-reference is resolved once (`resolve`). After that no lookup can fail.

use std::{
    env, fmt, fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    chain, client,
    keyring::providers::{KeyType, ledgertm, softsign, yubihsm},
    privval::ChainId,
    protection::store::file::{RecordPath, Whose},
};

mod chains;
mod historic;
pub mod networks;
mod paths;
mod problem;
mod providers;
mod reader;
mod resolve;
mod resolved;
mod suggest;
pub mod template;
mod validators;

pub use problem::{Error, Problem, Warning};

/// The longest configuration file, in bytes. A thousand validators need about 300 KiB.
const MAX_LEN: u64 = 4 * 1024 * 1024;

/// A configuration in which every reference is resolved: each validator's and key's chain is in `chains`, each validator's
/// chain has a key (here or in an unbuilt section), and each chain a `state_file` that is no other chain's.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as it was named.
    pub path: PathBuf,
    /// `[[chain]]`, or the chains that a file without such sections mentions.
    pub chains: Vec<chain::Config>,
    /// `[[validator]]`; may be empty, then there is nothing to start.
    pub validators: Vec<client::Config>,
    /// `[[providers.softsign]]`
    pub softsign: Vec<softsign::Config>,
    /// `[[providers.yubihsm]]`; no two can be one device.
    pub yubihsm: Vec<yubihsm::Config>,
    /// `[[providers.ledgertm]]`; no two can be one device.
    pub ledgertm: Vec<ledgertm::Config>,
    /// What is understood, but cannot be served by this version.
    pub unbuilt: Vec<Unbuilt>,
    /// What the operator should look at, in the order of the file.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// `Error::Read` if the file cannot be read, else as [`Config::parse`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read_error = |source| Error::Read {
            path: path.into(),
            source,
        };
        let (bytes, mode) = read(path).map_err(read_error)?;
        // The text may hold passwords of devices. It is wiped, and never quoted.
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => Zeroizing::new(text.to_owned()),
            Err(e) => return Err(Error::not_utf8(path, &bytes, e.valid_up_to())),
        };
        let working_directory = env::current_dir().ok();
        Self::understand(&text, path, Some(mode), working_directory.as_deref())
    }

    /// Reads a text as if it stood in the file `path`; relative paths are looked up beside it and in the working directory.
    ///
    /// # Errors
    /// `Error::Invalid` with everything that is wrong, up to ten problems.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        Self::parse_in(text, path, env::current_dir().ok().as_deref())
    }

    /// [`Config::parse`] with another directory in the place of the working directory.
    ///
    /// # Errors
    /// `Error::Invalid` with everything that is wrong, up to ten problems.
    pub fn parse_in(
        text: &str,
        path: &Path,
        working_directory: Option<&Path>,
    ) -> Result<Self, Error> {
        Self::understand(text, path, None, working_directory)
    }

    /// The keys that sign for a chain, as far as this version serves them: those in files first, then those in YubiHSMs and Ledgers,
    /// each kind in the order of the file.
    #[must_use]
    pub fn consensus_keys(&self, chain: &chain::Config) -> Vec<ChainKey<'_>> {
        let keys: Vec<ConsensusKey<'_>> = self.keys_of(&chain.id).collect();
        let is_taken = |key: &ConsensusKey<'_>| key.state_file() == Some(&chain.state_file);
        let is_taken = keys.iter().any(is_taken);
        let one_of_several = keys.len() > 1;
        let keys = keys.into_iter().enumerate();
        keys.map(|(index, key)| {
            let whose = match key.state_file() {
                Some(_) => Whose::Own,
                None if is_taken => Whose::Other,
                None if index == 0 => Whose::First,
                None => Whose::Later,
            };
            let state_file = key.state_file().unwrap_or(&chain.state_file).to_owned();
            let record = RecordPath {
                state_file,
                whose,
                one_of_several,
            };
            ChainKey { key, record }
        })
        .collect()
    }

    fn keys_of(&self, chain: &ChainId) -> impl Iterator<Item = ConsensusKey<'_>> {
        let signs =
            |ids: &[ChainId], key_type| key_type == KeyType::Consensus && ids.contains(chain);
        let soft = self.softsign.iter().map(ConsensusKey::Softsign);
        let hsms = self.yubihsm.iter().enumerate().flat_map(|(index, device)| {
            let keys = device.keys.iter();
            keys.map(move |key| ConsensusKey::YubiHsm { index, device, key })
        });
        let ledgers = self.ledgertm.iter().enumerate();
        let ledgers = ledgers.map(|(index, device)| ConsensusKey::Ledger { index, device });
        soft.chain(hsms)
            .chain(ledgers)
            .filter(move |key| match key {
                ConsensusKey::Softsign(soft) => signs(&soft.chain_ids, soft.key_type),
                ConsensusKey::YubiHsm { key, .. } => signs(&key.chain_ids, key.key_type),
                ConsensusKey::Ledger { device, .. } => signs(&device.chain_ids, KeyType::Consensus),
            })
    }

    /// The configuration as it was understood, for people and tests: every default and path, and no secret. Paths are
    /// relative to the file's directory where they lie below it.
    #[must_use]
    pub fn resolved(&self) -> String {
        resolved::render(self)
    }

    fn understand(
        text: &str,
        path: &Path,
        mode: Option<u32>,
        working_directory: Option<&Path>,
    ) -> Result<Self, Error> {
        let places = paths::Places::new(path, working_directory);
        let mut report = problem::Report::new(path, text).with_mode(mode);
        if let Some(mode) = report.mode_for_others().filter(|mode| mode & 0o002 != 0) {
            let what = format!("everybody can change this file (mode {mode:04o})");
            let hint = format!("chmod o-w {}", path.display());
            report.warning(0, what).remedy(hint);
        }
        let tree = reader::tree(text, &mut report);
        let config = tree.as_ref().and_then(|tree| {
            let draft = Draft::read(tree, &mut report);
            // Cross-references of a file that is half understood would only add untrue complaints.
            (!report.has_errors()).then(|| resolve::resolve(draft, &places, &mut report))
        });
        let (config, warnings) = report.finish(config)?;
        Ok(Self { warnings, ..config })
    }
}

/// A key of a chain, and where its record is looked for.
#[derive(Clone, Debug)]
pub struct ChainKey<'a> {
    /// The key.
    pub key: ConsensusKey<'a>,
    /// Its record.
    pub record: RecordPath,
}

/// Where the key of a chain is.
#[derive(Clone, Copy, Debug)]
pub enum ConsensusKey<'a> {
    /// In a file.
    Softsign(&'a softsign::Config),
    /// In a YubiHSM.
    YubiHsm {
        /// Which of [`Config::yubihsm`].
        index: usize,
        /// That device.
        device: &'a yubihsm::Config,
        /// Which of its keys.
        key: &'a yubihsm::KeyConfig,
    },
    /// In a Ledger.
    Ledger {
        /// Which of [`Config::ledgertm`].
        index: usize,
        /// That device.
        device: &'a ledgertm::Config,
    },
}

impl<'a> ConsensusKey<'a> {
    /// Whether both are the same entry of one configuration.
    #[must_use]
    pub fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Softsign(a), Self::Softsign(b)) => std::ptr::eq(a, b),
            (Self::YubiHsm { key: a, .. }, Self::YubiHsm { key: b, .. }) => std::ptr::eq(a, b),
            (Self::Ledger { device: a, .. }, Self::Ledger { device: b, .. }) => std::ptr::eq(a, b),
            _ => false,
        }
    }

    /// The file that is this key's record alone.
    #[must_use]
    pub fn state_file(self) -> Option<&'a Path> {
        match self {
            Self::Softsign(key) => key.state_file.as_deref(),
            Self::YubiHsm { key, .. } => key.state_file.as_deref(),
            Self::Ledger { device, .. } => device.state_file.as_deref(),
        }
    }
}

/// Something that a configuration of some era may say and that this version recognises, but does not do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unbuilt {
    /// As it stands in the file: `[[providers.fortanixdsm]]`, `protocol_version = "legacy"`.
    pub section: String,
    /// Where it stands, counted from 1.
    pub line: usize,
    /// The chains that cannot be served for it.
    pub chain_ids: Vec<ChainId>,
}

impl Unbuilt {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> String {
        let chains: Vec<&str> = self.chain_ids.iter().map(ChainId::as_str).collect();
        if chains.is_empty() {
            return "remove it, or stay with the version that served it".to_owned();
        }
        let chains = chains.join(", ");
        format!("remove it if {chains} can do without, or stay with the version that served it")
    }
}

impl fmt::Display for Unbuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in line {} is understood, but this version cannot serve it",
            self.section, self.line
        )
    }
}

/// The sections as they were read, older spellings already in the current form; references are still unchecked.
struct Draft<'t> {
    chains: Vec<chains::Chain<'t>>,
    validators: Vec<validators::Validator<'t>>,
    keys: Vec<providers::Key<'t>>,
    hsms: Vec<providers::yubihsm::Hsm<'t>>,
    ledgers: Vec<providers::ledgertm::Ledger>,
    unbuilt: Vec<Unbuilt>,
    /// Where a missing section would have to be added: the end of the file is as good as any.
    providers_at: Option<usize>,
}

impl<'t> Draft<'t> {
    fn read(tree: &'t toml::de::DeTable<'t>, report: &mut problem::Report<'_>) -> Self {
        let root = reader::Section::root(tree, report);
        let identity = historic::secret_connection(&root, report);
        historic::tx_signer(&root, report);
        let mut unbuilt = Vec::new();
        let chains = chains::read(&root, report);
        let mut validators = validators::read(&root, report);
        for validator in &mut validators {
            validator.secret_key = validator.secret_key.or(identity);
        }
        let providers = providers::read(&root, &mut unbuilt, report);
        Self {
            chains,
            validators,
            keys: providers.keys,
            hsms: providers.hsms,
            ledgers: providers.ledgers,
            unbuilt,
            providers_at: root.position_of("providers"),
        }
    }
}

/// The bytes of a file and its permission bits.
fn read(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, u32)> {
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // Full capacity at once: a growing vector would leave unwiped copies of a password behind.
    let length = metadata.len().min(MAX_LEN) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0)));
    file.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).map_or(true, |len| len > MAX_LEN) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok((bytes, metadata.permissions().mode() & 0o777))
}
