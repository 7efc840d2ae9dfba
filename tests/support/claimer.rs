//! A process of its own that claims places in a record: the test's own binary, started again as this one test.
//!
//! Asked by lines on its standard input, it answers on its standard output; left alone, it claims until it is killed.

use std::{
    env,
    io::{self, BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::SigningKey;
use tmkms::{
    crypto::PublicKey,
    privval::{BlockId, ChainId, ConsensusMsg, Echo, Hrs, Step, Timestamp, canonical},
    protection::{
        Candidate, Claim, Policy, Record, Store,
        store::file::{FileStore, OpenError, Opened, Problem, create},
    },
};

/// The record of the process that is started; its presence makes this test one.
const RECORD: &str = "TMKMS_TEST_CLAIMER_RECORD";

/// How it is to behave: absent when it is to be asked, a seed when it is left alone.
const SEED: &str = "TMKMS_TEST_CLAIMER_SEED";

/// Whether it makes the record when there is none.
const MAKES: &str = "TMKMS_TEST_CLAIMER_MAKES";

/// The blocks that are voted for.
pub const BLOCKS: [u8; 3] = [0xaa, 0xbb, 0xcc];

/// The chain of every record here.
pub fn chain() -> ChainId {
    ChainId::new("record-1").unwrap()
}

/// The key of every record here.
pub fn key() -> PublicKey {
    let key = SigningKey::from_bytes(&[7; 32]);
    PublicKey::ed25519(key.verifying_key().as_bytes()).unwrap()
}

/// Opens a record here, in the test's own process.
pub fn open(path: &Path) -> Result<Opened, OpenError> {
    FileStore::open(path, &chain(), &key())
}

/// Asks for a prevote; the block that may be signed there, or `None` if nothing may.
pub fn claim(store: &mut FileStore, height: i64, block: u8) -> Option<u8> {
    let msg = prevote(height, block);
    let candidate = Candidate {
        msg: &msg,
        policy: Policy::default(),
        now: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    };
    match store.claim(&candidate).unwrap() {
        Claim::Granted => Some(block),
        Claim::Recorded(recorded) => BLOCKS
            .into_iter()
            .find(|block| recorded.sign_bytes == prevote(height, *block).sign_bytes),
        Claim::Refused(_) => None,
    }
}

fn prevote(height: i64, block: u8) -> ConsensusMsg {
    let hrs = Hrs {
        height,
        round: 0,
        step: Step::Prevote,
    };
    let block_id = BlockId {
        hash: [block; 32],
        parts_total: 1,
        parts_hash: [block; 32],
    };
    let timestamp = Timestamp {
        seconds: 1_700_000_000,
        nanos: 0,
    };
    ConsensusMsg {
        hrs,
        block_id: Some(block_id),
        pol_round: -1,
        sign_bytes: canonical::sign_bytes(
            &chain(),
            Step::Prevote,
            (height, 0, -1),
            Some(&block_id),
            timestamp,
        ),
        echo: Echo::default(),
    }
}

/// What a claimer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Said {
    /// It has the record; its process ID.
    Held(u32),
    /// Another process has it, whose ID is this.
    Locked(u32),
    /// It cannot have the record.
    Failed(String),
    /// It may sign this block at this height.
    Signed(i64, u8),
    /// It may not sign there.
    Refused(i64),
}

impl Said {
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(match *words.as_slice() {
            ["claimer:", "held", pid, "."] => Self::Held(pid.parse().ok()?),
            ["claimer:", "locked", pid, "."] => Self::Locked(pid.parse().ok()?),
            ["claimer:", "signed", height, block, "."] => {
                Self::Signed(height.parse().ok()?, block.parse().ok()?)
            }
            ["claimer:", "refused", height, "."] => Self::Refused(height.parse().ok()?),
            ["claimer:", "failed", ..] => Self::Failed(line.to_owned()),
            _ => return None,
        })
    }
}

/// A running claimer; killed when it is dropped.
pub struct Claimer {
    pub child: Child,
    commands: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Claimer {
    /// One that waits to be asked.
    pub fn asked(record: &Path) -> Self {
        Self::spawn(record, None)
    }

    /// One that claims on its own.
    pub fn alone(record: &Path, seed: u64) -> Self {
        Self::spawn(record, Some(seed))
    }

    /// One that makes the record if there is none, and then waits to be asked; `calls` fail as strace's `inject` says.
    pub fn making(record: &Path, calls: &str) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-qqq", "-o", "/dev/null"])
            .arg(format!("--inject={calls}"))
            .arg(env::current_exe().unwrap())
            .env(MAKES, "yes")
            .stderr(Stdio::null());
        Self::start(command, record, None)
    }

    fn spawn(record: &Path, seed: Option<u64>) -> Self {
        Self::start(Command::new(env::current_exe().unwrap()), record, seed)
    }

    fn start(mut command: Command, record: &Path, seed: Option<u64>) -> Self {
        command
            .args(["--exact", "claimer::claims_are_granted_one_after_the_other"])
            .args(["--nocapture", "--test-threads=1"])
            .env(RECORD, record)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(seed) = seed {
            command.env(SEED, seed.to_string());
        }
        let mut child = command.spawn().unwrap();
        Self {
            commands: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        }
    }

    /// The next thing it says; `None` when it has ended. What it did not say to the end was not said.
    pub fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = Said::read(&self.answers.next()?.ok()?) {
                return Some(said);
            }
        }
    }

    /// Asks for a height and waits for the answer.
    pub fn claim(&mut self, height: i64, block: u8) -> Said {
        self.try_claim(height, block).unwrap()
    }

    /// Asks for a height; `None` if it ends instead of answering.
    pub fn try_claim(&mut self, height: i64, block: u8) -> Option<Said> {
        let commands = self.commands.as_mut()?;
        writeln!(commands, "{height} {block}").ok()?;
        self.next()
    }

    /// Lets it end by itself.
    pub fn finish(mut self) {
        self.commands = None;
        while self.next().is_some() {}
        self.child.wait().unwrap();
    }

    /// `kill -9`, and waits until it is gone. What it said before can still be read.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Claimer {
    fn drop(&mut self) {
        // It has ended already, or this ends it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a test run: a short life of a claimer. In a process that [`Claimer`] started: the claimer.
#[test]
fn claims_are_granted_one_after_the_other() {
    if let Some(record) = env::var_os(RECORD) {
        let seed = env::var(SEED).ok().map(|seed| seed.parse().unwrap());
        return serve(&PathBuf::from(record), seed);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    let never = Record::never_signed();
    create(&path, &chain(), &key(), &never).unwrap();
    let mut claimer = Claimer::asked(&path);
    assert_eq!(claimer.next(), Some(Said::Held(claimer.child.id())));
    for height in 1..=3 {
        assert_eq!(claimer.claim(height, 0xaa), Said::Signed(height, 0xaa));
        assert_eq!(claimer.claim(height, 0xbb), Said::Refused(height));
    }
}

fn serve(record: &Path, seed: Option<u64>) {
    if env::var_os(MAKES).is_some() && !record.exists() {
        let never = Record::never_signed();
        if let Err(error) = create(record, &chain(), &key(), &never) {
            return say(&format!("failed {error}"));
        }
    }
    let mut store = match open(record) {
        Ok(opened) => opened.store,
        Err(error) => {
            return match error.problem {
                Problem::Locked { holder } => say(&format!("locked {}", holder.unwrap_or(0))),
                _ => say(&format!("failed {error}")),
            };
        }
    };
    say(&format!("held {}", std::process::id()));
    match seed {
        Some(seed) => claim_until_killed(&mut store, seed),
        None => claim_as_asked(&mut store),
    }
}

fn claim_as_asked(store: &mut FileStore) {
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let (height, block) = line.split_once(' ').unwrap();
        attempt(store, height.parse().unwrap(), block.parse().unwrap());
    }
}

/// First tries to contradict what it finds, then goes on with one block a height.
fn claim_until_killed(store: &mut FileStore, seed: u64) {
    let last = store.record().hrs.height;
    for block in BLOCKS {
        attempt(store, last, block);
    }
    for height in last + 1.. {
        let choice = usize::try_from((seed ^ height.unsigned_abs()) % 3).unwrap();
        attempt(store, height, BLOCKS[choice]);
    }
}

fn attempt(store: &mut FileStore, height: i64, block: u8) {
    match claim(store, height, block) {
        Some(block) => say(&format!("signed {height} {block}")),
        None => say(&format!("refused {height}")),
    }
}

/// One line by one write; the full stop shows that it is whole. The test runner may have begun a line of its own.
fn say(what: &str) {
    let mut out = io::stdout().lock();
    out.write_all(format!("\nclaimer: {what} .\n").as_bytes())
        .unwrap();
    out.flush().unwrap();
}
