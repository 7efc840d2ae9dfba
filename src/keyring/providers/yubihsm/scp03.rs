//! The secure channel: GlobalPlatform SCP03 as the YubiHSM speaks it, AES-128 throughout.
//!
//! Both sides hold two keys. Each session derives three more from them and from two 8-byte challenges; every message is encrypted,
//! and MACed with a chain that ends with the session. A message is the command's number, its length (u16, big-endian) and its payload.
//! Source: "YubiHSM 2 user guide", session, and Yubico's Python client as the oracle of the vectors below.

use std::fmt;

use aes::{
    Aes128,
    cipher::{
        BlockDecryptMut, BlockEncrypt, BlockEncryptMut, KeyInit, KeyIvInit,
        block_padding::{Iso7816, NoPadding},
    },
};
use cmac::{Cmac, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    command::{ANSWER, Command, ERROR},
    config::Password,
    error::{DeviceError, Lost, Status},
    object::ObjectId,
};

const BLOCK: usize = 16;
const MAC: usize = 8;
/// Command or answer number, and length.
const HEADER: usize = 3;
/// What a session adds to a message: header, session number, up to a block of padding, MAC.
pub(super) const OVERHEAD: usize = HEADER + 1 + BLOCK + MAC;

/// Parameters of the key derivation from a password (devices.md 2, compat.md 5.1).
const SALT: &[u8] = b"Yubico";
const ROUNDS: u32 = 10_000;

/// Derivation constants of SCP03.
const CARD_CRYPTOGRAM: u8 = 0x00;
const HOST_CRYPTOGRAM: u8 = 0x01;
const S_ENC: u8 = 0x04;
const S_MAC: u8 = 0x06;
const S_RMAC: u8 = 0x07;

/// The two long-lived keys of an authentication key, wiped when dropped.
pub struct StaticKeys {
    enc: Zeroizing<[u8; BLOCK]>,
    mac: Zeroizing<[u8; BLOCK]>,
}

impl StaticKeys {
    /// PBKDF2-HMAC-SHA256 over the password.
    #[must_use]
    pub fn from_password(password: &Password) -> Self {
        let mut both = Zeroizing::new([0; 2 * BLOCK]);
        let password = password.expose_secret().as_bytes();
        pbkdf2_hmac::<Sha256>(password, SALT, ROUNDS, both.as_mut_slice());
        Self::from_bytes(&both)
    }

    /// The encryption key, then the MAC key.
    #[must_use]
    pub fn from_bytes(both: &[u8; 2 * BLOCK]) -> Self {
        let mut keys = Self {
            enc: Zeroizing::new([0; BLOCK]),
            mac: Zeroizing::new([0; BLOCK]),
        };
        let (enc, mac) = both.split_at(BLOCK);
        keys.enc.copy_from_slice(enc);
        keys.mac.copy_from_slice(mac);
        keys
    }

    /// The encryption key, then the MAC key, as PUT AUTHENTICATION KEY takes them.
    #[must_use]
    pub fn expose_secret(&self) -> Zeroizing<[u8; 2 * BLOCK]> {
        let mut both = Zeroizing::new([0; 2 * BLOCK]);
        let (enc, mac) = both.split_at_mut(BLOCK);
        enc.copy_from_slice(self.enc.as_slice());
        mac.copy_from_slice(self.mac.as_slice());
        both
    }
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKeys")
    }
}

/// A session that the device was asked for and has not answered yet.
pub(super) struct Hello {
    auth_key: ObjectId,
    challenge: [u8; 8],
}

impl Hello {
    /// With 8 fresh random bytes.
    pub(super) fn new(auth_key: ObjectId, challenge: [u8; 8]) -> Self {
        Self {
            auth_key,
            challenge,
        }
    }

    /// CREATE SESSION.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut payload = self.auth_key.to_be_bytes().to_vec();
        payload.extend_from_slice(&self.challenge);
        message(Command::CREATE_SESSION, &payload)
    }

    /// Checks that the device knows the keys, and gives the session with the AUTHENTICATE SESSION that opens it.
    pub(super) fn answered(
        self,
        answer: &[u8],
        keys: &StaticKeys,
    ) -> Result<(Session, Vec<u8>), DeviceError> {
        let auth_key = self.auth_key;
        let payload = plain_answer(Command::CREATE_SESSION, answer)?
            .map_err(|status| DeviceError::NoSession { auth_key, status })?;
        let malformed = || DeviceError::Malformed {
            command: Command::CREATE_SESSION,
            what: "its length",
        };
        let (number, rest) = payload.split_first().ok_or_else(malformed)?;
        let (challenge, cryptogram) = rest.split_at_checked(8).ok_or_else(malformed)?;
        let mut context = [0; BLOCK];
        let (host, card) = context.split_at_mut(8);
        host.copy_from_slice(&self.challenge);
        card.copy_from_slice(challenge);
        let mut session = Session {
            number: *number,
            enc: derive(&keys.enc, S_ENC, &context),
            mac: derive(&keys.mac, S_MAC, &context),
            rmac: derive(&keys.mac, S_RMAC, &context),
            chain: [0; BLOCK],
            counter: 0,
        };
        let expected = cryptogram_of(&session.mac, CARD_CRYPTOGRAM, &context);
        if expected.ct_eq(cryptogram).unwrap_u8() == 0 {
            return Err(DeviceError::WrongPassword { auth_key });
        }
        let mut opening = vec![Command::AUTHENTICATE_SESSION.0, 0, 17, *number];
        opening.extend_from_slice(&cryptogram_of(&session.mac, HOST_CRYPTOGRAM, &context));
        session.seal(&mut opening);
        Ok((session, opening))
    }
}

/// An AUTHENTICATE SESSION that cannot be right, for the session that a device has half opened: it is refused, and the slot is free
/// again. It carries nothing that comes from a password. `answer`: that to CREATE SESSION.
pub(super) fn abandon(answer: &[u8]) -> Option<[u8; 20]> {
    let payload = plain_answer(Command::CREATE_SESSION, answer).ok()?.ok()?;
    let mut message = [0; 20];
    let [command, _, length, number, ..] = &mut message;
    (*command, *length, *number) = (Command::AUTHENTICATE_SESSION.0, 17, *payload.first()?);
    Some(message)
}

/// An open session's keys, chain and counter. Wiped when dropped.
pub(super) struct Session {
    number: u8,
    enc: Zeroizing<[u8; BLOCK]>,
    mac: Zeroizing<[u8; BLOCK]>,
    rmac: Zeroizing<[u8; BLOCK]>,
    chain: [u8; BLOCK],
    counter: u64,
}

impl Session {
    /// The device's answer to AUTHENTICATE SESSION.
    pub(super) fn opened(&mut self, answer: &[u8], auth_key: ObjectId) -> Result<(), DeviceError> {
        let command = Command::AUTHENTICATE_SESSION;
        match plain_answer(command, answer)? {
            Ok([]) => {
                self.counter = 1;
                Ok(())
            }
            Ok(_) => Err(DeviceError::Malformed {
                command,
                what: "its length",
            }),
            Err(Status::AuthenticationFailed) => Err(DeviceError::WrongPassword { auth_key }),
            Err(status) => Err(DeviceError::NoSession { auth_key, status }),
        }
    }

    /// Whether a message, of whoever it is, says that it belongs to this session.
    pub(super) fn is_named_by(&self, message: &[u8]) -> bool {
        let (command, number) = (message.first(), message.get(HEADER));
        let in_sessions = [Command::SESSION_MESSAGE, Command::AUTHENTICATE_SESSION];
        in_sessions.iter().any(|one| command == Some(&one.0)) && number == Some(&self.number)
    }

    /// Whether the device has just given this session's number to somebody else, which it does when it has forgotten this one.
    pub(super) fn is_given_away_by(&self, message: &[u8], answer: &[u8]) -> bool {
        let command = Command::CREATE_SESSION;
        let opened = message.first() == Some(&command.0);
        let number = match plain_answer(command, answer) {
            Ok(Ok(payload)) => payload.first(),
            _ => None,
        };
        opened && number == Some(&self.number)
    }

    /// How many messages it has carried.
    pub(super) fn messages(&self) -> u64 {
        self.counter
    }

    /// SESSION MESSAGE around a command. The chain moves on: without its answer the session is over.
    pub(super) fn wrap(&mut self, command: Command, payload: &[u8]) -> Vec<u8> {
        let length = HEADER + payload.len();
        let padded = (length / BLOCK + 1) * BLOCK;
        let mut wrapped = Vec::with_capacity(HEADER + 1 + padded + MAC);
        wrapped.push(Command::SESSION_MESSAGE.0);
        wrapped.extend_from_slice(&length_of(1 + padded + MAC));
        wrapped.push(self.number);
        let mut inner = Zeroizing::new(vec![0; padded]);
        let (header, rest) = inner.split_at_mut(HEADER);
        header.copy_from_slice(&header_of(command, payload.len()));
        rest.split_at_mut(payload.len()).0.copy_from_slice(payload);
        let cipher = cbc::Encryptor::<Aes128>::new(self.enc().into(), &self.iv().into());
        let sealed = cipher
            .encrypt_padded_mut::<Iso7816>(&mut inner, length)
            .expect("the buffer has room for a block of padding");
        wrapped.extend_from_slice(sealed);
        self.seal(&mut wrapped);
        wrapped
    }

    /// The payload of the answer to the last `wrap`, or the status that the device gave within the session.
    pub(super) fn unwrap(
        &mut self,
        command: Command,
        answer: &[u8],
    ) -> Result<Result<Zeroizing<Vec<u8>>, Status>, DeviceError> {
        let lost = |reason| Err(DeviceError::SessionLost { reason });
        let payload = match plain_answer(Command::SESSION_MESSAGE, answer)? {
            Ok(payload) => payload,
            Err(status) => return lost(Lost::Status(status)),
        };
        let malformed = |what| DeviceError::Malformed { command, what };
        let (number, rest) = payload.split_first().ok_or(malformed("its length"))?;
        let cut = rest.len().checked_sub(MAC).ok_or(malformed("its length"))?;
        let (sealed, mac) = rest.split_at(cut);
        let (signed, _) = answer.split_at(answer.len() - MAC);
        let expected = chained(&self.rmac, &self.chain, signed);
        let expected = expected.split_at(MAC).0;
        if expected.ct_eq(mac).unwrap_u8() == 0 {
            return lost(Lost::Mac);
        }
        if *number != self.number {
            return lost(Lost::Number);
        }
        let mut opened = Zeroizing::new(sealed.to_vec());
        cbc::Decryptor::<Aes128>::new(self.enc().into(), &self.iv().into())
            .decrypt_padded_mut::<NoPadding>(&mut opened)
            .map_err(|_| malformed("no whole blocks"))?;
        self.counter += 1;
        let inner = padded_answer(command, &opened)?;
        Ok(inner.map(|payload| Zeroizing::new(payload.to_vec())))
    }

    fn enc(&self) -> &[u8; BLOCK] {
        &self.enc
    }

    /// The message counter, encrypted.
    fn iv(&self) -> [u8; BLOCK] {
        let mut block = u128::from(self.counter).to_be_bytes().into();
        Aes128::new(self.enc().into()).encrypt_block(&mut block);
        block.into()
    }

    /// Adds the MAC, and makes it the chain's last link.
    fn seal(&mut self, message: &mut Vec<u8>) {
        self.chain = chained(&self.mac, &self.chain, message);
        message.extend_from_slice(self.chain.split_at(MAC).0);
    }
}

/// A message outside of a session.
pub(super) fn message(command: Command, payload: &[u8]) -> Vec<u8> {
    let mut message = header_of(command, payload.len()).to_vec();
    message.extend_from_slice(payload);
    message
}

/// What the device says of a session that it does not know.
pub(super) fn invalid_session() -> Vec<u8> {
    vec![ERROR, 0, 1, 0x03]
}

/// The payload of an answer that came outside of a session, or the status in it.
pub(super) fn plain_answer(
    command: Command,
    answer: &[u8],
) -> Result<Result<&[u8], Status>, DeviceError> {
    let (payload, rest) = parts(command, answer)?;
    if !rest.is_empty() {
        let what = "more bytes than it says";
        return Err(DeviceError::Malformed { command, what });
    }
    Ok(payload)
}

/// The same within a session, where padding follows.
fn padded_answer(command: Command, answer: &[u8]) -> Result<Result<&[u8], Status>, DeviceError> {
    Ok(parts(command, answer)?.0)
}

/// Payload or status, and what follows.
type Parts<'a> = (Result<&'a [u8], Status>, &'a [u8]);

fn parts(command: Command, answer: &[u8]) -> Result<Parts<'_>, DeviceError> {
    let malformed = |what| DeviceError::Malformed { command, what };
    let (&[number, high, low], rest) = answer
        .split_first_chunk::<HEADER>()
        .ok_or(malformed("under three bytes"))?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (payload, rest) = rest
        .split_at_checked(length)
        .ok_or(malformed("fewer bytes than it says"))?;
    match (number, payload) {
        (ERROR, [code, ..]) => Ok((Err(Status::from_code(*code)), rest)),
        (ERROR, []) => Err(malformed("an error without a code")),
        (number, _) if number == command.0 | ANSWER => Ok((Ok(payload), rest)),
        _ => Err(malformed("the answer to another command")),
    }
}

fn header_of(command: Command, length: usize) -> [u8; HEADER] {
    let [high, low] = length_of(length);
    [command.0, high, low]
}

/// Lengths were held against the device's limit, which is far below 64 KiB.
fn length_of(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// One derivation of SCP03 to 16 bytes: CMAC over constant, length in bits, counter 1 and both challenges.
fn derive(key: &[u8; BLOCK], constant: u8, context: &[u8; BLOCK]) -> Zeroizing<[u8; BLOCK]> {
    Zeroizing::new(derivation(key, constant, 0x80, context))
}

/// The same to 8 bytes, which prove the knowledge of the key.
fn cryptogram_of(key: &[u8; BLOCK], constant: u8, context: &[u8; BLOCK]) -> [u8; MAC] {
    let mut cryptogram = [0; MAC];
    let block = derivation(key, constant, 0x40, context);
    cryptogram.copy_from_slice(block.split_at(MAC).0);
    cryptogram
}

fn derivation(key: &[u8; BLOCK], constant: u8, bits: u8, context: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut cmac = <Cmac<Aes128> as Mac>::new(key.into());
    cmac.update(&[0; 11]);
    cmac.update(&[constant, 0, 0, bits, 1]);
    cmac.update(context);
    cmac.finalize().into_bytes().into()
}

fn chained(key: &[u8; BLOCK], chain: &[u8; BLOCK], message: &[u8]) -> [u8; BLOCK] {
    let mut cmac = <Cmac<Aes128> as Mac>::new(key.into());
    cmac.update(chain);
    cmac.update(message);
    cmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use subtle_encoding::hex;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).expect("hex")
    }

    fn keys() -> StaticKeys {
        StaticKeys::from_password(&Password::new(Zeroizing::new("password".into())))
    }

    /// What Yubico's Python client (3.1.2) sends and accepts with these challenges.
    fn opened() -> Session {
        let hello = Hello::new(1, bytes("1011121314151617").try_into().expect("eight"));
        assert_eq!(hello.message(), bytes("03000a00011011121314151617"));
        let answer = bytes("83001107a0a1a2a3a4a5a6a7d17821a9836f29ca");
        let (mut session, opening) = hello.answered(&answer, &keys()).expect("answers");
        assert_eq!(opening, bytes("0400110720fc1f419697aa8ea18b2433ffd60b57"));
        session.opened(&bytes("840000"), 1).expect("opens");
        session
    }

    #[test]
    fn the_factory_password_gives_the_factory_keys() {
        let expected = "090b47dbed595654901dee1cc655e420592fd483f759e29909a04c4505d2ce0a";
        assert_eq!(keys().expose_secret().as_slice(), bytes(expected));
    }

    #[test]
    fn a_session_is_byte_for_byte_that_of_yubicos_client() {
        let mut session = opened();
        let echo = session.wrap(Command::ECHO, b"hi");
        assert_eq!(
            echo,
            bytes("05001907a86ac8781023b1a252148805ae66fb75977e297db51b55d9")
        );
        let answer = bytes("850019078bb1804e7b1ceae92bc0217e37e4891892491f89032b4122");
        let payload = session.unwrap(Command::ECHO, &answer).expect("sound");
        assert_eq!(payload.expect("no status").as_slice(), b"hi");
        let sign = session.wrap(Command::SIGN_EDDSA, b"\x00\x01msg");
        assert_eq!(
            sign,
            bytes("0500190773b3875bcf34a4ccbb47138c9b1cfd25f7d69db4c562285c")
        );
        let answer = bytes("85001907d09dc26e02ecf035dfa9f5796a24fc4c8f1c7c6c7b72533a");
        let payload = session.unwrap(Command::SIGN_EDDSA, &answer).expect("sound");
        assert_eq!(payload.expect_err("a status"), Status::LogFull);
        assert_eq!(session.messages(), 3);
    }

    #[test]
    fn an_answer_that_was_changed_or_repeated_loses_the_session() {
        let answer = "850019078bb1804e7b1ceae92bc0217e37e4891892491f89032b4122";
        for (at, with) in [(3, 0x08), (4, 0x00), (27, 0x00)] {
            let mut session = opened();
            let _ = session.wrap(Command::ECHO, b"hi");
            let mut answer = bytes(answer);
            *answer.get_mut(at).expect("in the answer") = with;
            let error = session.unwrap(Command::ECHO, &answer).expect_err("changed");
            let lost = DeviceError::SessionLost { reason: Lost::Mac };
            assert_eq!(error.to_string(), lost.to_string());
        }
        let mut session = opened();
        for round in 0..2 {
            let _ = session.wrap(Command::ECHO, b"hi");
            let opened = session.unwrap(Command::ECHO, &bytes(answer));
            assert_eq!(opened.is_ok(), round == 0);
        }
    }

    #[test]
    fn a_device_that_does_not_know_the_password_is_not_trusted() {
        let hello = Hello::new(1, bytes("1011121314151617").try_into().expect("eight"));
        let answer = bytes("83001107a0a1a2a3a4a5a6a7d17821a9836f29cb");
        let error = hello.answered(&answer, &keys()).err();
        assert!(matches!(
            error,
            Some(DeviceError::WrongPassword { auth_key: 1 })
        ));
    }

    #[test]
    fn answers_that_no_device_gives_are_errors() {
        for answer in ["", "8100", "810001", "81000000", "820000", "7f0000"] {
            assert!(
                plain_answer(Command::ECHO, &bytes(answer)).is_err(),
                "{answer}"
            );
        }
        let refused = bytes("7f000103");
        let status = plain_answer(Command::ECHO, &refused).expect("an error frame");
        assert_eq!(status, Err(Status::InvalidSession));
        let mut session = opened();
        for answer in ["850000", "85000107", "8500080700000000000000", "7f000103"] {
            assert!(session.unwrap(Command::ECHO, &bytes(answer)).is_err());
        }
    }
}
