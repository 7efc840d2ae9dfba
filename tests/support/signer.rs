//! The `tmkms` binary with a home of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    SIGNER_IDENTITY,
    process::{Process, run},
};

/// A signer's home: configuration, key, record.
#[derive(Debug)]
pub struct SignerHome {
    dir: TempDir,
    program: PathBuf,
}

/// One chain that a signer serves.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its ID.
    pub id: String,
    /// The record, relative to the signer's home.
    pub record: PathBuf,
    /// The nodes to dial.
    pub addrs: Vec<String>,
}

impl SignerHome {
    /// A signer for one chain whose key is the `priv_validator_key.json` at `key`; it dials every address of `addrs`.
    ///
    /// `program` is the binary under test, `env!("CARGO_BIN_EXE_tmkms")`.
    pub fn new(program: &str, chain: &str, key: &Path, addrs: &[&str]) -> Self {
        let chain = Chain {
            id: chain.to_owned(),
            record: "state.json".into(),
            addrs: addrs.iter().map(|addr| (*addr).to_owned()).collect(),
        };
        let home = Self::empty(program);
        run(home
            .command()
            .args(["softsign", "import"])
            .arg(key)
            .arg(home.dir.path().join("consensus.key")));
        if addrs.iter().any(|addr| addr.starts_with("noise://")) {
            home.write("identity.key", SIGNER_IDENTITY.0);
        }
        home.serve(&[chain]);
        home
    }

    /// A signer for several chains with one new key.
    pub fn with_chains(program: &str, chains: &[Chain]) -> Self {
        let home = Self::empty(program);
        let key = home.dir.path().join("consensus.key");
        run(home.command().args(["softsign", "keygen"]).arg(key));
        home.serve(chains);
        home
    }

    /// A signer with this configuration; its keys and records are the test's to make.
    pub fn with_config(program: &str, config: &str) -> Self {
        let home = Self::empty(program);
        home.write("tmkms.toml", config);
        home
    }

    /// Writes a file of the home, readable by its owner only.
    pub fn write(&self, name: &str, text: &str) {
        use std::{
            fs::{OpenOptions, Permissions, set_permissions},
            io::Write,
            os::unix::fs::{OpenOptionsExt, PermissionsExt},
        };
        let path = self.path(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .expect("our own directory");
        set_permissions(&path, Permissions::from_mode(0o600)).expect("our own file");
        file.write_all(text.as_bytes()).expect("our own file");
    }

    /// Makes the record of a chain whose key is the configuration's.
    pub fn init_record(&self, chain: &str) {
        run(self
            .command()
            .args(["state", "init", chain, "-c"])
            .arg(self.config()));
    }

    /// A path in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn empty(program: &str) -> Self {
        Self {
            dir: tempfile::Builder::new()
                .prefix("tmkms-signer-")
                .tempdir()
                .expect("a temporary directory"),
            program: PathBuf::from(program),
        }
    }

    /// Writes the configuration and makes the records.
    fn serve(&self, chains: &[Chain]) {
        let ids: Vec<&str> = chains.iter().map(|chain| chain.id.as_str()).collect();
        let mut config =
            format!("[[providers.softsign]]\nchain_ids = {ids:?}\npath = \"consensus.key\"\n");
        for Chain { id, record, addrs } in chains {
            let record = record.display();
            let _ = write!(
                config,
                "\n[[chain]]\nid = \"{id}\"\nstate_file = \"{record}\"\n"
            );
            for addr in addrs {
                let _ = write!(
                    config,
                    "\n[[validator]]\nchain_id = \"{id}\"\naddr = \"{addr}\"\nsecret_key = \"identity.key\"\n"
                );
            }
        }
        std::fs::write(self.config(), config).expect("our own directory");
        for id in ids {
            self.init_record(id);
        }
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("tmkms.toml")
    }

    /// `tmkms` with nothing but the arguments to come.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.dir.path())
            .env_remove("TMKMS_CONFIG_FILE")
            .env_remove("RUST_LOG");
        command
    }

    /// What `tmkms check --dial` finds.
    pub fn check_dial(&self) -> String {
        let mut command = self.command();
        command.args(["check", "--dial", "-c"]).arg(self.config());
        let output = command.output().expect("the binary under test");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `tmkms start`.
    pub fn start(&self) -> Process {
        let mut command = self.command();
        command.args(["start", "-c"]).arg(self.config());
        Process::start("tmkms", &mut command, &self.dir.path().join("tmkms.log"))
    }

    /// What was signed, by every `tmkms` of this home, as far as it was logged: the blocks of each height, round and step.
    pub fn signed(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut signed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in self.log().lines() {
            // `[chain@addr] signed Prevote:0123456789 at h/r/s 5/0/1 (0 ms)`
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some(at) = words.iter().position(|word| *word == "h/r/s") else {
                continue;
            };
            let what = at.checked_sub(2).and_then(|before| words.get(before));
            let block = what.and_then(|what| what.split_once(':'));
            if let (Some((_, block)), Some(hrs), true) =
                (block, words.get(at + 1), words.contains(&"signed"))
            {
                let blocks = signed.entry((*hrs).to_owned()).or_default();
                blocks.insert(block.to_owned());
            }
        }
        signed
    }

    /// What left the signer: one block at most for each height, round and step, and of more than 50 of them.
    pub fn assert_nothing_conflicts(&self) {
        let signed = self.signed();
        assert!(signed.len() > 50, "the log tells of too little: {signed:?}");
        for (hrs, blocks) in signed {
            assert_eq!(blocks.len(), 1, "two blocks signed at {hrs}: {blocks:?}");
        }
    }

    /// The lines of the log that name a height.
    pub fn log_of(&self, height: i64) -> String {
        let at = format!(" {height}/");
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&at)).collect();
        lines.join("\n")
    }

    /// Everything that every `tmkms` of this home has logged.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where it is logged.
    pub fn log_file(&self) -> PathBuf {
        self.dir.path().join("tmkms.log")
    }
}
