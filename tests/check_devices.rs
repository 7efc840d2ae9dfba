//! `tmkms check` with a YubiHSM: what it finds in the simulated device, word for word.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use tmkms::keyring::providers::yubihsm::{
    Adapter, Algorithm, Capabilities, Credentials, Device, Domains, Label, NewObject, Password,
    StaticKeys,
};
use zeroize::Zeroizing;

#[path = "support/yubihsm/mod.rs"]
mod yubihsm;

use yubihsm::{
    Options, Simulator,
    codes::{command, kind},
};

const PASSWORD: &str = "a validator's password";

/// The public half of the seed `[7; 32]`, as `check` prints it without a `key_format`.
const KEY: &str = "EA4A6C63E29C520ABEF5507B132EC5F9954776AEBEBE7B92421EEA691446D22C {\"@type\":\"/cosmos.crypto.ed25519.PubKey\",\"key\":\"6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\"}";

/// A simulated device, and a home whose configuration names it.
struct Home {
    hsm: Simulator,
    directory: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self {
            hsm: Simulator::start(Options::default()),
            directory: tempfile::tempdir().unwrap(),
        };
        home.write("password", PASSWORD);
        home.configure("");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// One chain, whose key is number 1; `more` stands at the end of the device's section.
    fn configure(&self, more: &str) {
        let text = format!(
            "[[chain]]\nid = \"chain-1\"\nstate_file = \"state.json\"\n\n\
             [[validator]]\naddr = \"unix:///nonexistent/node.sock\"\nchain_id = \"chain-1\"\n\n\
             [[providers.yubihsm]]\n\
             adapter = {{ type = \"http\", addr = \"tcp://{}\" }}\n\
             auth = {{ key = 4, password_file = \"password\" }}\n\
             keys = [{{ chain_ids = [\"chain-1\"], key = 1 }}]\n{more}",
            self.hsm.addr()
        );
        self.write("tmkms.toml", &text);
    }

    /// A session of the factory's all-powerful key.
    fn factory(&self) -> Device {
        let adapter = Adapter::Http {
            host: self.hsm.addr().ip().to_string(),
            port: self.hsm.addr().port(),
            timeout: Duration::from_secs(5),
        };
        let credentials = Credentials {
            auth_key: 1,
            keys: keys_of("password"),
        };
        Device::open(&adapter, None, &credentials).unwrap()
    }

    fn validator(&self, capabilities: Capabilities) {
        let validator = object(4, capabilities, Domains::ONE);
        let keys = keys_of(PASSWORD);
        let mut device = self.factory();
        device
            .put_authentication_key(&validator, Capabilities::NONE, &keys)
            .unwrap();
    }

    fn key(&self, id: u16, algorithm: Algorithm, capabilities: Capabilities, domains: Domains) {
        let key = object(id, capabilities, domains);
        let mut device = self.factory();
        if algorithm == Algorithm::ED25519 {
            device
                .put_asymmetric_key(&key, algorithm, &[7; 32])
                .unwrap();
        } else {
            device.generate_asymmetric_key(&key, algorithm).unwrap();
        }
    }

    /// The usual device: a validator that may only sign, and its key.
    fn provisioned() -> Self {
        let home = Self::new();
        home.validator(Capabilities::SIGN_EDDSA);
        home.key(
            1,
            Algorithm::ED25519,
            Capabilities::SIGN_EDDSA,
            Domains::ONE,
        );
        home
    }

    fn check(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tmkms"))
            .arg("check")
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .output()
            .unwrap()
    }

    /// What `check` must say of the device: the lines between the configuration's and the record's, which are always the same.
    #[track_caller]
    fn finds(&self, expected: &str) {
        let Output { status, stdout, .. } = self.check();
        let stdout = String::from_utf8(stdout).unwrap();
        let lines: Vec<&str> = stdout.lines().collect();
        let (first, rest) = lines.split_first().unwrap();
        assert_eq!(*first, "ok: configuration tmkms.toml");
        let record = "error: no state record";
        let ours: Vec<&str> = rest
            .iter()
            .copied()
            .take_while(|line| !line.starts_with(record))
            .collect();
        let expected = expected
            .replace("{addr}", &self.hsm.addr().to_string())
            .replace("{key}", KEY);
        assert_eq!(ours.join("\n"), expected.trim_end(), "{stdout}");
        // The record is missing in all of them.
        assert_eq!(status.code(), Some(1));
        assert_eq!(self.hsm.device().open_sessions(), 0, "it left a session");
    }
}

fn keys_of(password: &str) -> StaticKeys {
    StaticKeys::from_password(&Password::new(Zeroizing::new(password.to_owned())))
}

fn object(id: u16, capabilities: Capabilities, domains: Domains) -> NewObject {
    NewObject {
        id,
        label: Label::new("a test's"),
        domains,
        capabilities,
    }
}

const OPENS: &str = "ok: YubiHSM 0012345678 (tcp://{addr}): firmware 2.4.1, authentication key 0x0004 opens a session\n";
const SHOWN: &str = "ok: key 0x0001 in YubiHSM 0012345678 for chain-1: {key}\n";

#[test]
fn a_device_with_its_key_is_shown_and_nothing_is_amiss() {
    let home = Home::provisioned();
    home.finds(&format!("{OPENS}{SHOWN}"));
}

#[test]
fn the_whole_of_it_with_a_record_is_a_success() {
    let home = Home::provisioned();
    let made = Command::new(env!("CARGO_BIN_EXE_tmkms"))
        .args(["state", "init", "chain-1"])
        .current_dir(home.directory.path())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let Output {
        status,
        stdout,
        stderr,
    } = home.check();
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    let record = format!(
        "ok: record {} of chain-1 has never signed\n",
        home.path("state.json").display()
    );
    let expected = format!("ok: configuration tmkms.toml\n{OPENS}{SHOWN}{record}")
        .replace("{addr}", &home.hsm.addr().to_string())
        .replace("{key}", KEY);
    assert_eq!(String::from_utf8_lossy(&stdout), expected);
    assert!(status.success());
}

#[test]
fn capabilities_that_are_held_in_vain_are_named() {
    let role = Capabilities::SIGN_EDDSA
        .with(Capabilities::SIGN_ECDSA)
        .with(Capabilities::GET_LOG_ENTRIES);
    let home = Home::new();
    home.key(
        1,
        Algorithm::ED25519,
        Capabilities::SIGN_EDDSA,
        Domains::ONE,
    );
    home.validator(role);
    home.finds(&format!(
        "{OPENS}{SHOWN}ok: authentication key 0x0004 of YubiHSM 0012345678 holds in vain: sign-ecdsa, get-log-entries"
    ));

    let home = Home::new();
    home.key(
        1,
        Algorithm::ED25519,
        Capabilities::SIGN_EDDSA,
        Domains::ONE,
    );
    home.validator(role.with(Capabilities::EXPORT_WRAPPED));
    home.finds(&format!(
        "{OPENS}{SHOWN}\
         warning: authentication key 0x0004 of YubiHSM 0012345678 holds in vain: sign-ecdsa, export-wrapped, get-log-entries\n\
         hint: signing needs sign-eddsa and nothing else; whoever learns the password can use the rest"
    ));
}

#[test]
fn a_missing_capability_is_named_with_the_key_that_lacks_it() {
    let home = Home::new();
    home.validator(Capabilities::GET_LOG_ENTRIES);
    home.key(
        1,
        Algorithm::ED25519,
        Capabilities::SIGN_EDDSA,
        Domains::ONE,
    );
    home.finds(&format!(
        "{OPENS}\
         error: YubiHSM 0012345678: authentication key 0x0004 lacks the capability sign-eddsa\n\
         hint: use an authentication key with sign-eddsa in `auth` (the validator role of `tmkms yubihsm setup` has it)"
    ));

    let home = Home::new();
    home.validator(Capabilities::SIGN_EDDSA);
    home.key(
        1,
        Algorithm::ED25519,
        Capabilities::EXPORTABLE_UNDER_WRAP,
        Domains::ONE,
    );
    home.finds(&format!(
        "{OPENS}\
         error: YubiHSM 0012345678: key 0x0001 lacks the capability sign-eddsa\n\
         hint: capabilities of a key are fixed when it is made: import its backup with this one, or make another"
    ));
}

#[test]
fn a_key_that_is_not_there_or_in_no_domain_of_ours_is_named() {
    let home = Home::new();
    home.validator(Capabilities::SIGN_EDDSA);
    let missing = format!(
        "{OPENS}\
         error: YubiHSM 0012345678: there is no asymmetric key 0x0001, or authentication key 0x0004 shares no domain with it\n\
         hint: `tmkms yubihsm keys list` shows the keys that are there; check `key` and the domains"
    );
    home.finds(&missing);
    home.key(1, Algorithm::ED25519, Capabilities::SIGN_EDDSA, Domains(2));
    home.finds(&missing);
}

#[test]
fn a_key_of_another_kind_is_named_with_its_algorithm() {
    let home = Home::new();
    home.validator(Capabilities::SIGN_EDDSA);
    home.key(
        1,
        Algorithm::ED25519,
        Capabilities::SIGN_EDDSA,
        Domains::ONE,
    );
    {
        // Its neighbours in the list of algorithms are none of the simulator's.
        let mut device = home.hsm.device();
        let mut objects = device.objects.iter_mut();
        let key = objects.find(|object| (object.kind, object.id) == (kind::ASYMMETRIC_KEY, 1));
        key.unwrap().algorithm = 12;
    }
    home.finds(&format!(
        "{OPENS}\
         error: YubiHSM 0012345678: key 0x0001 is a key for ecp256, which no consensus key is\n\
         hint: a consensus key is ed25519 or secp256k1: `tmkms yubihsm keys generate`"
    ));
}

#[test]
fn what_keeps_a_session_from_opening_is_told_with_its_remedy() {
    let home = Home::new();
    let Output { stdout, .. } = home.check();
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(
        stdout.contains("no session with authentication key 0x0004: object not found (0x0b)\nhint: the device has no authentication key 0x0004"),
        "{stdout}"
    );

    home.validator(Capabilities::SIGN_EDDSA);
    home.write("password", "another password");
    home.finds(
        "error: YubiHSM (tcp://{addr}): the password is not that of authentication key 0x0004\n\
         hint: check the password of authentication key 4 (0x0004); the factory's is `password`, of key 1",
    );
    home.write("password", PASSWORD);
    home.configure("serial_number = \"7550054\"\n");
    home.finds(
        "error: YubiHSM 0007550054 (tcp://{addr}): the device has serial number 0012345678, wanted is 0007550054\n\
         hint: check `serial_number`, and which device the connector serves; one that replaces another while tmkms runs is used after a restart",
    );
    home.configure("");
    fs::set_permissions(home.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let password = home.path("password").display().to_string();
    home.finds(&format!(
        "error: YubiHSM (tcp://{{addr}}): {password} has mode 0644: others than its owner can read or write it\n\
         hint: chmod 600 {password}"
    ));
    home.write("password", PASSWORD);
    home.hsm.unplug();
    home.finds(
        "error: YubiHSM (tcp://{addr}): the connector answers with HTTP status 500\n\
         hint: the connector runs but reaches no device: is it plugged in, is another program holding it? (`curl http://ADDR/connector/status`)",
    );
}

#[test]
fn a_full_log_is_told_before_it_stops_the_signer() {
    let home = Home::provisioned();
    home.hsm.device().audit.fill();
    home.finds(&format!(
        "{OPENS}\
         warning: YubiHSM 0012345678: the audit log is full (62 of 62 entries)\n\
         hint: under force audit it signs nothing then: as the auditor read the log and free it, see docs/yubihsm.md\n\
         {SHOWN}"
    ));
}

#[test]
fn an_account_key_is_looked_for_and_signs_nothing() {
    let home = Home::provisioned();
    home.key(
        0x1000,
        Algorithm::EC_K256,
        Capabilities::SIGN_ECDSA,
        Domains::ONE,
    );
    let text = fs::read_to_string(home.path("tmkms.toml")).unwrap();
    let both = "keys = [{ chain_ids = [\"chain-1\"], key = 0x1000, type = \"account\" }, ";
    home.write("tmkms.toml", &text.replace("keys = [", both));
    home.finds(&format!(
        "{OPENS}warning: account key 0x1000 in YubiHSM 0012345678 signs nothing\n{SHOWN}"
    ));
}

#[test]
fn a_hundred_checks_leave_no_session_behind() {
    let home = Home::provisioned();
    for _ in 0..100 {
        home.finds(&format!("{OPENS}{SHOWN}"));
    }
    assert_eq!(home.hsm.device().count(command::CREATE_SESSION), 100 + 2);
}
