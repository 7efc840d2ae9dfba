//! What the running process lets others do: read no memory, dump no core, and look at a record that it holds but not touch it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking"
)]

use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tmkms::{
    connection::{self, Identity, Limits, secret_connection::Generation},
    crypto::{Algorithm, PublicKey},
    keyring::providers::softsign,
    privval::ChainId,
    protection::{
        Record,
        store::file::{self, FileStore},
    },
};

/// Anybody but root, whose files stay root's whatever a process says.
const NOBODY: u32 = 65_534;

/// A home with one chain, in a directory that goes with it.
struct Home {
    dir: tempfile::TempDir,
    key: PublicKey,
}

impl Home {
    fn new(addr: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = softsign::generate(Algorithm::Ed25519, &dir.path().join("key")).unwrap();
        let config = format!(
            r#"
            [[chain]]
            id = "chain-1"
            state_file = "state.json"

            [[validator]]
            addr = "{addr}"
            chain_id = "chain-1"
            secret_key = "identity"

            [[providers.softsign]]
            chain_ids = ["chain-1"]
            path = "key"
            "#
        );
        fs::write(dir.path().join("tmkms.toml"), config).unwrap();
        let home = Self { dir, key };
        let path = home.path("state.json");
        file::create(&path, &chain(), &home.key, &Record::never_signed()).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn tmkms(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_tmkms"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env_remove("TMKMS_CONFIG_FILE")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code(), text(stdout), text(stderr))
    }
}

fn chain() -> ChainId {
    ChainId::new("chain-1").unwrap()
}

/// A child that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nobody_reads_the_memory_of_the_process_and_it_dumps_no_core() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new(&format!("tcp://{}", node.local_addr().unwrap()));
    let binary = home.path("tmkms");
    fs::copy(env!("CARGO_BIN_EXE_tmkms"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command
        .args(["check", "--dial"])
        .current_dir(home.dir.path())
        .env_remove("TMKMS_CONFIG_FILE")
        .stdout(Stdio::null());
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        give_to_nobody(&home);
        command.uid(NOBODY).gid(NOBODY);
    }
    let running = Running(command.spawn().unwrap());
    // Once it dials it has read its keys, and it waits for our side of the handshake.
    let _connection = node.accept().unwrap();

    let proc = PathBuf::from(format!("/proc/{}", running.0.id()));
    let owner = fs::metadata(proc.join("mem")).unwrap().uid();
    assert_eq!(owner, 0, "the memory of a dumpable process is its user's");
    if !is_root {
        let error = fs::File::open(proc.join("mem")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    }
    let limits = fs::read_to_string(proc.join("limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.unwrap().split_ascii_whitespace().skip(4).collect();
    assert_eq!(core, ["0", "0", "bytes"]);
}

fn give_to_nobody(home: &Home) {
    let give = |path: &Path, mode| {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    give(home.dir.path(), 0o700);
    give(&home.path("tmkms"), 0o700);
    for name in ["key", "state.json", "tmkms.toml"] {
        give(&home.path(name), 0o600);
    }
}

#[test]
fn a_record_in_use_is_shown_and_checked_but_neither_changed_nor_dialled() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    node.set_nonblocking(true).unwrap();
    let home = Home::new(&format!("tcp://{}", node.local_addr().unwrap()));
    let opened = FileStore::open(&home.path("state.json"), &chain(), &home.key).unwrap();
    let holder = format!("process {}", std::process::id());

    let (code, stdout, stderr) = home.tmkms(&["state", "show"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains(&format!("held by: {holder}")), "{stdout}");

    fs::write(
        home.path("old.json"),
        r#"{"height":"9","round":"0","step":2}"#,
    )
    .unwrap();
    for arguments in [
        ["state", "raise", "chain-1", "--height=7"],
        ["state", "import", "chain-1", "old.json"],
        ["state", "init", "chain-1", "--height=7"],
    ] {
        let (code, stdout, stderr) = home.tmkms(&arguments);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{arguments:?}");
        let says_why = stderr.contains(&holder) || stderr.contains("exists already");
        assert!(says_why, "{arguments:?}: {stderr}");
    }

    let (code, stdout, stderr) = home.tmkms(&["check", "--dial"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stdout.contains(&format!("skipped: in use by {holder}")),
        "{stdout}"
    );
    assert!(node.accept().is_err(), "nobody dialled");

    let (code, stdout, stderr) = home.tmkms(&["state", "export", "chain-1"]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with(r#"{"height":"0""#), "{stdout}");
    assert!(
        stderr.starts_with("warning: ") && stderr.contains(&holder),
        "{stderr}"
    );

    // It was free to be changed all along.
    drop(opened);
    let (code, _, stderr) = home.tmkms(&["state", "raise", "chain-1", "--height=7"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_blocked_stderr_does_not_keep_a_failed_command_from_ending() {
    let (_reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b' '; 4_096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();

    let (ended, wait) = mpsc::channel();
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tmkms"))
        .args(["check", "-c", "none.toml"])
        .current_dir(dir.path())
        .stderr(Stdio::from(writer))
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    thread::spawn(move || ended.send(child.wait()));
    let status = wait.recv_timeout(Duration::from_secs(20));
    if status.is_err() {
        // Still our own child: nobody has waited for it.
        let _ = kill_process(pid, Signal::KILL);
    }
    assert_eq!(status.unwrap().unwrap().code(), Some(1));
}

#[test]
fn a_dial_completes_the_handshake_and_tells_who_answered() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = node.local_addr().unwrap();
    let identity = Identity::generate().unwrap();
    let id = identity.peer_id();
    let stranger = Identity::generate().unwrap().peer_id();
    let serve = thread::spawn(move || {
        for _ in 0..3 {
            let (stream, _) = node.accept().unwrap();
            // The third one hangs up when it sees who answers.
            let _ = connection::accept_tcp(stream, &identity, Duration::from_secs(10));
        }
    });

    let unpinned = Home::new(&format!("tcp://{addr}"));
    let (code, stdout, stderr) = unpinned.tmkms(&["check", "--dial"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let told =
        format!("warning: node chain-1@tcp://{addr} answers, with an unverified peer ID: {id}");
    assert!(stdout.contains(&told), "{stdout}");
    assert!(!unpinned.path("identity").exists(), "check made a key");

    let pinned = Home::new(&format!("tcp://{id}@{addr}"));
    let (code, stdout, _) = pinned.tmkms(&["check", "--dial"]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("its peer ID is the pinned one"), "{stdout}");

    let wrong = Home::new(&format!("tcp://{stranger}@{addr}"));
    let (code, stdout, _) = wrong.tmkms(&["check", "--dial"]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.contains(&format!("error: node chain-1@tcp://{addr}: ")),
        "{stdout}"
    );
    serve.join().unwrap();
}

#[test]
fn a_dial_tells_a_node_of_another_generation_than_the_pinned_one() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = node.local_addr().unwrap();
    let identity = Identity::generate().unwrap();
    let serve = thread::spawn(move || {
        for _ in 0..2 {
            let (stream, _) = node.accept().unwrap();
            let as_v033 = Generation::V033;
            connection::accept_tcp_as(as_v033, Limits::default(), stream, &identity).unwrap();
        }
    });
    let pinned = |version: &str| {
        let home = Home::new(&format!("tcp://{addr}\"\nprotocol_version = \"{version}"));
        let (code, stdout, _) = home.tmkms(&["check", "--dial"]);
        (code, stdout)
    };
    let (code, stdout) = pinned("v0.38");
    let said = "protocol_version is \"v0.38\", but the node speaks amino (Tendermint v0.33)";
    assert_eq!(code, Some(1), "{stdout}");
    assert!(
        stdout.contains(said) && !stdout.contains("answers"),
        "{stdout}"
    );
    let (code, stdout) = pinned("v0.33");
    assert_eq!(code, Some(0), "{stdout}");
    let said = "its requests name no chain, and whatever comes from there is signed for chain-1";
    assert!(stdout.contains(said), "{stdout}");
    serve.join().unwrap();
}

#[test]
fn a_signal_ends_start_in_order_and_its_log_is_one_object_a_line() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new(&format!("tcp://{}", node.local_addr().unwrap()));
    let child = Command::new(env!("CARGO_BIN_EXE_tmkms"))
        .args(["start", "--log-format", "json"])
        .current_dir(home.dir.path())
        .env_remove("TMKMS_CONFIG_FILE")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut running = Running(child);
    // It dials: the record is locked and the key is open.
    let _connection = node.accept().unwrap();
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    let status = running.0.wait().unwrap();

    let read = |mut from: Box<dyn Read>| {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    };
    let stdout = read(Box::new(running.0.stdout.take().unwrap()));
    let stderr = read(Box::new(running.0.stderr.take().unwrap()));
    assert_eq!((status.code(), stdout.as_str()), (Some(0), ""), "{stderr}");
    let messages: Vec<String> = stderr
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| object.get(name).and_then(|value| value.as_str());
            let timestamp = field("timestamp").unwrap();
            assert_eq!(
                (timestamp.len(), timestamp.get(19..20)),
                (24, Some(".")),
                "{timestamp}"
            );
            assert!(field("level").is_some(), "{line}");
            field("message").unwrap().to_owned()
        })
        .collect();
    let first = format!("tmkms {} starting up...", env!("CARGO_PKG_VERSION"));
    assert_eq!(messages.first(), Some(&first));
    assert_eq!(messages.last().unwrap(), "Shutdown completed successfully");
    let key = "[keyring:softsign] added consensus Ed25519 key: ";
    assert!(
        messages.iter().any(|message| message.starts_with(key)),
        "{messages:?}"
    );
}
