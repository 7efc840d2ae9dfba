//! A YubiHSM2 without the hardware: the simulator of the tests behind its HTTP connector, for trying `tmkms yubihsm` out and for the
//! benchmark. Its keys are worth nothing: they are in memory only, and end with it.
//!
//! `cargo run --example yubihsm-simulator -- --port 12345`, then `adapter = { type = "http", addr = "tcp://127.0.0.1:12345" }` and
//! `auth = { key = 1, password = "password" }`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

#[path = "../tests/support/yubihsm/mod.rs"]
mod simulator;

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Parser;

use simulator::{Options, Simulator, words};

/// A YubiHSM2 behind an HTTP connector on the loopback address. Its standard input takes words as `--is` does; it ends with it.
#[derive(Debug, Parser)]
#[command(name = "yubihsm-simulator")]
struct Arguments {
    /// The connector's port; 0 takes any.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The device's serial number.
    #[arg(long, default_value_t = 12_345_678)]
    serial: u32,
    /// Behave like firmware 2.3: no second page of information, messages of up to 2,048 bytes.
    #[arg(long)]
    old: bool,
    /// Milliseconds that the device takes for each message.
    #[arg(long, default_value_t = 0)]
    latency: u64,
    /// Milliseconds that the device is away after a reset.
    #[arg(long, default_value_t = 0)]
    reset: u64,
    /// What it has and what befalls it: a line of `tests/support/yubihsm/words.rs`, such as "ed25519 1 7" or "log-full".
    #[arg(long)]
    is: Vec<String>,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let hsm = Simulator::start(Options {
        serial: arguments.serial,
        firmware: if arguments.old { [2, 3, 2] } else { [2, 4, 1] },
        port: arguments.port,
        latency: Duration::from_millis(arguments.latency),
        reset_takes: Duration::from_millis(arguments.reset),
    });
    for words in &arguments.is {
        words::apply(&hsm, words);
    }
    println!("{}", hsm.url());
    io::stdout().flush()?;
    // More words may come. Whoever started it holds the other end: nothing is left behind when that process dies.
    for words in io::stdin().lines() {
        let words = words?;
        if !words.is_empty() {
            words::apply(&hsm, &words);
        }
    }
    Ok(())
}
