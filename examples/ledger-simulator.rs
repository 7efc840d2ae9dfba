//! A Ledger without the hardware: the simulator of the tests behind the emulator's framing, for trying `tmkms ledger` and a signer out. Its
//! key is worth nothing: anybody can read it in the sources.
//!
//! `cargo run --example ledger-simulator -- --port 9999`, then `adapter = { type = "tcp", addr = "tcp://127.0.0.1:9999" }`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

#[path = "../tests/support/ledger/mod.rs"]
mod simulator;

use std::io::{self, Write};

use clap::Parser;

use simulator::{Person, Screen, Simulator};

/// A Ledger with the validator's app open, on the loopback address. It ends with its standard input, which takes the words
/// confirm, refuse, lock, unlock, other-app, app, restart, pull and plug.
#[derive(Debug, Parser)]
#[command(name = "ledger-simulator")]
struct Arguments {
    /// The port; 0 takes any.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Confirm by itself what a person is asked.
    #[arg(long)]
    confirms: bool,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let person = if arguments.confirms {
        Person::Confirms
    } else {
        Person::Absent
    };
    let ledger = Simulator::start_at(arguments.port, person);
    println!("{}", ledger.addr());
    io::stdout().flush()?;
    for word in io::stdin().lines() {
        match word?.trim() {
            "" => {}
            word @ ("confirm" | "refuse") => {
                if !ledger.press_if_asked(word == "confirm") {
                    println!("nobody is asked");
                }
            }
            "lock" => ledger.show(Screen::Locked),
            "unlock" | "app" => ledger.show(Screen::Validator),
            "other-app" => ledger.show(Screen::OtherApp),
            "restart" => ledger.restart_app(),
            "pull" => ledger.pull(),
            "plug" => ledger.plug(),
            other => println!("unknown word: {other}"),
        }
    }
    Ok(())
}
