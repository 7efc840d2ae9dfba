//! The figures as a table, with the bars they have to reach.

use crate::{
    fleet::Program,
    measure::{Contest, Load, Samples},
};

/// Bars, gathered while the measurements print their figures.
#[derive(Default)]
pub(crate) struct Report {
    bars: Vec<Bar>,
}

struct Bar {
    figure: String,
    measured: String,
    bar: String,
    holds: bool,
}

const MIB: f64 = 1_024.0 * 1_024.0;

impl Report {
    pub(crate) fn binary(&mut self, ours: &Program, other: Option<&Program>) {
        println!("binaries");
        for program in std::iter::once(ours).chain(other) {
            let size = size_of(program);
            println!("  {:<22} {:>8.2} MB", program.name, size / 1e6);
        }
        let size = size_of(ours);
        self.bar("release binary", size / 1e6, "MB", 8.0);
    }

    /// All figures of one interleaved run.
    pub(crate) fn latency(&self, title: &str, contest: &Contest) {
        println!("\none chain, {title}: µs from request to reply");
        println!("  {:<22} {:>8} {:>8}", "", "p50", "p99");
        let line = |name: &str, samples: &Samples| {
            println!("  {name:<22} {:>8.1} {:>8.1}", samples.p50(), samples.p99());
        };
        line("tmkms", &contest.ours);
        if let Some(other) = &contest.other {
            line("the other signer", other);
        }
        line("the floor", &contest.floor);
        for (name, samples) in &contest.parts {
            if samples.p50() > 0.0 {
                line(&format!("  {name}"), samples);
            }
        }
        println!("  ratio to the floor     {:>8.2}", ratio(contest));
        if let Some(other) = &contest.other {
            let ratio = contest.ours.p50() / other.p50();
            println!("  ratio to the other     {ratio:>8.2}");
        }
    }

    pub(crate) fn tcp_bars(&mut self, contest: &Contest) {
        self.bar("p50, tcp, durable, to the floor", ratio(contest), "×", 1.3);
        self.other_bar("p50, tcp, durable, to the other", contest, 0.95);
        let spread = contest.ours.p99() / contest.ours.p50();
        self.bar("p99 to p50, tcp, durable", spread, "×", 2.0);
        self.bar("peak memory, 1 chain", mib(contest.memory), "MiB", 6.0);
    }

    pub(crate) fn unix_bars(&mut self, contest: &Contest) {
        self.bar("p50, unix, durable, to the floor", ratio(contest), "×", 1.3);
        self.other_bar("p50, unix, durable, to the other", contest, 0.9);
    }

    pub(crate) fn cpu_bars(&mut self, contest: &Contest) {
        self.other_bar("p50, tcp, record in memory, to the other", contest, 1.0);
    }

    /// Not under a bar: what an extension costs.
    pub(crate) fn extended(&self, samples: &[Samples; 2]) {
        let [plain, extended] = samples;
        println!("\na precommit over tcp, durable: µs");
        println!("  {:<22} {:>8} {:>8}", "", "p50", "p99");
        for (name, samples) in [("alone", plain), ("with its extension", extended)] {
            println!("  {name:<22} {:>8.1} {:>8.1}", samples.p50(), samples.p99());
        }
    }

    /// Loads of ours and, where there are any, of the other; `memory` is our peak in KiB.
    pub(crate) fn throughput(&mut self, chains: usize, loads: &[Vec<Load>; 2], memory: u64) {
        let [ours, other] = loads;
        println!("\n{chains} chains in one process, tcp, durable: signatures per second");
        let rate = median(ours.iter().map(|load| load.rate));
        println!("  {:<22} {rate:>8.0}", "tmkms");
        println!("  {:<22} {:>8.1} MiB", "  peak memory", mib(memory));
        let (p50, p99) = across_chains(ours);
        println!("  {:<22} {p50:>8.0} µs, the median chain's", "  p50");
        let (middle, slowest) = p99;
        println!("  {:<22} {middle:>8.0} µs, the median chain's", "  p99");
        println!("  {:<22} {slowest:>8.0} µs, the slowest chain's", "");
        if !other.is_empty() {
            let theirs = median(other.iter().map(|load| load.rate));
            println!("  {:<22} {theirs:>8.0}", "the other signer");
            println!("  {:<22} {:>8.2}", "ratio", rate / theirs);
            if chains > 1 {
                let figure = format!("signatures/s, {chains} chains, to the other");
                self.at_least(figure, rate / theirs, 2.3);
            }
        }
        match chains {
            64 => self.bar("peak memory, 64 chains", mib(memory), "MiB", 10.0),
            1_000 => {
                self.bar("peak memory, 1,000 chains", mib(memory), "MiB", 64.0);
                let spread = slowest / middle;
                self.bar("1,000 chains, slowest p99 to median p99", spread, "×", 3.0);
            }
            _ => {}
        }
    }

    /// Prints the bars; whether all of them hold.
    pub(crate) fn finish(self) -> bool {
        println!("\n{:<44} {:>12} {:>12}", "figure", "measured", "bar");
        for bar in &self.bars {
            let verdict = if bar.holds { "holds" } else { "MISSED" };
            println!(
                "{:<44} {:>12} {:>12}  {verdict}",
                bar.figure, bar.measured, bar.bar
            );
        }
        self.bars.iter().all(|bar| bar.holds)
    }

    fn other_bar(&mut self, figure: &str, contest: &Contest, at_most: f64) {
        if let Some(other) = &contest.other {
            self.bar(figure, contest.ours.p50() / other.p50(), "×", at_most);
        }
    }

    fn bar(&mut self, figure: &str, measured: f64, unit: &str, at_most: f64) {
        self.bars.push(Bar {
            figure: figure.to_owned(),
            measured: format!("{measured:.2} {unit}"),
            bar: format!("≤ {at_most} {unit}"),
            holds: measured <= at_most,
        });
    }

    fn at_least(&mut self, figure: String, measured: f64, at_least: f64) {
        self.bars.push(Bar {
            figure,
            measured: format!("{measured:.2} ×"),
            bar: format!("≥ {at_least} ×"),
            holds: measured >= at_least,
        });
    }
}

fn ratio(contest: &Contest) -> f64 {
    contest.ours.p50() / contest.floor.p50()
}

fn mib(kib: u64) -> f64 {
    kib as f64 * 1_024.0 / MIB
}

fn size_of(program: &Program) -> f64 {
    let metadata = std::fs::metadata(&program.path)
        .unwrap_or_else(|error| panic!("{}: {error}", program.path.display()));
    metadata.len() as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median chain's p50, and the median and the slowest chain's p99, each chain over all turns together.
fn across_chains(loads: &[Load]) -> (f64, (f64, f64)) {
    let chains = loads.first().map_or(0, |load| load.chains.len());
    let pooled = (0..chains).map(|chain| {
        let turns = loads.iter().filter_map(|load| load.chains.get(chain));
        Samples::new(turns.flatten().copied().collect())
    });
    let (p50, mut p99): (Vec<f64>, Vec<f64>) =
        pooled.map(|samples| (samples.p50(), samples.p99())).unzip();
    p99.sort_unstable_by(f64::total_cmp);
    let slowest = p99.last().copied().unwrap_or(f64::NAN);
    (median(p50.into_iter()), (median(p99.into_iter()), slowest))
}
