//! What signals do to a signer that serves, also while its disk hangs.
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "../examples/validator/node_side.rs"]
mod node_side;
mod support;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use node_side::{Answer, Ballot, Link, Listener, Validator, block, now};
use rustix::process::{Pid, Signal, kill_process};
use support::{process::Process, signer::SignerHome, skip, wait_for};
use tempfile::TempDir;
use tmkms::privval::{ChainId, Step};

const PATIENCE: Duration = Duration::from_secs(30);

/// A signer and the one node that it serves.
struct Served {
    link: Link,
    validator: Validator,
    process: Process,
    /// The signer itself, where `process` is what traces it.
    pid: Pid,
    record: PathBuf,
    _home: SignerHome,
    _sockets: TempDir,
}

impl Served {
    /// Serves one chain. `tracer`: what the signer is run under, given its record.
    fn new(tracer: impl FnOnce(PathBuf) -> Option<Command>) -> Self {
        let id = "signals-1";
        let chain = ChainId::new(id).expect("a chain ID");
        let sockets = tempfile::tempdir().expect("a temporary directory");
        let addr = format!("unix://{}/node.sock", sockets.path().display());
        let listener = Listener::bind(&addr).expect("a socket of our own");
        let home = SignerHome::with_chains(
            env!("CARGO_BIN_EXE_tmkms"),
            &[support::signer::Chain {
                id: id.to_owned(),
                record: "state.json".into(),
                addrs: vec![addr],
            }],
        );
        let record = home.config().with_file_name("state.json");
        let (process, pid) = match tracer(record.clone()) {
            None => {
                let process = home.start();
                let pid = pid_of(process.id());
                (process, pid)
            }
            Some(mut command) => {
                command
                    .arg(env!("CARGO_BIN_EXE_tmkms"))
                    .args(["start", "-c"])
                    .arg(home.config());
                let log = home.config().with_file_name("traced.log");
                let process = Process::start("tmkms under strace", &mut command, &log);
                let pid = child_of(process.id());
                (process, pid)
            }
        };
        let mut link = wait_for("the signer's connection", PATIENCE, || {
            listener.accept(|| false).ok().flatten()
        });
        let validator = Validator::meet(&mut link, &chain).expect("a public key");
        Self {
            link,
            validator,
            process,
            pid,
            record,
            _home: home,
            _sockets: sockets,
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("our own child can be signalled");
    }

    fn sign(&mut self, height: i64) -> Answer {
        let answer = self.validator.ask(&mut self.link, &prevote(height));
        answer.expect("an answer on a living connection")
    }

    /// The exit code of the signer.
    ///
    /// strace may lose sight of a process that ends within a delayed call, so it is read from the system's table.
    fn ends(&mut self, patience: Duration) -> Option<i32> {
        let stat = format!("/proc/{}/stat", self.pid);
        if self.process.id() == self.pid.as_raw_nonzero().get().unsigned_abs() {
            return self.process.wait(patience).code();
        }
        wait_for("the signer's end", patience, || {
            let Ok(text) = fs::read_to_string(&stat) else {
                // strace has seen the end, and ends in the same way.
                return Some(self.process.wait(patience).code());
            };
            // After the name, which stands in parentheses: the state; the last field is the status that a parent would get.
            let (_, fields) = text.rsplit_once(") ")?;
            let status: i32 = fields.rsplit(' ').next()?.trim().parse().ok()?;
            fields.starts_with('Z').then_some(Some(status >> 8))
        })
    }
}

fn prevote(height: i64) -> Ballot {
    Ballot {
        step: Step::Prevote,
        height,
        round: 0,
        block: Some(block(height, 0)),
        timestamp: now(),
        extension: None,
    }
}

fn pid_of(id: u32) -> Pid {
    let id = i32::try_from(id).expect("a process ID");
    Pid::from_raw(id).expect("not zero")
}

/// The one child of a process: a signal to strace itself would only detach it.
fn child_of(id: u32) -> Pid {
    let children = format!("/proc/{id}/task/{id}/children");
    wait_for("strace's child", PATIENCE, || {
        let text = fs::read_to_string(&children).ok()?;
        let child: u32 = text.split_ascii_whitespace().next()?.parse().ok()?;
        // Before that it is strace's own fork, which has not become the signer yet.
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim() == "tmkms").then(|| pid_of(child))
    })
}

/// A signer whose third signature waits `delay` for its sync, and is waiting now. (Opening the record takes another thread two
/// syncs, and strace counts for each thread.)
fn while_a_sync_takes(delay: Duration) -> Option<Served> {
    if Command::new("strace").arg("-V").output().is_err() {
        skip("a signer whose disk hangs", "strace is not installed");
        return None;
    }
    let mut served = Served::new(|record| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]);
        strace.arg(record).args(["-e", "trace=fdatasync", "-e"]);
        let micros = delay.as_micros();
        strace.arg(format!("inject=fdatasync:delay_enter={micros}:when=3"));
        Some(strace)
    });
    for height in 1..3 {
        assert!(matches!(served.sign(height), Answer::Signed(_)));
    }
    let before = fs::read(&served.record).expect("the record");
    let request = served.validator.request(&prevote(3));
    served.link.send_raw(&request).expect("it is sent");
    wait_for("the write before the sync", PATIENCE, || {
        let now = fs::read(&served.record).ok()?;
        (now != before).then_some(())
    });
    Some(served)
}

#[test]
fn a_hangup_changes_nothing() {
    let mut served = Served::new(|_| None);
    assert!(matches!(served.sign(1), Answer::Signed(_)));
    served.send(Signal::HUP);
    for height in 2..20 {
        assert!(matches!(served.sign(height), Answer::Signed(_)));
    }
    served.send(Signal::TERM);
    assert_eq!(served.ends(Duration::from_secs(2)), Some(0));
}

#[test]
fn the_request_in_flight_is_finished_after_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let Some(mut served) = while_a_sync_takes(Duration::from_millis(700)) else {
            return;
        };
        served.send(signal);
        let reply = served.link.exchange(b"").expect("a reply").to_vec();
        let answer = served.validator.read(&prevote(3), &reply);
        assert!(matches!(answer, Ok(Answer::Signed(_))), "{answer:?}");
        assert_eq!(served.ends(Duration::from_secs(2)), Some(0));
    }
}

#[test]
fn a_disk_that_hangs_does_not_keep_the_process_from_ending() {
    let Some(mut served) = while_a_sync_takes(Duration::from_secs(60)) else {
        return;
    };
    let signalled = Instant::now();
    served.send(Signal::TERM);
    assert_eq!(served.ends(PATIENCE), Some(0));
    let took = signalled.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let Some(mut served) = while_a_sync_takes(Duration::from_secs(60)) else {
        return;
    };
    served.send(Signal::TERM);
    // The first one is handled when its notice is logged; two of a kind sent at once would be delivered as one.
    wait_for("the first signal to be handled", PATIENCE, || {
        let stopping = fs::read_to_string(format!("/proc/{}/status", served.pid)).ok()?;
        stopping.contains("SigPnd:\t0000000000000000").then_some(())
    });
    let signalled = Instant::now();
    served.send(Signal::INT);
    assert_eq!(served.ends(PATIENCE), Some(130));
    let took = signalled.elapsed();
    assert!(took < Duration::from_millis(1_000), "{took:?}");
}
