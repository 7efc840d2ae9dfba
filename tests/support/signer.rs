//! The `tmkms` binary with a home of its own.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::process::{Process, run};

/// A signer's home: configuration, key, record.
#[derive(Debug)]
pub struct SignerHome {
    dir: TempDir,
    program: PathBuf,
}

impl SignerHome {
    /// A signer for one chain whose key is the `priv_validator_key.json` at `key`; it dials every address of `addrs`.
    ///
    /// `program` is the binary under test, `env!("CARGO_BIN_EXE_tmkms")`.
    pub fn new(program: &str, chain: &str, key: &Path, addrs: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("tmkms-signer-")
            .tempdir()
            .expect("a temporary directory");
        let home = Self {
            dir,
            program: PathBuf::from(program),
        };
        let mut config = format!(
            "[[chain]]\nid = \"{chain}\"\nstate_file = \"state.json\"\n\n\
             [[providers.softsign]]\nchain_ids = [\"{chain}\"]\npath = \"consensus.key\"\n"
        );
        for addr in addrs {
            let _ = write!(
                config,
                "\n[[validator]]\nchain_id = \"{chain}\"\naddr = \"{addr}\"\nsecret_key = \"identity.key\"\n"
            );
        }
        std::fs::write(home.config(), config).expect("our own directory");
        run(home
            .command()
            .args(["softsign", "import"])
            .arg(key)
            .arg(home.dir.path().join("consensus.key")));
        run(home
            .command()
            .args(["state", "init", chain, "-c"])
            .arg(home.config()));
        home
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

    /// `tmkms start`.
    pub fn start(&self) -> Process {
        let mut command = self.command();
        command.args(["start", "-c"]).arg(self.config());
        Process::start("tmkms", &mut command, &self.dir.path().join("tmkms.log"))
    }

    /// Everything that every `tmkms` of this home has logged.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("tmkms.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
