//! `tmkms ledger`: the Ledger on the table. No node, no record and no running `tmkms start` takes part.

use std::{fmt::Write as _, time::Duration};

use clap::Subcommand;

use crate::{
    chain,
    commands::{Failure, Global, note, output},
    config::{Config, ConsensusKey},
    crypto::PublicKey,
    keyring::{
        format::format_key,
        providers::ledgertm::{Adapter, Device, LedgerError, Standing, StatusWord, attached},
    },
    protection::store::file::{self, RecordPath},
    shutdown::Shutdown,
};

/// How long a person has to press the buttons.
const PERSON: Duration = Duration::from_secs(300);

/// Look at a Ledger, and tell its app where the chain stands
#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
    /// List the Ledgers that are plugged in
    ///
    /// Nothing is sent to them: a locked one is listed too.
    Detect,
    /// Show the open app, its version and the public key
    Show {
        #[command(flatten)]
        device: Choice,
    },
    /// Tell the app at which height and round the chain stands
    ///
    /// The app keeps the last height and round in a memory that is empty after each start. This has it sign a proposal for a chain that
    /// cannot exist, at the given height and round: what it signs after that is of the same height and round or later. A person confirms it
    /// on the device, and the first vote no longer has to wait for one.
    Init {
        /// The height to begin with, at least 1
        // `-h` is help everywhere.
        #[arg(short = 'H', long, value_name = "HEIGHT", value_parser = clap::value_parser!(i64).range(1..))]
        height: i64,

        /// The round to begin with, 0 to 255
        #[arg(short, long, value_name = "ROUND", value_parser = clap::value_parser!(i64).range(0..=255))]
        round: i64,

        #[command(flatten)]
        device: Choice,
    },
    /// `ledger init` as 0.6 to 0.12 called it, where `-h` is the height
    #[command(hide = true, disable_help_flag = true)]
    Initialise {
        #[arg(short = 'h', short_alias = 'H', long, value_name = "HEIGHT", value_parser = clap::value_parser!(i64).range(1..))]
        height: i64,

        #[arg(short, long, value_name = "ROUND", value_parser = clap::value_parser!(i64).range(0..=255))]
        round: i64,

        #[command(flatten)]
        device: Choice,
    },
}

/// Which device is meant; the configuration says it where there is one, and the only one that is plugged in needs no word.
#[derive(clap::Args, Debug)]
pub(super) struct Choice {
    /// The device's path, as `ledger detect` prints it
    #[arg(long, value_name = "PATH")]
    path: Option<String>,

    /// The device's serial number; many Ledgers show the same one
    #[arg(long, value_name = "SERIAL")]
    serial: Option<String>,

    /// An emulator instead of a device
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["path", "serial"])]
    tcp: Option<Emulator>,
}

#[derive(Clone, Debug)]
struct Emulator {
    host: String,
    port: u16,
}

impl std::str::FromStr for Emulator {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("tcp://").unwrap_or(text);
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("write HOST:PORT, such as 127.0.0.1:9999")?;
        let port = port
            .parse()
            .map_err(|_| format!("`{port}` is no port number"))?;
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err("write HOST:PORT, such as 127.0.0.1:9999".into());
        }
        Ok(Self { host, port })
    }
}

impl Ledger {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Detect => detect(),
            Self::Show { device } => show(&device.find(global)?),
            Self::Init {
                height,
                round,
                device,
            }
            | Self::Initialise {
                height,
                round,
                device,
            } => {
                let standing = Standing::new(*height, *round).ok_or_else(|| {
                    Failure::usage(format!("no chain stands at height {height}, round {round}"))
                })?;
                init(&device.find(global)?, standing)
            }
        }
    }
}

fn detect() -> Result<(), Failure> {
    let found = attached()?;
    if found.is_empty() {
        return Err(Failure::new("no Ledger is plugged in").hint(
            "plug it in with a cable that carries data; in a container or a virtual machine pass its USB device on",
        ));
    }
    note("Ledgers on this machine's USB:");
    let lines: String = found.iter().map(|device| format!("- {device}\n")).collect();
    output(&lines)
}

fn show(found: &Found) -> Result<(), Failure> {
    let mut device = found.open()?;
    let app = device.app()?;
    let key = device.public_key()?;
    let mut text = format!(
        "device: {}\napp: {app}\npublic key: {}\n",
        device.name(),
        format_key(&key, None)
    );
    for (chain, _) in &found.chains {
        if let Some(format) = &chain.key_format {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "chain {}: {}",
                chain.id,
                format_key(&key, Some(format))
            );
        }
    }
    output(&text)
}

fn init(found: &Found, standing: Standing) -> Result<(), Failure> {
    let mut device = found.open()?;
    let app = device.app()?;
    note(&format!("{}: {app}", device.name()));
    found.compare_with_records(&device.public_key()?, standing.height());
    note(&format!(
        "confirm on the device: a proposal at {standing}, for no chain (within {} s)",
        PERSON.as_secs()
    ));
    device.initialise(standing, PERSON).map_err(|error| {
        let hint = match &error {
            LedgerError::Status { status, .. } if *status == StatusWord::CONDITIONS => Some(
                "name a later height or round; or close the app on the device and open it again, which empties its memory",
            ),
            LedgerError::Status { status, .. } if *status == StatusWord::NOT_ALLOWED => {
                Some("nothing was signed; run the command again and confirm it on the device")
            }
            _ => None,
        };
        match hint {
            Some(hint) => Failure::from(error).hint(hint),
            None => error.into(),
        }
    })?;
    output(&format!(
        "the device now stands at {standing}: it signs votes from there on, and nothing before\n"
    ))
}

/// The device that is meant, and the chains that its key signs for.
struct Found {
    adapter: Adapter,
    chains: Vec<(chain::Config, RecordPath)>,
}

impl Found {
    fn new(adapter: Adapter) -> Self {
        Self {
            adapter,
            chains: Vec::new(),
        }
    }

    /// Says so where the app is told a height that the chain has not reached: it would sign nothing until then.
    fn compare_with_records(&self, key: &PublicKey, height: i64) {
        for (chain, record) in &self.chains {
            let Ok(record) = record.find(key).and_then(|path| file::inspect(&path)) else {
                continue;
            };
            let hrs = record.record.hrs;
            // The height after the last one is the next to be signed.
            if hrs.height > 0 && height > hrs.height.saturating_add(1) {
                note(&format!(
                    "the record of {} stands at height/round/step {hrs}: of its votes before height {height} the device will sign none",
                    chain.id
                ));
            }
        }
    }

    fn open(&self) -> Result<Device, Failure> {
        // A command ends with its process; nothing else stops it.
        Ok(Device::open(&self.adapter, &Shutdown::new())?)
    }
}

impl Choice {
    fn find(&self, global: &Global) -> Result<Found, Failure> {
        let (serial, path) = (self.serial.clone(), self.path.clone());
        match self.tcp.clone() {
            Some(Emulator { host, port }) => Ok(Found::new(Adapter::Tcp { host, port })),
            None if serial.is_some() || path.is_some() => {
                Ok(Found::new(Adapter::Hid { serial, path }))
            }
            None => configured(global),
        }
    }
}

/// The device of the configuration; without one, the only one that is plugged in.
fn configured(global: &Global) -> Result<Found, Failure> {
    let only = Found::new(Adapter::Hid {
        serial: None,
        path: None,
    });
    let Ok(path) = global.config_file() else {
        return Ok(only);
    };
    let config = Config::load(&path)?;
    match config.ledgertm.as_slice() {
        [] => Ok(only),
        [ledger] => {
            let chains = config.chains.iter().filter_map(|chain| {
                let mut keys = config.consensus_keys(chain).into_iter();
                let key = keys.find(|key| matches!(key.key, ConsensusKey::Ledger { .. }))?;
                Some((chain.clone(), key.record))
            });
            Ok(Found {
                adapter: ledger.adapter.clone(),
                chains: chains.collect(),
            })
        }
        several => {
            let named: Vec<_> = several.iter().map(|l| l.adapter.to_string()).collect();
            let what = format!("{} names {} Ledgers", path.display(), several.len());
            Err(Failure::new(what)
                .cause(named.join("; "))
                .hint("say which is meant: --path, --serial or --tcp"))
        }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::of(&error).maybe_hint(error.hint())
    }
}
