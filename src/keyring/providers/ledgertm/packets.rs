//! How APDUs are cut into the 64-byte packets of the device's HID channel (`devices.md` 3).
//!
//! A packet is channel ‖ tag ‖ sequence number; the first one of a message also has the message's length. All numbers are big
//! endian, and the last packet is filled up with zeros.

use crate::keyring::providers::ledgertm::apdu;

/// A packet's length in bytes.
pub(super) const PACKET: usize = 64;

/// The channel that this side has chosen.
const CHANNEL: [u8; 2] = 0x0101_u16.to_be_bytes();

/// Says that a packet is part of an APDU.
const TAG: u8 = 0x05;

/// The packets of one message.
pub(super) fn cut(message: &[u8]) -> Vec<[u8; PACKET]> {
    // What is cut is an APDU of at most 260 bytes.
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut stream = length.to_be_bytes().to_vec();
    stream.extend_from_slice(message.get(..usize::from(length)).unwrap_or_default());
    let packet = |(sequence, part): (u16, &[u8])| {
        let head = [&CHANNEL[..], &[TAG], &sequence.to_be_bytes()].concat();
        let mut packet = [0; PACKET];
        for (to, from) in packet.iter_mut().zip(head.iter().chain(part)) {
            *to = *from;
        }
        packet
    };
    (0..=u16::MAX)
        .zip(stream.chunks(PACKET - 5))
        .map(packet)
        .collect()
}

/// A message that is being put together.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    next: u16,
    length: usize,
    message: Vec<u8>,
}

impl Pieces {
    /// Takes the next packet. The message, once it is whole.
    ///
    /// # Errors
    /// `BadPacket` for a packet that is out of place; nothing more can be read then.
    pub(super) fn push(&mut self, packet: &[u8]) -> Result<Option<Vec<u8>>, BadPacket> {
        let (head, rest) = packet.split_first_chunk::<5>().ok_or(BadPacket::Short)?;
        let [high, low, tag, sequence @ ..] = *head;
        if [high, low] != CHANNEL {
            return Err(BadPacket::Channel([high, low]));
        }
        if tag != TAG {
            return Err(BadPacket::Tag(tag));
        }
        let sequence = u16::from_be_bytes(sequence);
        if sequence != self.next {
            return Err(BadPacket::Sequence {
                expected: self.next,
                found: sequence,
            });
        }
        let mut rest = rest;
        if sequence == 0 {
            let (length, after) = rest.split_first_chunk::<2>().ok_or(BadPacket::Short)?;
            self.length = usize::from(u16::from_be_bytes(*length));
            if self.length > apdu::MAX_REPLY {
                return Err(BadPacket::Length(self.length));
            }
            rest = after;
        }
        let missing = self.length - self.message.len();
        self.message
            .extend_from_slice(rest.get(..missing).unwrap_or(rest));
        // A message of 512 bytes has nine packets.
        self.next = self.next.saturating_add(1);
        let whole = self.message.len() == self.length;
        Ok(whole.then(|| std::mem::take(self).message))
    }
}

/// A packet that cannot be the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadPacket {
    /// Fewer bytes than a head has.
    #[error("a packet is too short")]
    Short,
    /// Another program's channel.
    #[error("a packet is on channel {:02x}{:02x}", .0[0], .0[1])]
    Channel([u8; 2]),
    /// Not a part of an APDU.
    #[error("a packet has tag 0x{0:02x}")]
    Tag(u8),
    /// Lost, doubled or left over from an earlier exchange.
    #[error("packet {found} came where {expected} was expected")]
    Sequence {
        /// Which should have come.
        expected: u16,
        /// Which came.
        found: u16,
    },
    /// No reply has so many bytes.
    #[error("a reply of {0} bytes")]
    Length(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(packets: &[[u8; PACKET]]) -> Result<Option<Vec<u8>>, BadPacket> {
        let mut pieces = Pieces::default();
        let mut whole = None;
        for packet in packets {
            assert_eq!(whole, None, "whole before the last packet");
            whole = pieces.push(packet)?;
        }
        Ok(whole)
    }

    #[test]
    fn a_short_message_is_one_packet() {
        let packets = cut(&[0x56, 0, 0, 0, 0]);
        let mut expected = [0; PACKET];
        expected
            .iter_mut()
            .zip([1, 1, 5, 0, 0, 0, 5, 0x56])
            .for_each(|(to, from)| *to = from);
        assert_eq!(packets, [expected]);
    }

    #[test]
    fn messages_of_every_length_come_together_again() {
        for length in 0..=apdu::MAX_REPLY {
            let message: Vec<u8> = (1..=255).cycle().take(length).collect();
            let packets = cut(&message);
            assert_eq!(packets.len(), (length + 2).div_ceil(59), "{length}");
            assert_eq!(joined(&packets), Ok(Some(message)), "{length}");
        }
    }

    #[test]
    fn a_packet_out_of_place_is_no_message() {
        let packets = cut(&[9; 200]);
        let [first, second, third, ..] = *packets.as_slice() else {
            unreachable!("200 bytes take four packets")
        };
        let expected = |expected, found| Err(BadPacket::Sequence { expected, found });
        assert_eq!(joined(&[second]), expected(0, 1));
        assert_eq!(joined(&[first, third]), expected(1, 2));
        assert_eq!(joined(&[first, first]), expected(1, 0));
        let with = |at: usize, byte: u8| {
            let mut packet = first;
            packet.iter_mut().skip(at).take(1).for_each(|b| *b = byte);
            joined(&[packet])
        };
        assert_eq!(with(0, 2), Err(BadPacket::Channel([2, 1])));
        assert_eq!(with(2, 2), Err(BadPacket::Tag(2)));
        assert_eq!(with(5, 0xff), Err(BadPacket::Length(0xff00 + 200)));
        assert_eq!(Pieces::default().push(&[1, 1, 5]), Err(BadPacket::Short));
    }
}
