//! A validator's life with a YubiHSM2, from an empty device to blocks of a real CometBFT chain, by nothing but what an operator types:
//! set up, generate, list, back up, wipe, restore on the same device and on a spare, sign. The devices are the simulators of
//! `tests/support/yubihsm`. What else can happen to a running signer is in `yubihsm_nodes.rs`.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "support/yubihsm/mod.rs"]
mod simulator;
mod support;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    time::Duration,
};

use simulator::{
    Options, Simulator,
    codes::{command, kind},
    words,
};
use support::{
    Transport, free_port,
    go_tools::Tool::CometBftV038,
    node::{CHAIN, Genesis, NodeHome},
    process::run,
    signer::SignerHome,
    wait_for,
};

const TMKMS: &str = env!("CARGO_BIN_EXE_tmkms");
const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: i64 = 50;

/// A device as it is bought: a signature takes some milliseconds, a reset some more.
fn device(serial: u32) -> Simulator {
    Simulator::start(Options {
        serial,
        latency: Duration::from_millis(2),
        reset_takes: Duration::from_millis(300),
        ..Options::default()
    })
}

/// What setup tells once, and the operator writes down.
struct Notes {
    phrase: String,
    operator: String,
    validator: String,
}

impl Notes {
    fn of(stdout: &str) -> Self {
        let words = |line: &&str| line.split_ascii_whitespace().count() == 12;
        let phrase: Vec<&str> = stdout.lines().filter(words).map(str::trim).collect();
        assert_eq!(phrase.len(), 2, "{stdout}");
        let password = |role: &str| {
            let line = stdout.lines().find(|line| line.contains(role));
            let word = line.and_then(|line| line.split_ascii_whitespace().last());
            word.unwrap_or_else(|| panic!("no {role} in {stdout}"))
                .to_owned()
        };
        Self {
            phrase: phrase.join(" "),
            operator: password("[operator]"),
            validator: password("[validator]"),
        }
    }
}

/// `tmkms` with these answers, each on its line; its standard output.
fn answered(command: &mut Command, answers: &[&str]) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all((answers.join("\n") + "\n").as_bytes())
        .unwrap();
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert!(status.success(), "{command:?}\n{stdout}{stderr}");
    stdout
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The provider's section: the device at `connector` (HOST:PORT), `auth` and more keys of the section.
fn provider(connector: &str, auth: &str, more: &str) -> String {
    format!(
        "[[providers.yubihsm]]\nadapter = {{ type = \"http\", addr = \"tcp://{connector}\" }}\n\
         auth = {auth}\nkeys = [{{ chain_ids = [\"{CHAIN}\"], key = 0x0001 }}]\n{more}\n"
    )
}

fn chain(node_addr: &str) -> String {
    format!(
        "[[chain]]\nid = \"{CHAIN}\"\nkey_format = {{ type = \"hex\" }}\nstate_file = \"state.json\"\n\n\
         [[validator]]\nchain_id = \"{CHAIN}\"\naddr = \"{node_addr}\"\nsecret_key = \"identity.key\"\n\n"
    )
}

const FACTORY: &str = "{ key = 1, password = \"password\" }";
const VALIDATOR: &str = "{ key = 4, password_file = \"validator-password\" }";
const AS_OPERATOR: [&str; 4] = ["--auth-key", "2", "--password-file", "operator-password"];

#[test]
fn a_validator_is_set_up_backed_up_wiped_restored_and_makes_blocks() {
    let test = "a validator's life with a YubiHSM2";
    let genesis = Genesis { extensions: true };
    let Some(node) = NodeHome::new(CometBftV038, Transport::Unix, genesis, test) else {
        return;
    };
    let (hsm, spare) = (device(7_550_054), device(7_550_055));
    let connector = hsm.addr().to_string();
    let chain = chain(&node.signer_addr);
    let home = SignerHome::with_config(
        TMKMS,
        &format!("{chain}{}", provider(&connector, FACTORY, "")),
    );
    let tmkms = |arguments: &[&str]| {
        let mut command = home.command();
        command.arg("yubihsm").args(arguments);
        command
    };

    // From an empty device to roles.
    let said = answered(&mut tmkms(&["setup"]), &["y", "7550054"]);
    let notes = Notes::of(&said);
    home.write("operator-password", &notes.operator);
    home.write("validator-password", &notes.validator);
    let server = free_port();
    let server = format!(
        "connector_server = {{ laddr = \"tcp://127.0.0.1:{server}\", cli = {{ auth_key = 2 }} }}"
    );
    let config = format!("{chain}{}", provider(&connector, VALIDATOR, &server));
    home.write("tmkms.toml", &config);

    // A key and its backup, which no signer has seen.
    let generate = ["keys", "generate", "0x0001", "-b", "backup"];
    let said = run(tmkms(&generate).args(AS_OPERATOR));
    let public = said
        .lines()
        .find_map(|line| line.strip_prefix("Generated consensus (ed25519) key 0x0001: "))
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned();
    let listed = run(tmkms(&["keys", "list"]).args(AS_OPERATOR));
    assert!(listed.contains(&public), "{listed}");

    // Wiped, and back from the phrase and the backup; on the spare too, which then leaves the scene.
    let restore = ["setup", "-r"];
    answered(&mut tmkms(&restore), &[&notes.phrase, "y", "7550054"]);
    assert!(hsm.device().object(kind::ASYMMETRIC_KEY, 1).is_none());
    let import = ["keys", "import", "backup", "--public-key", &public];
    run(tmkms(&import).args(AS_OPERATOR));
    let other = provider(&spare.addr().to_string(), FACTORY, "");
    home.write("spare.toml", &format!("{chain}{other}"));
    let with_spare = ["-c", "spare.toml"];
    answered(
        tmkms(&restore).args(with_spare),
        &[&notes.phrase, "y", "7550055"],
    );
    run(tmkms(&import).args(with_spare).args(AS_OPERATOR));
    for device in [&hsm, &spare] {
        assert_eq!(public_key(device), public);
        assert_eq!(device.device().open_sessions(), 0);
    }

    // Blocks, while the operator goes on working through the connector server.
    node.take_over(&bytes(&public));
    home.init_record(CHAIN);
    let mut running = home.start();
    let _node = node.start();
    node.wait_for_height(5, PATIENCE);
    let listed = run(tmkms(&["keys", "list"]).args(AS_OPERATOR));
    assert!(listed.contains(&public), "{listed}");
    run(tmkms(&["keys", "export", "-i", "1", "another-backup"]).args(AS_OPERATOR));
    node.wait_for_height(BLOCKS + 1, PATIENCE);
    node.assert_round_0(1..=BLOCKS, &home);

    goes_on_without_its_connector(&node, &hsm, &home);
    goes_on_after_its_sessions_were_forgotten(&node, &hsm);
    goes_on_when_the_log_has_room_again(&node, &hsm, &home);

    assert!(running.is_running());
    home.assert_nothing_conflicts();
    assert!(running.terminate(Duration::from_secs(2)).success());
}

fn goes_on_without_its_connector(node: &NodeHome, hsm: &Simulator, home: &SignerHome) {
    let before = node.rpc.height().unwrap();
    hsm.stop_connector();
    wait_for("the log to say why", PATIENCE, || {
        let log = home.log();
        log.contains("cannot reach the connector").then_some(())
    });
    hsm.restart_connector();
    node.wait_for_height(before + 20, PATIENCE);
}

/// Another client comes first and takes every slot, and leaves them to expire.
fn goes_on_after_its_sessions_were_forgotten(node: &NodeHome, hsm: &Simulator) {
    let before = node.rpc.height().unwrap();
    let asked = hsm.device().count(command::CREATE_SESSION);
    {
        let mut device = hsm.device();
        device.lose_sessions();
        device.occupy(16);
    }
    wait_for("a session to be refused", PATIENCE, || {
        (hsm.device().count(command::CREATE_SESSION) > asked).then_some(())
    });
    hsm.device().skip(Duration::from_secs(30));
    node.wait_for_height(before + 20, PATIENCE);
}

/// Nothing is signed while the device cannot log it; the log of the signer says so.
fn goes_on_when_the_log_has_room_again(node: &NodeHome, hsm: &Simulator, home: &SignerHome) {
    words::apply(hsm, "log-full");
    wait_for("the full log to be named", PATIENCE, || {
        home.log().contains("audit log is full").then_some(())
    });
    words::apply(hsm, "log-empty");
    let before = node.rpc.height().unwrap();
    node.wait_for_height(before + 20, PATIENCE);
}

/// The auditor may not sign: what is missing is named, and nobody pretends to be ready.
#[test]
fn a_capability_that_is_missing_is_named_at_start() {
    let hsm = device(7_550_054);
    words::apply(&hsm, "ed25519 1 7");
    words::apply(&hsm, "auth 4 secret sign-eddsa");
    words::apply(&hsm, "auth 3 secret get-log-entries");
    let connector = hsm.addr().to_string();
    let chain = chain("unix://node.sock");
    let config = |key| {
        let auth = format!("{{ key = {key}, password_file = \"validator-password\" }}");
        format!("{chain}{}", provider(&connector, &auth, ""))
    };
    let home = SignerHome::with_config(TMKMS, &config(4));
    home.write("validator-password", "secret");
    home.init_record(CHAIN);
    home.write("tmkms.toml", &config(3));
    let mut running = home.start();
    wait_for("the capability to be named", PATIENCE, || {
        let log = home.log();
        let line = log.lines().find(|line| line.contains("sign-eddsa"))?;
        line.contains("0x0003").then_some(())
    });
    assert_eq!(hsm.device().count(command::SIGN_EDDSA), 0);
    if running.is_running() {
        let _ = running.terminate(Duration::from_secs(2));
    }
}

fn public_key(hsm: &Simulator) -> String {
    let device = hsm.device();
    let key = device.object(kind::ASYMMETRIC_KEY, 1).unwrap();
    let key = key.secret.public_key().unwrap();
    String::from_utf8(subtle_encoding::hex::encode_upper(key)).unwrap()
}

fn bytes(hex: &str) -> [u8; 32] {
    let bytes = subtle_encoding::hex::decode_upper(hex).unwrap();
    bytes.try_into().unwrap()
}
