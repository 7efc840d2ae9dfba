//! Frames of a SecretConnection, and messages out of a byte stream.

use std::{io::Write, os::unix::net::UnixStream, time::Duration};

use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};
use tmkms::connection::{
    self, Limits,
    secret_connection::frame::{DATA, Opener, SEALED, Sealer},
};

use crate::targets::{Target, hold};

const KEY: [u8; 32] = [7; 32];

pub(crate) struct Frames;

impl Target for Frames {
    /// The first byte chooses: a stream in clear, sealed frames on an evil wire, one frame with any claim in it.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let mut long = vec![0, 0x84, 0x10];
        long.resize(3 + 2_052, 0x41);
        vec![
            vec![0, 0x02, 0x3a, 0x00, 0x00, 0x02, 0x3a, 0x00],
            vec![0, 0x80, 0xc8, 0x49],
            long,
            [vec![1, 0, 0, 0, 0, 0], vec![0x55; 3_000]].concat(),
            vec![1, 1, 0, 2, 10, 1, 1, 2, 3],
            vec![2, 0, 4, 0, 0, 0xaa],
            vec![2, 1, 4, 0, 0, 0xaa],
        ]
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        match input.split_first() {
            Some((mode, rest)) if mode % 3 == 1 => wire(rest),
            Some((mode, rest)) if mode % 3 == 2 => claim(rest),
            Some((_, rest)) => stream(rest),
            None => stream(&[]),
        }
    }

    fn longest(&self) -> usize {
        32 << 10
    }
}

/// The messages that a stream holds, by a reader of its own, and whether the rest of it is broken (not just unfinished).
pub(super) fn expected(mut rest: &[u8], limit: usize) -> (Vec<&[u8]>, bool) {
    let mut messages = Vec::new();
    'messages: loop {
        let mut length = 0_u64;
        for (index, &byte) in rest.iter().enumerate() {
            length |= u64::from(byte & 0x7f) << (7 * index.min(8));
            let least = if byte & 0x80 == 0 {
                length
            } else {
                length.max(1 << (7 * (index + 1)))
            };
            if least > limit as u64 || byte == 0 && index > 0 {
                return (messages, true);
            }
            if byte & 0x80 == 0 {
                let body = rest.split_at(index + 1).1;
                let Some((message, after)) = body.split_at_checked(length as usize) else {
                    return (messages, false);
                };
                messages.push(message);
                rest = after;
                continue 'messages;
            }
        }
        return (messages, false);
    }
}

fn stream(bytes: &[u8]) -> Result<String, String> {
    let limits = Limits {
        idle: Duration::from_secs(20),
        ..Limits::default()
    };
    let (mut node, signer) = UnixStream::pair().map_err(|e| e.to_string())?;
    // Fits the socket's buffer, so that nobody has to read while this writes.
    node.write_all(bytes).map_err(|e| e.to_string())?;
    drop(node);
    let mut signer = connection::accept_unix_within(limits, signer)
        .map_err(|e| e.to_string())?
        .connection;
    let (messages, broken) = expected(bytes, limits.message);
    for message in &messages {
        let read = signer
            .read()
            .map_err(|e| format!("{e} instead of {} bytes", message.len()))?;
        hold!(read == *message, "another message came out");
    }
    match signer.read() {
        Ok(message) => Err(format!("a message of {} bytes too many", message.len())),
        Err(error) => {
            hold!(signer.read().is_err(), "a dead connection reads on");
            Ok(format!("{} {broken} {error}", messages.len().min(3)))
        }
    }
}

/// Seals the data, changes one thing about the frames, and opens them.
fn wire(input: &[u8]) -> Result<String, String> {
    let Some(([change, which, high, low, mask], data)) = input.split_first_chunk::<5>() else {
        return Ok("short".to_owned());
    };
    let mut sealed = Vec::new();
    Sealer::new(&KEY)
        .seal(&[], data, &mut sealed)
        .map_err(|e| e.to_string())?;
    let mut frames: Vec<[u8; SEALED]> = sealed.as_chunks().0.to_vec();
    let which = usize::from(*which) % frames.len();
    let at = usize::from(u16::from_be_bytes([*high, *low])) % SEALED;
    // From this frame on nothing may open.
    let mut sound = frames.len();
    match change % 5 {
        1 if *mask != 0 => {
            frames[which][at] ^= mask;
            sound = which;
        }
        2 => {
            frames.remove(which);
            sound = which;
        }
        3 => {
            let again = frames[which];
            frames.insert(which, again);
            sound = which + 1;
        }
        4 if which > 0 => {
            frames.swap(which, which - 1);
            sound = which - 1;
        }
        _ => {}
    }
    let mut opener = Opener::new(&KEY);
    let mut pieces = data.chunks(DATA);
    for (index, frame) in frames.iter_mut().enumerate() {
        match opener.open(frame) {
            Ok(opened) => {
                hold!(
                    index < sound,
                    "frame {index} opened after a change at {sound}"
                );
                hold!(
                    opened == pieces.next().unwrap_or_default(),
                    "other data came out"
                );
            }
            Err(error) => hold!(index >= sound, "frame {index} does not open: {error}"),
        }
    }
    Ok(format!(
        "change {} in {}",
        char::from(b'a' + change % 5),
        sound == frames.len()
    ))
}

/// One frame, soundly sealed by a hostile peer, with any length and padding in it.
fn claim(input: &[u8]) -> Result<String, String> {
    let Some((length, data)) = input.split_first_chunk::<4>() else {
        return Ok("short".to_owned());
    };
    let mut frame = [0x5a; SEALED];
    for (to, from) in frame
        .iter_mut()
        .zip(length.iter().chain(data))
        .take(SEALED - 16)
    {
        *to = *from;
    }
    let plain = frame;
    let (body, tag) = frame.split_at_mut(SEALED - 16);
    let made = ChaCha20Poly1305::new(&KEY.into())
        .encrypt_in_place_detached(&[0; 12].into(), b"", body)
        .map_err(|e| e.to_string())?;
    tag.copy_from_slice(&made);
    let claimed = u32::from_le_bytes(*length) as usize;
    match Opener::new(&KEY).open(&mut frame) {
        Ok(opened) => {
            hold!(
                Some(opened) == plain.get(4..4 + claimed),
                "{} bytes for a claim of {claimed}",
                opened.len()
            );
            hold!(claimed <= DATA, "a claim of {claimed} was believed");
            Ok("opened".to_owned())
        }
        Err(error) => {
            hold!(
                claimed > DATA,
                "a claim of {claimed} was not believed: {error}"
            );
            Ok("refused".to_owned())
        }
    }
}
