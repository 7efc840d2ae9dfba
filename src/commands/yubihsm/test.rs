//! `tmkms yubihsm test`.

use std::{
    fmt::Write as _,
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    commands::{
        Failure, Global, note, output,
        yubihsm::{Which, connect::Opened, object_id},
    },
    keyring::providers::yubihsm::{Algorithm, DeviceError, ObjectId},
};

/// What is signed: nothing that any chain could take for a vote.
const NONSENSE: [u8; 128] = [0; 128];

/// How long a failure is followed by silence.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(clap::Args, Debug)]
pub(in crate::commands) struct Test {
    #[command(flatten)]
    which: Which,

    /// The key, decimal or 0x…
    #[arg(value_parser = object_id)]
    key_id: u16,

    /// How many signatures [default: until Ctrl-C]
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<NonZeroU32>,
}

impl Test {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let mut hsm = self.which.open(global)?;
        let key = hsm.device.public_key(self.key_id).map_err(|error| {
            hsm.failed(&format!("cannot find key 0x{:04x}", self.key_id), &error)
        })?;
        let stop = Arc::clone(&hsm.interrupted);
        let mut figures = Figures::default();
        let start = Instant::now();
        let mut last = None;
        while !stop.load(Ordering::Relaxed)
            && self.count.is_none_or(|count| figures.tries() < count.get())
        {
            let begin = Instant::now();
            match sign(&mut hsm, self.key_id, key.algorithm) {
                Ok(()) => {
                    let took = begin.elapsed();
                    figures.took.push(took);
                    output(&format!(
                        "Success signed message using key ID #{} in {} ms\n",
                        self.key_id,
                        took.as_millis()
                    ))?;
                }
                Err(error) => {
                    let failure = hsm.failed(
                        &format!("cannot sign with key 0x{:04x}", self.key_id),
                        &error,
                    );
                    note(failure.render(false).trim_end());
                    figures.failed += 1;
                    last = Some(failure);
                    thread::sleep(PAUSE);
                }
            }
        }
        output(&figures.render(start.elapsed()))?;
        match last {
            Some(_) if figures.took.is_empty() || self.count.is_some() => {
                Err(Failure::new(format!(
                    "{} of {} signatures failed",
                    figures.failed,
                    figures.tries()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// A device that was pulled, or a connector that was restarted, is waited for: how long it takes is what such a test is for.
fn sign(hsm: &mut Opened, id: ObjectId, algorithm: Algorithm) -> Result<(), DeviceError> {
    hsm.keep_open()?;
    match algorithm {
        Algorithm::EC_K256 => {
            let hash = Sha256::digest(NONSENSE).into();
            hsm.device.sign_ecdsa(id, &hash).map(drop)
        }
        _ => hsm.device.sign_eddsa(id, &NONSENSE).map(drop),
    }
}

/// Times of signatures.
#[derive(Debug, Default)]
struct Figures {
    took: Vec<Duration>,
    failed: u32,
}

impl Figures {
    fn tries(&self) -> u32 {
        let signed = u32::try_from(self.took.len()).unwrap_or(u32::MAX);
        signed.saturating_add(self.failed)
    }

    fn render(&mut self, total: Duration) -> String {
        self.took.sort_unstable();
        let mut text = format!(
            "{} signatures in {:.1} s, {} failed\n",
            self.took.len(),
            total.as_secs_f64(),
            self.failed
        );
        let at = |hundredth: usize| {
            let last = self.took.len().checked_sub(1)?;
            self.took.get(last * hundredth / 100)
        };
        if let (Some(min), Some(median), Some(p99), Some(max)) = (at(0), at(50), at(99), at(100)) {
            let ms = |time: &Duration| time.as_secs_f64() * 1_000.0;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "min {:.1} ms, median {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                ms(min),
                ms(median),
                ms(p99),
                ms(max)
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_times() {
        let mut figures = Figures {
            took: (1..=101).rev().map(Duration::from_millis).collect(),
            failed: 2,
        };
        assert_eq!(figures.tries(), 103);
        assert_eq!(
            figures.render(Duration::from_millis(1_500)),
            "101 signatures in 1.5 s, 2 failed\nmin 1.0 ms, median 51.0 ms, p99 100.0 ms, max 101.0 ms\n"
        );
    }

    #[test]
    fn without_a_signature_there_are_no_times() {
        let text = Figures::default().render(Duration::ZERO);
        assert_eq!(text, "0 signatures in 0.0 s, 0 failed\n");
    }
}
