//! `tmkms init`: a home that starts at once.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    commands::{Failure, note, output},
    config::{
        Config, networks,
        template::{self, ChainTemplate},
    },
    connection::Identity,
    crypto::Algorithm,
    keyring::{format::format_key, providers::softsign},
    privval::ChainId,
    protection::{Record, store::file},
};

/// A node makes a key of its own also where a signer has the real one. Under a name that says so nobody takes it for that.
const UNUSED_KEY: &str = "priv_validator_key_file = \"config/unused_key.json\"";

/// Make a home that `tmkms start` can serve: configuration, keys and records
///
/// Makes tmkms.toml, an identity key, and for each chain a new consensus key with its record. Directories get mode 0700, files 0600.
/// Nothing that exists is overwritten. Prints each public key, and the lines for the node's config.toml.
#[derive(clap::Args, Debug)]
pub(super) struct Init {
    /// The directory to make
    home: PathBuf,

    /// Networks, with commas between: cosmoshub, osmosis, irishub, sentinelhub, core [default: cosmoshub]
    #[arg(short, long, value_delimiter = ',', value_name = "NETWORKS")]
    networks: Vec<String>,

    /// Any other chain, by its ID; may be given several times
    #[arg(long = "chain-id", value_name = "ID")]
    chain_ids: Vec<String>,
}

impl Init {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let chains = self.chains()?;
        let text = template::render(&chains);
        let config_path = self.home.join("tmkms.toml");
        // Read back before anything is made: what init writes must start.
        let config = Config::parse_in(&text, &config_path, None)?;

        self.refuse_what_exists(&chains)?;
        make_directory(&self.home)?;
        let report = self.make(&chains, &text, &config).map_err(|failure| {
            failure.maybe_hint(Some(format!(
                "nothing in {} has signed yet; what was made so far can be removed",
                self.home.display()
            )))
        })?;
        output(&report)
    }

    fn chains(&self) -> Result<Vec<ChainTemplate>, Failure> {
        let mut chains = Vec::new();
        let default = [networks::ALL[0].name.to_owned()];
        let names = if self.networks.is_empty() && self.chain_ids.is_empty() {
            default.as_slice()
        } else {
            self.networks.as_slice()
        };
        let invalid = |id: &str| Failure::usage(format!("{id:?} cannot be a chain ID"));
        for name in names {
            let network =
                networks::find(name).map_err(|e| Failure::usage(e.to_string()).hint(e.hint()))?;
            chains.push(network.template().map_err(|_| invalid(network.chain_id))?);
        }
        for id in &self.chain_ids {
            let chain_id = ChainId::new(id).map_err(|e| invalid(id).cause(e.to_string()))?;
            let known = networks::ALL.iter().find(|network| network.chain_id == id);
            chains.push(match known {
                Some(network) => network.template().map_err(|_| invalid(id))?,
                None => ChainTemplate {
                    chain_id,
                    key_format: None,
                },
            });
        }
        let mut seen = HashSet::new();
        match chains.iter().find(|chain| !seen.insert(&chain.chain_id)) {
            Some(twice) => Err(Failure::usage(format!(
                "{} was named twice",
                twice.chain_id
            ))),
            None => Ok(chains),
        }
    }

    /// All or nothing, as far as it can be known beforehand.
    fn refuse_what_exists(&self, chains: &[ChainTemplate]) -> Result<(), Failure> {
        let mut names = vec!["tmkms.toml".to_owned(), template::IDENTITY_KEY.to_owned()];
        for chain in chains {
            names.extend([chain.key_path(), chain.state_path()]);
        }
        let existing: Vec<PathBuf> = names
            .iter()
            .map(|name| self.home.join(name))
            .filter(|path| path.symlink_metadata().is_ok())
            .collect();
        let [first, ..] = existing.as_slice() else {
            return Ok(());
        };
        Err(
            Failure::new(format!("{} exists already", first.display())).hint(
                "nothing was changed; choose another directory, or make single keys with `tmkms generate` and records with `tmkms state init`",
            ),
        )
    }

    fn make(
        &self,
        chains: &[ChainTemplate],
        text: &str,
        config: &Config,
    ) -> Result<String, Failure> {
        make_directory(&self.home.join("secrets"))?;
        make_directory(&self.home.join("state"))?;
        let identity_path = self.home.join(template::IDENTITY_KEY);
        let (identity, _) = Identity::load_or_create(&identity_path)?;
        note(&format!(
            "made the identity key {} (node ID {})",
            identity_path.display(),
            identity.peer_id()
        ));
        let mut report = String::new();
        for (chain, validator) in chains.iter().zip(&config.validators) {
            let id = &chain.chain_id;
            let key_path = self.home.join(chain.key_path());
            let key = softsign::generate(Algorithm::Ed25519, &key_path)?;
            let state_path = self.home.join(chain.state_path());
            file::create(&state_path, id, &key, &Record::never_signed())?;
            note(&format!("made the consensus key {}", key_path.display()));
            note(&format!("made its record {}", state_path.display()));
            let shown = format_key(&key, chain.key_format.as_ref());
            // Writing to a string cannot fail.
            let _ = write!(
                report,
                "{id}: {shown}\nin the config.toml of its node:\n{UNUSED_KEY}\npriv_validator_laddr = \"{}\"\n",
                validator.addr
            );
        }
        // Last, so that a home that is half made does not start.
        let config_path = self.home.join("tmkms.toml");
        create_file(&config_path, text.as_bytes()).map_err(|e| cannot_make(&config_path, &e))?;
        note(&format!("made the configuration {}", config_path.display()));
        note(&format!(
            "start with: tmkms start -c {}",
            config_path.display()
        ));
        Ok(report)
    }
}

/// Makes a directory for nobody else; one that exists stays as it is.
fn make_directory(path: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(cannot_make(path, &error)),
        // Durable before the keys in it are.
        Ok(()) => sync_parent(path).map_err(|e| cannot_make(path, &e)),
    }
}

fn create_file(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text)?;
    file.sync_all()?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn cannot_make(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot make {}", path.display())).cause(error.to_string())
}
