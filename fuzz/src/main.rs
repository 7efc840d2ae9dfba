//! A seeded fuzzer for the stable compiler: mutants of a small corpus, and mutants of mutants that made a reader behave in a
//! new way.
//!
//! ```text
//! cargo run --release --manifest-path fuzz/Cargo.toml -- TARGET [--seconds N] [--seed N]
//! cargo run --release --manifest-path fuzz/Cargo.toml -- TARGET --input HEX
//! ```
//!
//! Exit code 0: nothing found. 1: an input made its reader panic or break a property; it is printed in hexadecimal and
//! `--input` runs it again. 2: usage.

use std::{
    collections::HashSet,
    env,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use subtle_encoding::hex;

mod mutator;
mod targets;

use crate::{
    mutator::Mutator,
    targets::{NAMES, Target},
};

/// Bounds on what is kept of the inputs that did something new.
const KEPT_INPUTS: usize = 4_096;
const KEPT_BYTES: usize = 16 << 20;

/// How many executions pass between two looks at the clock.
const BATCH: u32 = 64;

/// What a panic said, for the report; the default hook would print every one.
static PANIC: Mutex<String> = Mutex::new(String::new());

struct Options {
    target: String,
    time: Duration,
    seed: u64,
    input: Option<Vec<u8>>,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: TARGET [--seconds N] [--seed N] [--input HEX]");
        eprintln!("targets: {}", NAMES.join(" "));
        return ExitCode::from(2);
    };
    let Some(mut target) = targets::open(&options.target) else {
        eprintln!(
            "no target `{}`; there are: {}",
            options.target,
            NAMES.join(" ")
        );
        return ExitCode::from(2);
    };
    panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = PANIC.lock() {
            *last = info.to_string();
        }
    }));
    let found = match &options.input {
        Some(input) => match once(target.as_mut(), input) {
            Ok(_) => {
                println!("{}: nothing found", options.target);
                None
            }
            Err(why) => Some((input.clone(), why)),
        },
        None => search(target.as_mut(), &options),
    };
    match found {
        None => ExitCode::SUCCESS,
        Some((input, why)) => {
            println!("{}: FOUND: {why}", options.target);
            println!("input: {}", String::from_utf8_lossy(&hex::encode(&input)));
            ExitCode::FAILURE
        }
    }
}

fn options() -> Option<Options> {
    let mut arguments = env::args().skip(1);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let mut options = Options {
        target: arguments.next()?,
        time: Duration::from_secs(30),
        seed: clock.as_secs() << 20 | u64::from(clock.subsec_micros()),
        input: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--seconds" => options.time = Duration::from_secs(value.parse().ok()?),
            "--seed" => options.seed = value.parse().ok()?,
            "--input" => options.input = Some(hex::decode(value).ok()?),
            _ => return None,
        }
    }
    Some(options)
}

/// Runs mutants until the time is up; the first input that breaks something, and what it broke.
fn search(target: &mut dyn Target, options: &Options) -> Option<(Vec<u8>, String)> {
    println!("{}: seed {}", options.target, options.seed);
    let mut corpus = target.corpus();
    let mut behaviours = HashSet::new();
    let started = Instant::now();
    let mut executions = 0_u64;
    for seed in &corpus {
        match once(target, seed) {
            Ok(behaviour) => behaviours.insert(behaviour),
            Err(why) => return Some((seed.clone(), why)),
        };
        executions += 1;
    }
    let mut kept_bytes = corpus.iter().map(Vec::len).sum::<usize>();
    let mut mutator = Mutator::new(options.seed, target.longest(), target.words());
    while started.elapsed() < options.time {
        for _ in 0..BATCH {
            let input = mutator.mutant(&corpus);
            executions += 1;
            match once(target, &input) {
                Err(why) => return Some((input, why)),
                Ok(behaviour) => {
                    let room = corpus.len() < KEPT_INPUTS && kept_bytes + input.len() < KEPT_BYTES;
                    if room && behaviours.insert(behaviour) {
                        kept_bytes += input.len();
                        corpus.push(input);
                    }
                }
            }
        }
    }
    println!(
        "{}: {executions} executions in {} s, {} behaviours, nothing found (seed {})",
        options.target,
        started.elapsed().as_secs(),
        behaviours.len(),
        options.seed
    );
    None
}

/// Runs one input. What the reader did, as a number, or what it broke.
fn once(target: &mut dyn Target, input: &[u8]) -> Result<u64, String> {
    let ran = panic::catch_unwind(AssertUnwindSafe(|| target.run(input)));
    match ran {
        Ok(Ok(behaviour)) => {
            let mut hasher = DefaultHasher::new();
            // Numbers in an error's text make no new behaviour.
            behaviour
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .for_each(|c| c.hash(&mut hasher));
            Ok(hasher.finish())
        }
        Ok(Err(why)) => Err(why),
        Err(_) => Err(PANIC
            .lock()
            .map_or_else(|_| "panic".to_owned(), |text| text.clone())),
    }
}
