//! APDUs: what the app is asked and what it answers, whichever way the bytes travel (`devices.md` 3).

use crate::keyring::providers::ledgertm::status::StatusWord;

/// The app's class.
const CLASS: u8 = 0x56;

/// The class of the firmware's own commands, which every app passes on.
const FIRMWARE_CLASS: u8 = 0xb0;

/// How much of a message one command carries, in bytes.
const CHUNK: usize = 250;

/// The longest reply that is taken, in bytes: an APDU with a length of one byte has 255 and the status word.
pub(super) const MAX_REPLY: usize = 512;

/// The name and version of the open app (any app).
pub(super) fn app_name() -> Vec<u8> {
    command(FIRMWARE_CLASS, 0x01, (0, 0), &[])
}

/// The app's version: mode, major, minor, patch.
pub(super) fn version() -> Vec<u8> {
    command(CLASS, 0x00, (0, 0), &[])
}

/// The Ed25519 public key at the app's fixed path 44'/118'/0'/0/0.
pub(super) fn public_key() -> Vec<u8> {
    command(CLASS, 0x01, (0, 0), &[])
}

/// The commands that sign a message: each but the last is answered with a status word alone.
///
/// `None` if it takes more than 255 of them.
pub(super) fn sign(message: &[u8]) -> Option<Vec<Vec<u8>>> {
    let count = u8::try_from(message.len().div_ceil(CHUNK).max(1)).ok()?;
    let mut chunks = message.chunks(CHUNK);
    let commands = (1..=count)
        .map(|index| {
            let chunk = chunks.next().unwrap_or_default();
            command(CLASS, 0x02, (index, count), chunk)
        })
        .collect();
    Some(commands)
}

fn command(class: u8, instruction: u8, (p1, p2): (u8, u8), data: &[u8]) -> Vec<u8> {
    // A chunk is what it is called with, so the length fits its byte.
    let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![class, instruction, p1, p2, length];
    bytes.extend_from_slice(data.get(..usize::from(length)).unwrap_or_default());
    bytes
}

/// A reply, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reply {
    /// What comes before the status word.
    pub(super) data: Vec<u8>,
    /// The last two bytes.
    pub(super) status: StatusWord,
}

impl Reply {
    /// `None` if there is no room for a status word.
    pub(super) fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let (_, status) = bytes.split_last_chunk::<2>()?;
        let status = StatusWord(u16::from_be_bytes(*status));
        bytes.truncate(bytes.len() - 2);
        Some(Self {
            data: bytes,
            status,
        })
    }
}

/// The firmware's answer about the open app: format 1, then name and version, each after its length.
///
/// `None` if it is none.
pub(super) fn parse_app_name(data: &[u8]) -> Option<(String, String)> {
    let rest = data.strip_prefix(&[1])?;
    let (name, rest) = split_counted(rest)?;
    let (version, _) = split_counted(rest)?;
    Some((printable(name)?, printable(version)?))
}

fn split_counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// A device's text goes to a terminal and a log.
fn printable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars()
        .all(|c| !c.is_control())
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_goes_in_one_command() {
        let commands = sign(&[7; 128]).expect("short");
        let [only] = commands.as_slice() else {
            unreachable!("one chunk holds 250 bytes")
        };
        assert_eq!(only.get(..6), Some(&[0x56, 2, 1, 1, 128, 7][..]));
        assert_eq!(only.len(), 5 + 128);
    }

    #[test]
    fn a_long_message_goes_in_chunks_that_are_counted_from_one() {
        let message: Vec<u8> = (0..=255).cycle().take(600).collect();
        let commands = sign(&message).expect("short enough");
        let heads: Vec<_> = commands.iter().map(|c| c.split_at(5).0.to_vec()).collect();
        assert_eq!(
            heads,
            [
                [0x56, 2, 1, 3, 250],
                [0x56, 2, 2, 3, 250],
                [0x56, 2, 3, 3, 100]
            ]
        );
        let sent: Vec<u8> = commands
            .iter()
            .flat_map(|c| c.split_at(5).1.to_vec())
            .collect();
        assert_eq!(sent, message);
        assert_eq!(sign(&vec![0; CHUNK * 256]), None);
    }

    #[test]
    fn a_reply_ends_with_its_status_word() {
        let reply = Reply::parse(vec![0x2a, 0x69, 0x84]).expect("three bytes");
        assert_eq!(reply.data, [0x2a]);
        assert_eq!(reply.status, StatusWord::DATA_INVALID);
        assert_eq!(Reply::parse(vec![0x90]), None);
    }

    #[test]
    fn the_name_of_the_open_app_is_read_or_left() {
        let data = [&[1, 5][..], b"BOLOS", &[5], b"1.2.0", &[1, 0]].concat();
        let read = parse_app_name(&data);
        assert_eq!(read, Some(("BOLOS".to_owned(), "1.2.0".to_owned())));
        for bad in [&[][..], &[2, 0, 0], &[1, 9, b'a'], &[1, 1, 0x1b, 0]] {
            assert_eq!(parse_app_name(bad), None, "{bad:?}");
        }
    }
}
