//! The configuration that `tmkms init` writes.

use crate::{keyring::format::KeyFormat, privval::ChainId};

/// Where `init` puts the key that the connections to nodes are authenticated with, below the home.
pub const IDENTITY_KEY: &str = "secrets/kms-identity.key";

/// The port of the first chain's node; each further chain's is ten higher.
const FIRST_PORT: usize = 26_658;

/// One chain of a new home.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChainTemplate {
    /// The chain's ID.
    pub chain_id: ChainId,
    /// How its public keys are printed, if the network is known.
    pub key_format: Option<KeyFormat>,
}

impl ChainTemplate {
    /// Where its soft consensus key belongs, below the home.
    #[must_use]
    pub fn key_path(&self) -> String {
        format!("secrets/{}-consensus.key", self.chain_id)
    }

    /// Where its state record belongs, below the home.
    #[must_use]
    pub fn state_path(&self) -> String {
        format!("state/{}-consensus.json", self.chain_id)
    }
}

/// The text of a `tmkms.toml` with one soft key and one node for each chain. It reads back without a warning, provided that
/// no chain is named twice.
#[must_use]
pub fn render(chains: &[ChainTemplate]) -> String {
    let mut text = String::from(HEAD);
    text.push_str(CHAIN_HEAD);
    for chain in chains {
        text.push_str(&chain_section(chain));
    }
    text.push_str(VALIDATOR_HEAD);
    for (index, chain) in chains.iter().enumerate() {
        text.push_str(&validator_section(index, chain));
    }
    text.push_str(SOFTSIGN_HEAD);
    for chain in chains {
        text.push_str(&format!(
            "\n[[providers.softsign]]\nchain_ids = [\"{}\"]\npath = \"{}\"\n",
            chain.chain_id,
            chain.key_path()
        ));
    }
    let example = chains
        .first()
        .map_or("my-chain-1", |chain| chain.chain_id.as_str());
    text.push_str(&OTHER_PROVIDERS.replace("CHAIN", example));
    text
}

fn chain_section(chain: &ChainTemplate) -> String {
    let format = match &chain.key_format {
        Some(KeyFormat::Bech32 {
            account_key_prefix,
            consensus_key_prefix,
        }) => format!(
            "key_format = {{ type = \"bech32\", account_key_prefix = \"{account_key_prefix}\", consensus_key_prefix = \"{consensus_key_prefix}\" }}"
        ),
        Some(KeyFormat::CosmosJson) => "key_format = { type = \"cosmos-json\" }".to_owned(),
        Some(KeyFormat::Hex) => "key_format = { type = \"hex\" }".to_owned(),
        None => "# key_format = { type = \"bech32\", account_key_prefix = \"…\", consensus_key_prefix = \"…\" }".to_owned(),
    };
    format!(
        "\n[[chain]]\nid = \"{}\"\n{format}\nstate_file = \"{}\"\n{CHAIN_OPTIONS}",
        chain.chain_id,
        chain.state_path()
    )
}

fn validator_section(index: usize, chain: &ChainTemplate) -> String {
    let port = FIRST_PORT + 10 * index;
    format!(
        "\n[[validator]]\nchain_id = \"{}\"\naddr = \"tcp://127.0.0.1:{port}\"\nsecret_key = \"{IDENTITY_KEY}\"\n{VALIDATOR_OPTIONS}",
        chain.chain_id
    )
}

const HEAD: &str = "\
# tmkms configuration. Relative paths are relative to the directory of this file.
# `tmkms check` looks at everything that is named here; `tmkms start` serves it.
";

const CHAIN_HEAD: &str = "
## Chains: which records say what was signed

# The state file is what stands between this key and a double signature. Never copy it back from a backup, and never run two
# signers with copies of it: `tmkms state` moves it safely.
";

const CHAIN_OPTIONS: &str = "\
# sign_extensions = true   # the default: vote extensions are signed exactly where the node asks for them
# strict_rounds = false    # true: also refuse another block in a later step of the same round
# state_hook = { cmd = [\"/path/to/program\", \"argument\"], timeout_secs = 5, fail_closed = true }
#   prints {\"latest_block_height\": \"…\"}; nothing at or below that height is signed
";

const VALIDATOR_HEAD: &str = "
## Validators: the nodes to serve

# In the node's config.toml: priv_validator_laddr = \"tcp://127.0.0.1:26658\" (or the address that stands here).
";

const VALIDATOR_OPTIONS: &str = "\
# addr = \"tcp://PEER_ID@HOST:PORT\"    # pins the node's key, where the node keeps it (stock nodes make a new one at each start)
# addr = \"noise://PEER_ID@HOST:PORT\"  # CometBFT v0.40: both sides pinned; `tmkms identity show` prints what the node must be told
# addr = \"unix:///path/to/socket\"     # the node listens; needs no secret_key
# addr = \"unix-listen:///path\"        # the signer listens
# socket_mode = \"0600\"                # the default: permissions of that socket
# socket_group = \"gaia\"               # its group, by name or number
# reconnect = true                    # the default: dial again when the connection ends
# timeout = 10                        # the default: seconds of silence after which a connection is dead
# max_height = 12345678               # sign nothing above this height
# public_key = \"ADDRESS\"              # which key signs here, where the chain has several; `tmkms check` prints them
# sign_raw_bytes = [\"prefix\"]         # Celestia: sign raw bytes whose unique ID begins like this
# sign_bytes = false                  # true: answer CometBFT v1's SignBytes requests
";

const SOFTSIGN_HEAD: &str = "
## Keys in files: made by `tmkms init`, `tmkms generate` and `tmkms softsign import`
";

const OTHER_PROVIDERS: &str = "\
# key_type = \"consensus\"   # the default; a type of key (\"secp256k1\", \"ml_dsa_65\", …) is what a consensus key must be
# key_format = \"base64\"    # or \"json\" (priv_validator_key.json) or \"raw\"; told from the file's content when it is left out
# state_file = \"state/other.json\"   # a record of this key's own; else it is found by the state_file of the chain

## Keys in devices: a section for each device. The validators of a chain with several keys say by public_key which is theirs

# [[providers.yubihsm]]
# adapter = { type = \"usb\", timeout_ms = 1000 }   # or { type = \"http\", addr = \"tcp://127.0.0.1:12345\" }, a yubihsm-connector
# serial_number = \"0123456789\"                    # from `tmkms yubihsm detect`; needed where several devices could be meant
# auth = { key = 4, password_file = \"secrets/yubihsm-password.txt\" }
##   instead of password_file: password_credential = \"NAME\" (systemd's LoadCredential=), password_env = \"VARIABLE\", or
##   password = \"…\", which this file may hold only while nobody else can read it
# keys = [{ chain_ids = [\"CHAIN\"], key = 1, type = \"consensus\" }]   # as many as there are; type \"account\" signs nothing
# connector_server = { laddr = \"tcp://127.0.0.1:12345\", cli = { auth_key = 2 } }
##   lets other programs on this machine use the device while `tmkms start` holds it; with cli `tmkms yubihsm …` does, with this
##   authentication key (and its password is asked for) or with that of auth

# [[providers.ledgertm]]
# chain_ids = [\"CHAIN\"]              # on a chain without vote extensions: the app signs none (say so there: sign_extensions = false)
# path = \"/dev/hidraw0\"              # from `tmkms ledger detect`; needed where several Ledgers are plugged in
# serial = \"0001\"                    # the same, where their serial numbers differ
# adapter = { type = \"hid\" }         # or { type = \"tcp\", addr = \"tcp://127.0.0.1:9999\" }, an emulator, without path and serial

## This section is understood, but this version refuses to start with it

# [[providers.fortanixdsm]]
# api_endpoint = \"https://sdkms.fortanix.com\"
# api_key = \"…\"
# signing_keys = [{ chain_ids = [\"CHAIN\"], key_id = \"72e9ed9e-9eb4-46bd-a135-e78ed1bfd611\" }]
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, networks};

    fn parsed(chains: &[ChainTemplate]) -> Config {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("tmkms.toml");
        Config::parse_in(&render(chains), &path, Some(directory.path())).expect("a valid file")
    }

    #[test]
    fn what_init_writes_reads_back_without_a_warning() {
        for network in networks::ALL {
            let chain = network.template().expect("a valid chain ID");
            let config = parsed(std::slice::from_ref(&chain));
            assert_eq!(config.warnings, []);
            assert_eq!(config.unbuilt, []);
            let [read] = config.chains.as_slice() else {
                unreachable!("one chain was written");
            };
            assert_eq!(
                (&read.id, &read.key_format),
                (&chain.chain_id, &chain.key_format)
            );
            assert!(read.state_file.ends_with(chain.state_path()));
        }
    }

    #[test]
    fn all_networks_together_and_an_unknown_chain_fit_in_one_file() {
        let mut chains: Vec<_> = networks::ALL
            .iter()
            .map(|network| network.template().expect("a valid chain ID"))
            .collect();
        chains.push(ChainTemplate {
            chain_id: ChainId::new("my-chain-1").expect("a valid chain ID"),
            key_format: None,
        });
        let config = parsed(&chains);
        assert_eq!(config.warnings, []);
        assert_eq!(config.chains.len(), 6);
        assert_eq!(config.validators.len(), 6);
        assert_eq!(config.softsign.len(), 6);
    }

    #[test]
    fn the_examples_in_the_comments_can_be_uncommented() {
        let chain = networks::ALL[0].template().expect("a valid chain ID");
        let text = render(&[chain]);
        let (soft, devices) = text
            .split_once("[[providers.softsign]]")
            .expect("has the section");
        let uncommented: String = devices
            .lines()
            .filter(|line| !line.starts_with("## "))
            .map(|line| line.trim_start_matches("# ").to_owned() + "\n")
            .collect();
        let text = format!("{soft}[[providers.softsign]]{uncommented}");
        let config = Config::parse_in(&text, Path::new("tmkms.toml"), None).expect("a valid file");
        assert_eq!(config.unbuilt.len(), 1);
        let [chain] = config.chains.as_slice() else {
            unreachable!("one chain was written");
        };
        let keys = config.consensus_keys(chain);
        let own = keys.iter().filter_map(|key| key.key.state_file()).count();
        assert_eq!((keys.len(), own), (3, 1), "in a file, a YubiHSM, a Ledger");
    }
}
