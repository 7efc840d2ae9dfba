//! A real validator node of one chain, in a home of its own.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tmkms::crypto::PublicKey;

use super::{
    SIGNER_IDENTITY, Transport, free_port,
    go_tools::{Amino, Tool},
    process::{Process, run},
    rpc::Rpc,
    signer::SignerHome,
    wait_for,
};

/// The chain ID of every test chain.
pub const CHAIN: &str = "tmkms-test-1";

/// How long the vote extensions of the end-to-end node are, in bytes; v0.38 makes them shorter.
pub const EXTENSION_SIZE: u32 = 100_000;

/// A node's home directory, from which it can be started many times.
#[derive(Debug)]
pub struct NodeHome {
    dir: TempDir,
    tool: Tool,
    program: PathBuf,
    p2p_port: u16,
    /// Where the node waits for its signer, as `addr` of a `[[validator]]`.
    pub signer_addr: String,
    /// The node's RPC.
    pub rpc: Rpc,
}

/// What differs from one test chain to another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Genesis {
    /// Vote extensions from height 1.
    pub extensions: bool,
}

impl NodeHome {
    /// Makes a home with a new one-validator chain; `None` when the node cannot be built here.
    pub fn new(tool: Tool, transport: Transport, genesis: Genesis, test: &str) -> Option<Self> {
        let program = tool.program(test)?;
        let init = match tool.of_end_to_end() {
            Some(node) => node.program(test)?,
            None => program.clone(),
        };
        let dir = tempfile::Builder::new()
            .prefix("tmkms-node-")
            .tempdir()
            .expect("a temporary directory");
        run(Command::new(&init).args(["init", "--home"]).arg(dir.path()));
        if transport == Transport::NoiseOfSecp256k1Node {
            write_secp256k1_node_key(dir.path());
        }
        let signer_addr = match transport {
            Transport::Noise | Transport::NoiseOfSecp256k1Node => {
                let mut show = Command::new(&init);
                show.args(["show-node-id", "--libp2p", "--home"]);
                let id = run(show.arg(dir.path()));
                format!("noise://{}@127.0.0.1:{}", id.trim(), free_port())
            }
            Transport::Tcp => format!("tcp://127.0.0.1:{}", free_port()),
            Transport::Unix => {
                let listens = match tool.amino() {
                    Some(Amino::OneDial) => "-listen",
                    _ => "",
                };
                let path = dir.path().join("privval.sock");
                format!("unix{listens}://{}", path.display())
            }
        };
        let rpc = Rpc {
            socket: dir.path().join("rpc.sock"),
        };
        let home = Self {
            dir,
            tool,
            program,
            p2p_port: free_port(),
            signer_addr,
            rpc,
        };
        home.configure();
        home.write_genesis(genesis);
        if tool.of_end_to_end().is_some() {
            home.write_e2e_config();
        }
        Some(home)
    }

    /// The consensus key that `init` made, moved out of the node's reach: the signer gets it.
    pub fn take_key(&self) -> PathBuf {
        let taken = self.dir.path().join("taken_priv_validator_key.json");
        if !taken.exists() {
            // Up to v0.27 key and state were one file.
            let [new, old] = [
                "config/priv_validator_key.json",
                "config/priv_validator.json",
            ]
            .map(|name| self.path(name));
            let key = if new.exists() { new } else { old };
            std::fs::rename(key, &taken).expect("init wrote the key");
        }
        taken
    }

    /// The validator's address, upper-case hex, as commits name it.
    pub fn validator_address(&self) -> String {
        let key = std::fs::read(self.take_key()).expect("the key was taken");
        let key: Value = serde_json::from_slice(&key).expect("init writes JSON");
        key["address"].as_str().expect("an address").to_owned()
    }

    /// Makes the holder of this Ed25519 key the chain's one validator. Nobody here has its secret.
    pub fn take_over(&self, public_key: &[u8; 32]) {
        self.take_over_by(&PublicKey::ed25519(public_key).expect("a point"));
    }

    /// Makes the holder of this key, of whatever type, the chain's one validator. Nobody here has its secret.
    pub fn take_over_by(&self, key: &PublicKey) {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
        let facts = key.algorithm().facts();
        let address = text(subtle_encoding::hex::encode_upper(key.address()));
        let value = text(subtle_encoding::base64::encode(key.as_bytes()));
        let names = facts.json.first().expect("every key type has names");
        let public = json!({ "type": names.public, "value": value });
        let mut genesis = self.genesis();
        genesis["validators"][0]["address"] = json!(address);
        genesis["validators"][0]["pub_key"] = public.clone();
        genesis["consensus_params"]["validator"]["pub_key_types"] = json!([facts.name]);
        self.put_genesis(&genesis);
        let taken = json!({ "address": address, "pub_key": public }).to_string();
        std::fs::write(self.take_key(), taken).expect("our own directory");
    }

    /// Makes this home a node of its own chain with `first`'s ID and validator: the operator's worst mistake.
    pub fn share_validator(&self, first: &Self) {
        let mut genesis = self.genesis();
        genesis["validators"] = first.genesis()["validators"].take();
        self.put_genesis(&genesis);
        self.take_key();
    }

    /// Makes the validator of `other` a second one of this chain, of the same power.
    pub fn add_validator_of(&self, other: &Self) {
        let (mut genesis, theirs) = (self.genesis(), other.genesis());
        let validators = genesis["validators"].as_array_mut().expect("a list");
        validators.push(theirs["validators"][0].clone());
        self.put_genesis(&genesis);
    }

    /// Makes this home a second node of `first`'s chain, with its validators and connected to it.
    pub fn join(&self, first: &Self) {
        self.take_key();
        self.put_genesis(&first.genesis());
        let id = run(Command::new(&first.program)
            .args(["show-node-id", "--home"])
            .arg(first.dir.path()));
        let peer = format!("\"{}@127.0.0.1:{}\"", id.trim(), first.p2p_port);
        self.edit_config(&[("p2p", "persistent_peers", peer)]);
    }

    /// Starts the node. Sockets that a killed predecessor left would keep it from binding, so they are removed first.
    pub fn start(&self) -> Process {
        if self.signer_addr.starts_with("unix://") {
            let _ = std::fs::remove_file(self.path("privval.sock"));
        }
        let _ = std::fs::remove_file(&self.rpc.socket);
        let mut command = Command::new(&self.program);
        if self.tool.of_end_to_end().is_some() {
            command
                .env("CMTHOME", self.dir.path())
                .arg(self.path("config/e2e.toml"));
        } else {
            let start = match self.tool.amino() {
                Some(_) => "node",
                None => "start",
            };
            command
                .args([start, "--proxy_app=kvstore", "--home"])
                .arg(self.dir.path());
        }
        Process::start(
            &format!("{:?}", self.tool),
            &mut command,
            &self.path("node.log"),
        )
    }

    /// Waits until the chain has reached `height`.
    pub fn wait_for_height(&self, height: i64, patience: Duration) {
        let mut seen = None;
        let start = std::time::Instant::now();
        while seen.is_none_or(|seen| seen < height) {
            assert!(
                start.elapsed() < patience,
                "height {height} was not reached within {patience:?}: {seen:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
            seen = self.rpc.height().or(seen);
        }
    }

    /// Every block of these heights was committed in round 0, by the chain's validator alone. What was signed at a height that was not
    /// is in the signer's log.
    pub fn assert_round_0(&self, heights: RangeInclusive<i64>, signer: &SignerHome) {
        let validator = self.validator_address();
        for height in heights {
            let commit = self
                .rpc
                .commit(height)
                .unwrap_or_else(|| panic!("no commit of height {height}"));
            assert_eq!(
                commit.round,
                0,
                "height {height} needed another round:\n{}\n{}",
                signer.log_of(height),
                self.log()
            );
            assert_eq!(
                commit.signers,
                std::slice::from_ref(&validator),
                "height {height}"
            );
        }
    }

    /// No block so far holds evidence.
    pub fn assert_no_evidence(&self) {
        let reached = self.rpc.height().expect("the node runs");
        assert!(reached > 0);
        for height in 1..=reached {
            let evidence = self.rpc.evidence(height);
            assert_eq!(
                evidence,
                Some(0),
                "evidence in the block of height {height}"
            );
        }
    }

    /// Vote extensions are enabled from height 1 on, or not at all, in the chain's own words. Where they are, the node takes no precommit of
    /// a block without a signed one.
    pub fn assert_extensions(&self, genesis: Genesis) {
        let params = self.rpc.get("/consensus_params?height=1");
        let params = params.expect("the node runs");
        let enabled = ["abci", "feature"].iter().find_map(|group| {
            params.pointer(&format!(
                "/consensus_params/{group}/vote_extensions_enable_height"
            ))
        });
        let expected = match (genesis.extensions, enabled) {
            (true, _) => Some(json!("1")),
            (false, None) => None,
            (false, Some(_)) => Some(json!("0")),
        };
        assert_eq!(enabled, expected.as_ref(), "{params}");
    }

    /// The node has logged no error but those that are none of the signer's.
    pub fn assert_no_complaint(&self) {
        let log = self.log();
        // `I[date] …` is information, `E[date] …` an error.
        assert!(log.lines().any(|line| line.starts_with("I[")), "{log}");
        let complaints: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("E[") && !is_of_its_own(line))
            .collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    /// Waits until the node listens for its signer.
    pub fn wait_until_it_wants_a_signer(&self) {
        wait_for("the node to want a signer", Duration::from_secs(10), || {
            match self.signer_addr.strip_prefix("unix://") {
                Some(path) => Path::new(path).exists().then_some(()),
                // A node counts a probing connection as its signer, so the kernel's table is asked instead.
                None => listens(&self.signer_addr).then_some(()),
            }
        });
    }

    /// Waits until the signer listens, where the node is to dial it.
    pub fn wait_for_its_signer(&self) {
        if let Some(path) = self.signer_addr.strip_prefix("unix-listen://") {
            wait_for("the signer to listen", Duration::from_secs(10), || {
                listens_at(path).then_some(())
            });
        }
    }

    /// Everything the node has logged.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.path("node.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A path in the home.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn configure(&self) {
        let quoted = |text: &str| format!("\"{text}\"");
        let rpc = format!("unix://{}", self.rpc.socket.display());
        let p2p = format!("tcp://127.0.0.1:{}", self.p2p_port);
        let privval = match self.signer_addr.strip_prefix("noise://") {
            // The address says who the node is, the node's setting who the signer is.
            Some(addr) => {
                let (_, place) = addr.split_once('@').expect("our own address");
                format!("noise://{}@{place}", SIGNER_IDENTITY.1)
            }
            None => self.signer_addr.replace("unix-listen://", "unix://"),
        };
        self.edit_config(&[
            ("", "priv_validator_laddr", quoted(&privval)),
            ("", "db_backend", quoted("goleveldb")),
            ("rpc", "laddr", quoted(&rpc)),
            ("rpc", "pprof_laddr", quoted("")),
            ("p2p", "laddr", quoted(&p2p)),
            ("p2p", "addr_book_strict", "false".to_owned()),
            ("p2p", "allow_duplicate_ip", "true".to_owned()),
            // Skipped, and not 0: a timer that fires while the next one is set can end that one at once in a node built with
            // the timers of Go before 1.23, and its propose step with it; it then votes nil.
            ("consensus", "timeout_commit", quoted("1s")),
            ("consensus", "skip_timeout_commit", "true".to_owned()),
        ]);
    }

    /// Makes blocks only where there are transactions.
    pub fn wait_for_transactions(&self) {
        self.edit_config(&[("consensus", "create_empty_blocks", "false".to_owned())]);
    }

    /// Replaces values of keys that stand in `config.toml`; the sections of the file are one level deep.
    fn edit_config(&self, edits: &[(&str, &str, String)]) {
        let path = self.path("config/config.toml");
        let text = std::fs::read_to_string(&path).expect("init wrote it");
        let mut section = "";
        let mut edited = String::with_capacity(text.len() + 256);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            let key = line.split_once('=').map(|(key, _)| key.trim());
            let edit = edits
                .iter()
                .find(|(of, name, _)| *of == section && Some(*name) == key);
            match edit {
                Some((_, name, value)) => edited += &format!("{name} = {value}\n"),
                None => edited = edited + line + "\n",
            }
        }
        std::fs::write(&path, edited).expect("our own directory");
    }

    fn genesis(&self) -> Value {
        let text = std::fs::read(self.path("config/genesis.json")).expect("init wrote it");
        serde_json::from_slice(&text).expect("init writes JSON")
    }

    fn put_genesis(&self, genesis: &Value) {
        let text = serde_json::to_vec_pretty(genesis).expect("JSON can be written");
        std::fs::write(self.path("config/genesis.json"), text).expect("our own directory");
    }

    fn write_genesis(&self, genesis: Genesis) {
        let mut doc = self.genesis();
        doc["chain_id"] = json!(CHAIN);
        if genesis.extensions {
            let group = match self.tool {
                Tool::CometBftV1 | Tool::CometBftV1WithBls | Tool::E2eNodeV1 => "feature",
                _ => "abci",
            };
            doc["consensus_params"][group]["vote_extensions_enable_height"] = json!("1");
        }
        self.put_genesis(&doc);
    }

    fn write_e2e_config(&self) {
        // An update height of −1 says that the genesis file has enabled the extensions.
        let text = format!(
            "chain_id = \"{CHAIN}\"\nprotocol = \"builtin\"\nmode = \"validator\"\nkey_type = \"ed25519\"\n\
             dir = \"{}\"\npersist_interval = 1\nvote_extensions_enable_height = 1\n\
             vote_extensions_update_height = -1\nvote_extension_size = {EXTENSION_SIZE}\n",
            self.path("data/app").display()
        );
        std::fs::write(self.path("config/e2e.toml"), text).expect("our own directory");
    }
}

/// That there are no other nodes; and that nobody came for a second connection, which a node waits for by mistake now and then when it
/// has just got its first: its request for one may be there twice, and the other is taken up before the connection is noted down.
fn is_of_its_own(error: &str) -> bool {
    let waits_in_vain = error.contains("SignerListener: Error accepting connection")
        && error.contains(": i/o timeout");
    error.contains("module=p2p") || waits_in_vain
}

/// Any number is a secret of this curve.
fn write_secp256k1_node_key(home: &Path) {
    let value = subtle_encoding::base64::encode([0x42; 32]);
    let value = String::from_utf8(value).expect("base64 digits");
    let key = json!({ "priv_key": { "type": "tendermint/PrivKeySecp256k1", "value": value } });
    std::fs::write(home.join("config/node_key.json"), key.to_string()).expect("our own directory");
}

/// Whether some process listens on the unix socket of this path: one that a killed process left is there, too.
fn listens_at(path: &str) -> bool {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    table.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // The kernel's flag of a socket that accepts.
        columns.get(3) == Some(&"00010000") && columns.get(7) == Some(&path)
    })
}

/// Whether some process listens on the port of an address on `127.0.0.1`.
fn listens(addr: &str) -> bool {
    let port: u16 = addr
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("our own address");
    let local = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(1);
        // 0A is the state LISTEN.
        columns.next() == Some(&local) && columns.nth(1) == Some("0A")
    })
}
