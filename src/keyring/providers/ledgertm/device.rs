//! An open Ledger with typed commands, each with a deadline.

use std::{fmt, time::Duration};

use crate::{
    crypto::{PublicKey, Signature},
    keyring::providers::ledgertm::{
        apdu::{self, Reply},
        config::Adapter,
        emulator::Emulator,
        error::{LedgerError, SIGNING},
        hid::{self, Hid},
        status::StatusWord,
    },
    privval::{Timestamp, canonical},
    shutdown::Shutdown,
};

/// How long the device may take over what needs no person.
const QUICK: Duration = Duration::from_secs(3);

/// One character more than the longest chain ID that a genesis file may have: no chain has this one, so that nobody can make
/// anything of a signature for it.
const NO_CHAIN: &str = "tmkms-initialises-a-ledger-and-this-is-no-chain-id-";

/// A way to a device: an APDU there, an APDU back.
pub(super) trait Link {
    /// Sends a command and waits for its reply, status word included.
    ///
    /// # Errors
    /// `LedgerError`; the link is dropped then.
    fn exchange(&mut self, command: &[u8], patience: Duration) -> Result<Vec<u8>, LedgerError>;
}

/// An open Ledger. It is locked against other processes of ours, and closed when this is dropped.
pub struct Device {
    link: Box<dyn Link>,
    name: String,
}

/// What runs on a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct App {
    /// As the firmware calls it; firmware of long ago does not say.
    pub name: Option<String>,
    /// Major, minor and patch.
    pub version: [u8; 3],
    /// A build for tests, whose key is worth nothing.
    pub is_test: bool,
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("Tendermint Validator");
        let [major, minor, patch] = self.version;
        write!(f, "{name} {major}.{minor}.{patch}")?;
        if self.is_test {
            f.write_str(" (a test build)")?;
        }
        Ok(())
    }
}

/// Where a chain stands, to be told to the app.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    height: i64,
    round: u8,
}

impl Standing {
    /// A height of at least 1 and a round that the app can count; `None` for what no chain has.
    #[must_use]
    pub fn new(height: i64, round: i64) -> Option<Self> {
        let round = u8::try_from(round).ok()?;
        (height >= 1).then_some(Self { height, round })
    }

    /// The height, at least 1.
    #[must_use]
    pub fn height(self) -> i64 {
        self.height
    }

    /// A proposal there, on no block of no chain: length prefix first.
    fn sign_bytes(self) -> Vec<u8> {
        let bytes = canonical::encode(&canonical::Fields {
            // A vote would keep the app from signing the votes of this very height and round.
            type_number: 32,
            height: self.height,
            round: i64::from(self.round),
            pol_round: -1,
            hash: &[],
            parts_total: 0,
            parts_hash: &[],
            timestamp: Timestamp {
                seconds: 0,
                nanos: 0,
            },
            chain_id: NO_CHAIN,
        });
        bytes.as_bytes().to_vec()
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "height {}, round {}", self.height, self.round)
    }
}

impl Device {
    /// Opens the device that is meant. `stop` ends every wait on it.
    ///
    /// # Errors
    /// `LedgerError` if it is not there, cannot be told from others, or is in use.
    pub fn open(adapter: &Adapter, stop: &Shutdown) -> Result<Self, LedgerError> {
        match adapter {
            Adapter::Hid { serial, path } => {
                let device = hid::choose(hid::attached()?, serial.as_deref(), path.as_deref())?;
                Ok(Self {
                    link: Box::new(Hid::open(&device, stop)?),
                    name: device.to_string(),
                })
            }
            Adapter::Tcp { host, port } => Ok(Self {
                link: Box::new(Emulator::connect(host, *port, stop)?),
                name: format!("emulator {adapter}"),
            }),
        }
    }

    /// What it is: `Nano S Plus, serial 0001, path /dev/hidraw0`, or the emulator's address.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks which app is open, and that it is the one that signs votes.
    ///
    /// # Errors
    /// `LedgerError`: `OtherApp` where another one is open, `Status` where the device is locked.
    pub fn app(&mut self) -> Result<App, LedgerError> {
        let reply = self.exchange(&apdu::version(), QUICK)?;
        let doing = "asking for the app's version";
        match reply.status {
            StatusWord::OK => {}
            status @ (StatusWord::UNKNOWN_CLASS | StatusWord::UNKNOWN_INSTRUCTION) => {
                let name = self.open_app()?;
                let name = name.map_or_else(|| "another one".into(), |(n, v)| format!("{n} {v}"));
                return Err(LedgerError::OtherApp { name, status });
            }
            _ => return Err(refused(doing, &reply)),
        }
        // Newer versions add whether it is locked (1 byte) and what device it is (4). More is the late answer to what another
        // process asked, such as a signature that a person has confirmed just now.
        let (&[mode, major, minor, patch], _) = reply
            .data
            .split_first_chunk::<4>()
            .filter(|(_, more)| more.len() <= 8)
            .ok_or_else(|| garbled(doing, &reply))?;
        Ok(App {
            name: self.open_app()?.map(|(name, _)| name),
            version: [major, minor, patch],
            is_test: mode != 0,
        })
    }

    /// The consensus key's public half.
    ///
    /// # Errors
    /// `LedgerError`.
    pub fn public_key(&mut self) -> Result<PublicKey, LedgerError> {
        let doing = "asking for the public key";
        let reply = self.exchange(&apdu::public_key(), QUICK)?;
        if reply.status != StatusWord::OK {
            return Err(refused(doing, &reply));
        }
        PublicKey::ed25519(&reply.data).map_err(|_| garbled(doing, &reply))
    }

    /// Tells the app, whose memory is empty after each start, where the chain stands: it signs a proposal for that height and
    /// round, on no block of no chain. What the app signs after it is of the same height and round or later. A person confirms
    /// it on the device within `patience`.
    ///
    /// # Errors
    /// `LedgerError`; `Status` with "conditions not satisfied" if the app has signed that height and round before.
    pub fn initialise(
        &mut self,
        standing: Standing,
        patience: Duration,
    ) -> Result<(), LedgerError> {
        let key = self.public_key()?;
        let bytes = standing.sign_bytes();
        let signature = self.sign(&bytes, patience)?;
        if key.verifies(&bytes, &signature) {
            Ok(())
        } else {
            Err(LedgerError::BadSignature)
        }
    }

    /// Signs sign bytes, length prefix included. The caller has a permit for them, or they are worth nothing.
    pub(super) fn sign(
        &mut self,
        sign_bytes: &[u8],
        patience: Duration,
    ) -> Result<Signature, LedgerError> {
        let doing = SIGNING;
        let too_long = || LedgerError::Status {
            doing,
            status: StatusWord::WRONG_LENGTH,
            parser: None,
        };
        let mut commands = apdu::sign(sign_bytes).ok_or_else(too_long)?;
        let last = commands.pop().ok_or_else(too_long)?;
        for command in commands {
            let reply = self.exchange(&command, QUICK)?;
            if reply.status != StatusWord::OK {
                return Err(refused(doing, &reply));
            }
        }
        let reply = self.exchange(&last, patience)?;
        if reply.status != StatusWord::OK {
            return Err(refused(doing, &reply));
        }
        match <[u8; 64]>::try_from(reply.data.as_slice()) {
            Ok(signature) => Ok(Signature::Ed25519(signature)),
            Err(_) => Err(garbled(doing, &reply)),
        }
    }

    /// Name and version of whatever is open; `None` if the firmware does not say.
    fn open_app(&mut self) -> Result<Option<(String, String)>, LedgerError> {
        let reply = self.exchange(&apdu::app_name(), QUICK)?;
        let said = apdu::parse_app_name(&reply.data);
        Ok(said.filter(|_| reply.status == StatusWord::OK))
    }

    fn exchange(&mut self, command: &[u8], patience: Duration) -> Result<Reply, LedgerError> {
        let reply = self.link.exchange(command, patience)?;
        Reply::parse(reply).ok_or_else(|| LedgerError::Garbled {
            what: "fewer bytes than a status word has".into(),
        })
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn refused(doing: &'static str, reply: &Reply) -> LedgerError {
    let parser = match (reply.status, reply.data.as_slice()) {
        (StatusWord::DATA_INVALID, &[code]) => Some(code),
        _ => None,
    };
    LedgerError::Status {
        doing,
        status: reply.status,
        parser,
    }
}

fn garbled(doing: &str, reply: &Reply) -> LedgerError {
    LedgerError::Garbled {
        what: format!("{} bytes, while {doing}", reply.data.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use crate::{keyring::providers::ledgertm::limits, privval::ChainId};

    use super::*;

    /// Gives these replies, whatever is asked.
    struct Script(VecDeque<Vec<u8>>);

    impl Link for Script {
        fn exchange(&mut self, _: &[u8], _: Duration) -> Result<Vec<u8>, LedgerError> {
            self.0.pop_front().ok_or(LedgerError::Stopping)
        }
    }

    fn device(replies: &[&[u8]]) -> Device {
        Device {
            link: Box::new(Script(replies.iter().map(|r| r.to_vec()).collect())),
            name: "a script".into(),
        }
    }

    #[test]
    fn the_version_of_every_age_is_read() {
        let name = b"\x01\x03App\x031.2\x01\x00\x90\x00";
        for (version, shown) in [
            (&[0, 0, 9, 13, 0x90, 0][..], "App 0.9.13"),
            (&[0, 2, 1, 3, 0, 0x90, 0], "App 2.1.3"),
            (
                &[1, 2, 1, 3, 0, 0x33, 0, 0, 4, 0x90, 0],
                "App 2.1.3 (a test build)",
            ),
        ] {
            let app = device(&[version, name]).app().expect("a version");
            assert_eq!(app.to_string(), shown);
        }
        // Firmware that does not say what is open.
        let app = device(&[&[0, 0, 9, 13, 0x90, 0], &[0x6e, 0]]).app();
        assert_eq!(
            app.expect("a version").to_string(),
            "Tendermint Validator 0.9.13"
        );
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_not_taken_for_one() {
        let signature = [&[7; 64][..], &[0x90, 0]].concat();
        for reply in [&signature[..], &[1, 2, 3, 0x90, 0], &[0x90]] {
            let found = device(&[reply]).app();
            assert!(
                matches!(found, Err(LedgerError::Garbled { .. })),
                "{found:?}"
            );
        }
        let found = device(&[&[5; 66]]).public_key();
        assert!(
            matches!(found, Err(LedgerError::Status { .. })),
            "{found:?}"
        );
        let short = [&[5; 31][..], &[0x90, 0]].concat();
        let found = device(&[&short]).public_key();
        assert!(
            matches!(found, Err(LedgerError::Garbled { .. })),
            "{found:?}"
        );
        let found = device(&[&short]).sign(&[1], QUICK);
        assert!(
            matches!(found, Err(LedgerError::Garbled { .. })),
            "{found:?}"
        );
    }

    #[test]
    fn a_status_is_final_only_where_there_is_a_message_that_it_is_about() {
        for word in [0x6400_u16, 0x6982, 0x6985, 0x6f00] {
            let reply = word.to_be_bytes();
            let opening = device(&[&reply]).app().expect_err("refused");
            assert!(opening.is_transient(), "{opening}");
            assert!(opening.hint().expect("a hint").contains("unlock"));
            let opening = device(&[&reply]).public_key().expect_err("refused");
            assert!(opening.is_transient(), "{opening}");
            let signing = device(&[&reply]).sign(&[1], QUICK).expect_err("refused");
            assert!(!signing.is_transient(), "{signing}");
        }
    }

    #[test]
    fn the_parsers_code_is_told() {
        let error = device(&[&[4, 0x69, 0x84]])
            .sign(&[1], QUICK)
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            "signing failed: the app cannot read this vote or proposal (status 0x6984, data invalid, parser code 4)"
        );
    }

    #[test]
    fn the_first_proposal_is_for_a_chain_that_cannot_exist_and_fits() {
        assert_eq!(NO_CHAIN.len(), ChainId::MAX_LEN + 1);
        assert!(ChainId::new(NO_CHAIN).is_err());
        for (height, round) in [(1, 0), (i64::MAX, 255)] {
            let standing = Standing::new(height, round).expect("a place in a chain");
            let bytes = standing.sign_bytes();
            assert_eq!(limits::fits(&bytes), Ok(()), "{height} {round}");
            assert_eq!(bytes.get(1..3), Some(&[0x08, 32][..]));
        }
    }

    #[test]
    fn what_no_chain_has_is_no_place_to_start_from() {
        for (height, round) in [(0, 0), (-1, 0), (i64::MIN, 0), (1, -1), (1, 256)] {
            assert_eq!(Standing::new(height, round), None, "{height} {round}");
        }
    }
}
