//! A stand-in for a validator node: it listens for a signer, asks it for a proposal, a prevote and a precommit per height, and
//! verifies every signature over sign bytes of its own making. There is no chain behind it.
//!
//! `cargo run --example validator -- --help` names its options.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal"
)]

#[path = "validator/node_side.rs"]
mod node_side;

use std::{
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use tmkms::privval::{ChainId, Step};

use node_side::{Answer, Ballot, Link, Listener, Validator, block, now};

/// A stand-in for a validator node, for trying out a signer without a chain.
#[derive(Debug, Parser)]
#[command(name = "validator")]
struct Options {
    /// Where the signer dials in: `tcp://HOST:PORT` (port 0 takes any) or `unix:///PATH`.
    #[arg(long, default_value = "tcp://127.0.0.1:26658")]
    listen: String,
    /// The chain's ID.
    #[arg(long, default_value = "stand-in-1")]
    chain_id: String,
    /// Ends after this many blocks; 0 goes on until it is stopped.
    #[arg(long, default_value_t = 0)]
    blocks: u64,
    /// The first height.
    #[arg(long, default_value_t = 1)]
    from_height: i64,
    /// How fast heights follow each other; 0 is as fast as the signer signs.
    #[arg(long, default_value_t = 1.0)]
    heights_per_second: f64,
    /// Adds a vote extension of this many bytes to every precommit.
    #[arg(long)]
    extension: Option<usize>,
    /// Machine-readable lines: `listening ADDR`, `signer KEY`, `block height=… hash=… signer=… micros=…`.
    #[arg(long)]
    lines: bool,
    /// After the last block, asks for what must be refused; exit code 3 if it gets it.
    #[arg(long, value_enum, requires = "blocks")]
    misbehave: Option<Misbehaviour>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Misbehaviour {
    /// Another block where one was voted for.
    Conflict,
    /// A vote one height back.
    Regression,
    /// A height so far ahead that signing it would brick the validator.
    Jump,
}

/// Exit code of a signer that signed what it must refuse.
const WRONGLY_SIGNED: u8 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    let run = Run::new(&options, &stop).and_then(|mut run| run.make_blocks());
    match run {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run of the stand-in.
struct Run<'a> {
    options: &'a Options,
    stop: &'a AtomicBool,
    chain: ChainId,
    listener: Listener,
    link: Option<(Link, Validator)>,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options, stop: &'a AtomicBool) -> io::Result<Self> {
        let listener = Listener::bind(&options.listen)?;
        let addr = listener.addr()?;
        if options.lines {
            println!("listening {addr}");
        } else {
            println!("waiting for a signer on {addr} …");
        }
        Ok(Self {
            options,
            stop,
            chain: ChainId::new(&options.chain_id).map_err(io::Error::other)?,
            listener,
            link: None,
        })
    }

    fn make_blocks(&mut self) -> io::Result<ExitCode> {
        let pace = self.options.heights_per_second;
        let pace = (pace > 0.0).then(|| Duration::from_secs_f64(1.0 / pace));
        let mut height = self.options.from_height;
        let mut made = 0;
        while !self.stopped() && (self.options.blocks == 0 || made < self.options.blocks) {
            let begun = Instant::now();
            if !self.make_block(height)? {
                break;
            }
            made += 1;
            height += 1;
            self.idle_until(pace.map(|pace| begun + pace))?;
        }
        match self.options.misbehave {
            Some(kind) if !self.stopped() => self.misbehave(kind, height - 1),
            _ => Ok(ExitCode::SUCCESS),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Proposal, prevote, precommit. `false` when it was stopped meanwhile.
    fn make_block(&mut self, height: i64) -> io::Result<bool> {
        let block = block(height, 0);
        let mut total = Duration::ZERO;
        for step in [Step::Proposal, Step::Prevote, Step::Precommit] {
            // One ballot per step, however often a connection is lost: a node does not change its mind.
            let ballot = Ballot {
                step,
                height,
                round: 0,
                block: Some(block),
                timestamp: now(),
                extension: self.extension(step, height),
            };
            match self.ask(&ballot)? {
                None => return Ok(false),
                Some((Answer::Signed(_), took)) => total += took,
                Some((refused, _)) => {
                    let message = format!("{step} at height {height} was not signed: {refused:?}");
                    return Err(io::Error::other(message));
                }
            }
        }
        self.tell(height, &block.hash, total);
        Ok(true)
    }

    fn extension(&self, step: Step, height: i64) -> Option<Vec<u8>> {
        let size = self.options.extension?;
        let fill = height.to_le_bytes()[0];
        (step == Step::Precommit).then(|| vec![fill; size])
    }

    /// Asks until a signer answers, and how long that answer took; `None` when stopped. A lost connection is waited for anew, as a
    /// node does.
    fn ask(&mut self, ballot: &Ballot) -> io::Result<Option<(Answer, Duration)>> {
        loop {
            let Some((link, validator)) = self.connected()? else {
                return Ok(None);
            };
            let asked = Instant::now();
            match validator.ask(link, ballot) {
                Ok(Answer::TryAgain) => std::thread::sleep(Duration::from_millis(100)),
                Ok(answer) => return Ok(Some((answer, asked.elapsed()))),
                Err(error) if is_of_the_connection(&error) => {
                    eprintln!("the signer is gone ({error}), waiting for it …");
                    self.link = None;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn connected(&mut self) -> io::Result<Option<&mut (Link, Validator)>> {
        while self.link.is_none() {
            let link = self.listener.accept(|| self.stop.load(Ordering::Relaxed));
            let link = match link {
                Ok(Some(link)) => link,
                Ok(None) => return Ok(None),
                Err(error) => {
                    eprintln!("a signer did not get through the handshake: {error}");
                    continue;
                }
            };
            self.greet(link)?;
        }
        Ok(self.link.as_mut())
    }

    fn greet(&mut self, mut link: Link) -> io::Result<()> {
        match Validator::meet(&mut link, &self.chain) {
            Ok(validator) => {
                let key = hex(&validator.key.to_bytes());
                if self.options.lines {
                    println!("signer {key}");
                } else {
                    println!("a signer has come, with the public key {key}");
                }
                self.link = Some((link, validator));
                Ok(())
            }
            Err(error) if is_of_the_connection(&error) => {
                eprintln!("the signer left before it gave a public key ({error})");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&self, height: i64, hash: &[u8], took: Duration) {
        let Some((_, validator)) = &self.link else {
            return;
        };
        let (hash, signer) = (hex(hash), hex(&validator.address()));
        let micros = took.as_micros();
        if self.options.lines {
            println!("block height={height} hash={hash} signer={signer} micros={micros}");
        } else {
            println!("height {height}  block {hash}  signed by {signer}  in {micros} µs");
        }
    }

    /// Waits for the next height; a node pings its signer while it has nothing to sign.
    fn idle_until(&mut self, next: Option<Instant>) -> io::Result<()> {
        let Some(next) = next else {
            return Ok(());
        };
        let mut pinged = Instant::now();
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stopped() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
            if pinged.elapsed() < Duration::from_millis(3_333) {
                continue;
            }
            pinged = Instant::now();
            let Some((link, _)) = &mut self.link else {
                continue;
            };
            match Validator::ping(link) {
                Ok(()) => {}
                Err(error) if is_of_the_connection(&error) => self.link = None,
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks for something that no signer may sign after `last`.
    fn misbehave(&mut self, kind: Misbehaviour, last: i64) -> io::Result<ExitCode> {
        let (height, salt) = match kind {
            Misbehaviour::Conflict => (last, 1),
            Misbehaviour::Regression => (last - 1, 1),
            Misbehaviour::Jump => (last.saturating_add(1 << 40), 0),
        };
        let ballot = Ballot {
            step: Step::Precommit,
            height,
            round: 0,
            block: Some(block(height, salt)),
            timestamp: now(),
            extension: None,
        };
        Ok(match self.ask(&ballot)? {
            None => ExitCode::SUCCESS,
            Some((Answer::Refused { code, description }, _)) => {
                println!("refused code={code} {description}");
                ExitCode::SUCCESS
            }
            Some((answer, _)) => {
                eprintln!("error: {kind:?} was answered with {answer:?}");
                ExitCode::from(WRONGLY_SIGNED)
            }
        })
    }
}

/// Whether the other side went away, rather than answered wrongly.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
    )
}

fn hex(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&subtle_encoding::hex::encode_upper(bytes)).into_owned()
}
