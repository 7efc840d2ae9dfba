//! How long a signature takes, over loopback, from the request's first byte to the reply's last, beside the floor that the machine
//! itself sets and, with `--signer`, beside another signer: all interleaved in one run, since figures of different runs do not compare.
//!
//! `cargo bench --bench signing -- --help` names its options. Nothing here is a test; `--check` makes missed bars an exit code.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a program for the terminal that ends when it cannot measure; figures are shown with three digits"
)]

#[path = "signing/fleet.rs"]
mod fleet;
#[path = "signing/floor.rs"]
mod floor;
#[path = "signing/measure.rs"]
mod measure;
#[path = "../examples/validator/node_side.rs"]
mod node_side;
#[path = "../tests/support/process.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with tests that use more of it"
)]
mod process;
#[path = "signing/report.rs"]
mod report;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;

use fleet::{Fleet, Order, Program, Transport};
use measure::{Contest, Load};
use report::Report;

/// Measures the release binary, and another signer beside it.
#[derive(Debug, Parser)]
#[command(name = "signing")]
struct Options {
    /// Another signer that does the same work: tmkms 0.15.0, or any that reads its configuration.
    #[arg(long)]
    signer: Option<PathBuf>,
    /// Fewer rounds, up to 64 chains: about half a minute.
    #[arg(long)]
    short: bool,
    /// Numbers of chains to be served by one process.
    #[arg(long, value_delimiter = ',')]
    chains: Vec<usize>,
    /// Exit code 1 if a bar is missed.
    #[arg(long)]
    check: bool,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Where records lie when only the processor's work is to be measured.
const MEMORY: &str = "/dev/shm";

fn main() -> ExitCode {
    let options = Options::parse();
    fleet::raise_descriptor_limit();
    let programs = Programs {
        ours: Program::new("tmkms", Path::new(env!("CARGO_BIN_EXE_tmkms"))),
        other: options
            .signer
            .as_deref()
            .map(|path| Program::new("the other", path)),
        disk: tempdir(Path::new(env!("CARGO_TARGET_TMPDIR"))),
        memory: tempdir(Path::new(MEMORY)),
        heights: if options.short { 300 } else { 2_000 },
    };
    let mut report = Report::default();
    report.binary(&programs.ours, programs.other.as_ref());
    programs.latencies(&mut report);
    let chains = match options.chains.as_slice() {
        [] if options.short => vec![1, 16, 64],
        [] => vec![1, 16, 64, 1_000],
        given => given.to_vec(),
    };
    let time = Duration::from_secs(if options.short { 1 } else { 3 });
    for count in chains {
        programs.throughput(count, time, &mut report);
    }
    if report.finish() || !options.check {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What is measured, and where.
struct Programs {
    ours: Program,
    other: Option<Program>,
    disk: tempfile::TempDir,
    memory: tempfile::TempDir,
    heights: i64,
}

impl Programs {
    /// One chain, one request at a time.
    fn latencies(&self, report: &mut Report) {
        let disk = self.disk.path();
        let tcp = self.contest(disk, Transport::Tcp, Some(disk), self.other.as_ref());
        report.latency("tcp, durable", &tcp);
        report.tcp_bars(&tcp);
        let unix = self.contest(disk, Transport::Unix, Some(disk), self.other.as_ref());
        report.latency("unix, durable", &unix);
        report.unix_bars(&unix);
        let memory = self.memory.path();
        let cpu = self.contest(memory, Transport::Tcp, None, self.other.as_ref());
        report.latency("tcp, record in memory", &cpu);
        report.cpu_bars(&cpu);
        let extended = measure::extended(&self.ours, disk, self.heights);
        report.extended(&extended);
    }

    fn contest(
        &self,
        dir: &Path,
        transport: Transport,
        floor_disk: Option<&Path>,
        other: Option<&Program>,
    ) -> Contest {
        let order = Order {
            transport,
            chains: 1,
            extensions: false,
        };
        let ours = Fleet::launch(&self.ours, dir, order);
        let other = other.map(|other| Fleet::launch(other, dir, order));
        measure::contest(ours, other, floor_disk, self.heights)
    }

    /// Many chains in one process, each asking as fast as it is answered; the two signers take turns.
    fn throughput(&self, chains: usize, time: Duration, report: &mut Report) {
        const TURNS: usize = 3;
        let order = Order {
            transport: Transport::Tcp,
            chains,
            extensions: false,
        };
        let mut ours = Fleet::launch(&self.ours, self.disk.path(), order);
        // The original is not made for 1,000 chains, and its bar ends at 64.
        let mut other = self
            .other
            .as_ref()
            .filter(|_| chains <= 64)
            .map(|other| Fleet::launch(other, self.disk.path(), order));
        // A chain's p99 needs some hundred of its signatures.
        let time = if chains > 64 { time * 4 } else { time };
        let mut loads: [Vec<Load>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            loads[0].push(measure::load(&mut ours, time));
            if let Some(other) = &mut other {
                loads[1].push(measure::load(other, time));
            }
        }
        report.throughput(chains, &loads, ours.peak_memory());
    }
}

fn tempdir(parent: &Path) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("tmkms-bench-")
        .tempdir_in(parent)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", parent.display()))
}
