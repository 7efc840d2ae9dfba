//! `tmkms yubihsm …` as processes: many in a row, ended by a signal, asked at a terminal.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends by panicking"
)]

#[path = "support/yubihsm/mod.rs"]
mod simulator;

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use simulator::{Options, Simulator, codes::command, words};
use tmkms::keyring::providers::yubihsm::transport::usb;

/// A home whose configuration leads to a simulator.
fn home(hsm: &Simulator) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let text = format!(
        "[[providers.yubihsm]]\nadapter = {{ type = \"http\", addr = \"tcp://{}\" }}\nauth = {{ key = 1, password = \"password\" }}\n",
        hsm.addr()
    );
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(home.path().join("tmkms.toml")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    home
}

fn tmkms(home: &tempfile::TempDir, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tmkms"));
    command
        .args(arguments.split(' '))
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path());
    command
}

#[test]
fn a_hundred_commands_in_a_row_leave_no_session_open() {
    let hsm = Simulator::start(Options::default());
    words::apply(&hsm, "ed25519 1 1");
    let home = home(&hsm);
    for number in 0..100 {
        // Every other one fails: that is no reason to leave a session behind.
        let arguments = match number % 4 {
            0 => "yubihsm keys list",
            1 => "yubihsm test 1 -n 1",
            2 => "yubihsm keys generate 1",
            _ => "yubihsm keys export -i 7 backup",
        };
        let output = tmkms(&home, arguments).output().unwrap();
        assert_eq!(
            output.status.success(),
            number % 4 < 2,
            "{number}: {output:?}"
        );
        assert_eq!(hsm.device().open_sessions(), 0, "{number}: {arguments}");
    }
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn ctrl_c_ends_a_test_without_end_with_its_figures_and_without_its_session() {
    for signal in [Signal::INT, Signal::TERM] {
        let hsm = Simulator::start(Options::default());
        words::apply(&hsm, "ed25519 1 1");
        let home = home(&hsm);
        let mut child = tmkms(&home, "yubihsm test 0x0001")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..3 {
            let line = lines.next().unwrap().unwrap();
            assert!(
                line.starts_with("Success signed message using key ID #1 in "),
                "{line}"
            );
        }
        send(&child, signal);
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        let [.., count, times] = rest.as_slice() else {
            panic!("no figures: {rest:?}");
        };
        assert!(
            count.contains(" signatures in ") && count.ends_with(" 0 failed"),
            "{count}"
        );
        assert!(
            times.starts_with("min ") && times.contains("median "),
            "{times}"
        );
        assert!(child.wait().unwrap().success());
        assert_eq!(hsm.device().open_sessions(), 0);
    }
}

#[test]
fn ctrl_c_in_the_middle_of_a_command_leaves_no_session_open() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let hsm = Simulator::start(Options {
            latency: Duration::from_millis(100),
            ..Options::default()
        });
        words::apply(&hsm, "ed25519 1 1");
        let home = home(&hsm);
        let child = tmkms(&home, "yubihsm keys list")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while hsm.device().count(command::AUTHENTICATE_SESSION) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(&child, signal);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(hsm.device().open_sessions(), 0);
    }
}

/// `setup`, which waits for its answers.
fn set_up(home: &tempfile::TempDir) -> Child {
    tmkms(home, "yubihsm setup")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_test_goes_on_with_a_new_session_when_the_device_is_back() {
    // Slow, so that what is said fits into its pipe while nobody reads.
    let hsm = Simulator::start(Options {
        latency: Duration::from_millis(20),
        ..Options::default()
    });
    words::apply(&hsm, "ed25519 1 1");
    let home = home(&hsm);
    let mut child = tmkms(&home, "yubihsm test 1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let signed = || hsm.device().count(command::SIGN_EDDSA);
    let sign_more = || {
        let before = signed();
        while signed() < before + 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    sign_more();
    hsm.stop_connector();
    assert!(stderr.any(|line| line.unwrap().contains("cannot reach the connector")));
    hsm.restart_connector();
    sign_more();
    send(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains(" failed\nmin "), "{stdout}");
    // The connector took one with it.
    assert!(hsm.device().open_sessions() <= 1);
}

#[test]
fn detection_says_plainly_what_is_plugged_in_or_that_nothing_is() {
    let home = tempfile::tempdir().unwrap();
    let output = tmkms(&home, "yubihsm detect").output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    match usb::detect() {
        Ok(found) if !found.is_empty() => {
            assert!(
                stdout.starts_with("Detected YubiHSM2 USB devices:\n- Serial "),
                "{stdout}"
            );
            assert_eq!(stdout.lines().count(), found.len() + 1);
            assert!(output.status.success());
        }
        nothing => {
            assert!(
                stderr.starts_with("error: no YubiHSM2 devices detected!\n"),
                "{stderr}"
            );
            assert!(stderr.contains("hint: plug one in; "), "{stderr}");
            // Where USB cannot be looked at, that is said too.
            let why = nothing.err().map(|error| format!("cause: {error}"));
            assert!(stderr.contains(&why.unwrap_or_default()), "{stderr}");
            assert_eq!((output.status.code(), stdout.as_str()), (Some(1), ""));
        }
    }
}

#[test]
fn whoever_writes_words_on_paper_may_take_longer_than_a_session_lasts() {
    let hsm = Simulator::start(Options::default());
    words::apply(&hsm, "ed25519 1 1");
    let home = home(&hsm);
    let mut child = set_up(&home);
    let mut stderr = child.stderr.take().unwrap();
    let mut told = String::new();
    while !told.contains("(y/N): ") {
        let mut byte = [0];
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{told}");
        told.push(char::from(byte[0]));
    }
    assert_eq!(hsm.device().open_sessions(), 0);
    hsm.device().skip(Duration::from_secs(600));
    let answers = format!("y\n{}\n", hsm.serial());
    type_in(&mut child, &answers);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success(), "{rest}");
    // Nothing had to be tried twice.
    assert!(!rest.contains("trying again"), "{rest}");
    assert_eq!(hsm.device().objects.len(), 6);
}

#[test]
fn a_setup_that_is_interrupted_after_the_reset_finishes_first() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let hsm = Simulator::start(Options::default());
        let home = home(&hsm);
        let mut child = set_up(&home);
        let answers = format!("y\n{}\n", hsm.serial());
        type_in(&mut child, &answers);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let erased = lines.any(|line| line.unwrap() == "erased the device");
        assert!(erased);
        send(&child, signal);
        let last = lines.last().unwrap().unwrap();
        assert!(
            last.starts_with("now put the validator's password"),
            "{last}"
        );
        assert!(child.wait().unwrap().success());
        assert_eq!(hsm.device().objects.len(), 6);
        assert_eq!(hsm.device().open_sessions(), 0);
    }
}

#[test]
fn another_device_that_the_connector_finds_during_the_reset_is_not_erased() {
    // While a device restarts, a connector that serves whatever is plugged in serves the next one.
    let hsm = Simulator::start(Options {
        reset_takes: Duration::from_secs(3),
        ..Options::default()
    });
    let serial = hsm.serial();
    let home = home(&hsm);
    let mut child = set_up(&home);
    type_in(&mut child, &format!("y\n{serial}\n"));
    while hsm.device().count(command::RESET_DEVICE) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    hsm.device().serial += 1;
    words::apply(&hsm, "ed25519 1 1");
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("wanted is"), "{stderr}");
    assert!(stderr.contains("`tmkms yubihsm setup -r`"), "{stderr}");
    assert_eq!(hsm.device().count(command::RESET_DEVICE), 1, "{stderr}");
    assert_eq!(hsm.device().objects.len(), 2, "{stderr}");
}

#[test]
fn a_device_that_a_running_signer_uses_is_not_erased() {
    let hsm = Simulator::start(Options::default());
    words::apply(&hsm, "ed25519 1 1");
    words::apply(&hsm, "ed25519 2 2");
    let home = home(&hsm);
    let mut config = OpenOptions::new()
        .append(true)
        .open(home.path().join("tmkms.toml"))
        .unwrap();
    let keys =
        "keys = [{ chain_ids = [\"chain-1\"], key = 1 }, { chain_ids = [\"chain-1\"], key = 2 }]";
    let chain = "[[chain]]\nid = \"chain-1\"\nstate_file = \"record\"";
    config
        .write_all(format!("{keys}\n{chain}\n").as_bytes())
        .unwrap();
    // The public keys of the two seeds. Each key has a record of its own; either tells that the device is in use.
    for key in [
        "8A88E3DD7409F195FD52DB2D3CBA5D72CA6709BF1D94121BF3748801B40F6F5C",
        "8139770EA87D175F56A35466C34C7ECCCB8D8A91B4EE37A25DF60F5B8FC9B394",
    ] {
        let init = format!("state init chain-1 --key {key}");
        let init = tmkms(&home, &init).output().unwrap();
        assert!(init.status.success(), "{init:?}");
    }
    let records: Vec<_> = fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "tmkms.toml")
        .collect();
    assert_eq!(records.len(), 2, "{records:?}");
    for record in records {
        let held = File::open(&record).unwrap();
        held.lock().unwrap();
        let output = tmkms(&home, "yubihsm setup").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let holder = format!("process {} has the record", std::process::id());
        assert!(stderr.contains(&holder), "{record:?}: {stderr}");
        assert!(stderr.contains("nothing was erased"), "{stderr}");
        assert!(output.stdout.is_empty());
    }
    // Without them the command goes on to its questions.
    let output = tmkms(&home, "yubihsm setup").output().unwrap();
    assert!(!output.stdout.is_empty(), "{output:?}");
}

/// A terminal with a command at it.
struct AtTerminal {
    child: Child,
    keyboard: File,
    screen: String,
    /// Keeps the terminal's other end open, so that its state can be looked at.
    terminal: File,
}

impl AtTerminal {
    fn run(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name)
            .unwrap();
        let child = command
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            keyboard: File::from(master),
            screen: String::new(),
            terminal,
        }
    }

    /// Reads the screen until something stands there.
    fn wait_for(&mut self, text: &str) {
        let mut buffer = [0; 1_024];
        while !self.screen.contains(text) {
            let count = self.keyboard.read(&mut buffer).unwrap();
            self.screen
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    fn shows_what_is_typed(&self) -> bool {
        tcgetattr(&self.terminal)
            .unwrap()
            .local_modes
            .contains(LocalModes::ECHO)
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }
}

#[test]
fn a_password_is_not_shown_at_a_terminal_which_is_then_as_it_was() {
    let hsm = Simulator::start(Options::default());
    words::apply(&hsm, "auth 2 operator all");
    let home = home(&hsm);
    let mut at = AtTerminal::run(tmkms(&home, "yubihsm keys list --auth-key 2"));
    at.wait_for("Enter password for YubiHSM2 auth key 0x0002: ");
    while at.shows_what_is_typed() {
        std::thread::yield_now();
    }
    at.press("wrong\x15operatorr\x7f\r");
    at.wait_for("no keys in this YubiHSM");
    assert!(at.child.wait().unwrap().success());
    assert!(!at.screen.contains("operator"), "{}", at.screen);
    assert!(at.shows_what_is_typed());
}

#[test]
fn ctrl_c_at_a_question_leaves_the_terminal_as_it_was_and_the_device_alone() {
    let hsm = Simulator::start(Options::default());
    let home = home(&hsm);
    let mut at = AtTerminal::run(tmkms(&home, "yubihsm setup -r"));
    at.wait_for("*** Enter mnemonic (separate words with spaces): ");
    while at.shows_what_is_typed() {
        std::thread::yield_now();
    }
    at.press("abandon abandon\x03");
    at.wait_for("interrupted");
    assert_eq!(at.child.wait().unwrap().code(), Some(1));
    assert!(!at.screen.contains("abandon"), "{}", at.screen);
    assert!(at.shows_what_is_typed());
    assert!(hsm.device().asked.is_empty());
}

#[test]
fn a_phrase_never_reaches_a_log() {
    let hsm = Simulator::start(Options::default());
    let home = home(&hsm);
    let phrase = "abandon ".repeat(23) + "art";
    let mut child = tmkms(&home, "-v yubihsm setup -r --write-report report.json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = format!("{phrase}\ny\n{}\n", hsm.serial());
    type_in(&mut child, &answers);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let log = String::from_utf8(output.stderr).unwrap();
    let report = fs::read_to_string(home.path().join("report.json")).unwrap();
    for secret in ["abandon", "password-1", "483ec3f6"] {
        assert!(
            !log.contains(secret) && !report.contains(secret),
            "{secret}"
        );
        assert!(
            String::from_utf8_lossy(&output.stdout).contains(secret),
            "{secret}"
        );
    }
}

/// Everything that is typed at a command, and the end of it.
fn type_in(child: &mut Child, text: &str) {
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
}
