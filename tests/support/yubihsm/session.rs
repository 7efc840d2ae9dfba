//! The secure channel, from the card's side: SCP03 with Yubico's deviations.
//!
//! Written from GlobalPlatform's SCP03 and Yubico's Python client alone. It shares no code with the signer's client, so that each
//! checks the other.

use std::time::Duration;

use aes::{
    Aes128,
    cipher::{BlockDecrypt, BlockEncrypt, KeyInit},
};
use cmac::{Cmac, Mac};

use super::codes::{Code, SESSION_FAILED};

/// Bytes of a truncated MAC or of a cryptogram.
const SHORT: usize = 8;

const CARD_CRYPTOGRAM: u8 = 0x00;
const HOST_CRYPTOGRAM: u8 = 0x01;
const S_ENC: u8 = 0x04;
const S_MAC: u8 = 0x06;
const S_RMAC: u8 = 0x07;

/// The long-lived keys of an authentication key object.
#[derive(Clone, Eq, PartialEq)]
pub struct StaticKeys {
    pub enc: [u8; 16],
    pub mac: [u8; 16],
}

impl StaticKeys {
    /// As every client does it: PBKDF2-HMAC-SHA-256, salt `Yubico`, 10,000 rounds.
    pub fn from_password(password: &str) -> Self {
        let mut keys = [0; 32];
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password.as_bytes(), b"Yubico", 10_000, &mut keys);
        Self::from_bytes(keys)
    }

    /// `enc ‖ mac`.
    pub fn from_bytes(keys: [u8; 32]) -> Self {
        let (mut enc, mut mac) = ([0; 16], [0; 16]);
        enc.copy_from_slice(&keys[..16]);
        mac.copy_from_slice(&keys[16..]);
        Self { enc, mac }
    }

    pub fn to_bytes(&self) -> [u8; 32] {
        let mut keys = [0; 32];
        keys[..16].copy_from_slice(&self.enc);
        keys[16..].copy_from_slice(&self.mac);
        keys
    }
}

/// Who opened a session: its authentication key as it was then.
#[derive(Clone, Debug)]
pub struct Who {
    pub key: u16,
    pub domains: u16,
    pub capabilities: u64,
    pub delegated: u64,
}

/// One of the sixteen slots, in use.
pub struct Session {
    pub who: Who,
    pub last_used: Duration,
    /// The host's cryptogram was right.
    pub authenticated: bool,
    context: [u8; 16],
    enc: [u8; 16],
    mac: [u8; 16],
    rmac: [u8; 16],
    chain: [u8; 16],
    counter: u128,
}

impl Session {
    /// Half open: the challenges are exchanged, the host has proved nothing.
    pub fn new(
        who: Who,
        keys: &StaticKeys,
        host_challenge: [u8; 8],
        card_challenge: [u8; 8],
        now: Duration,
    ) -> Self {
        let mut context = [0; 16];
        context[..8].copy_from_slice(&host_challenge);
        context[8..].copy_from_slice(&card_challenge);
        Self {
            who,
            last_used: now,
            authenticated: false,
            enc: derive(&keys.enc, S_ENC, 128, &context),
            mac: derive(&keys.mac, S_MAC, 128, &context),
            rmac: derive(&keys.mac, S_RMAC, 128, &context),
            chain: [0; 16],
            counter: 1,
            context,
        }
    }

    /// What proves to the host that the device knows the key.
    pub fn card_cryptogram(&self) -> [u8; SHORT] {
        short(&derive(&self.mac, CARD_CRYPTOGRAM, 64, &self.context))
    }

    /// `message` is the whole AUTHENTICATE SESSION frame.
    pub fn authenticate(&mut self, message: &[u8]) -> bool {
        let Some((body, tag)) = message.split_last_chunk::<SHORT>() else {
            return false;
        };
        let chain = cmac(&self.mac, &[&self.chain, body]);
        let expected = short(&derive(&self.mac, HOST_CRYPTOGRAM, 64, &self.context));
        if short(&chain) != *tag || !body.ends_with(&expected) {
            return false;
        }
        self.chain = chain;
        self.authenticated = true;
        true
    }

    /// The command frame within a SESSION MESSAGE frame.
    pub fn open(&mut self, message: &[u8]) -> Result<Vec<u8>, Code> {
        let (body, tag) = message.split_last_chunk::<SHORT>().ok_or(SESSION_FAILED)?;
        let chain = cmac(&self.mac, &[&self.chain, body]);
        if short(&chain) != *tag {
            return Err(SESSION_FAILED);
        }
        let plain = self.decrypt(body.get(4..).unwrap_or_default())?;
        self.chain = chain;
        Ok(plain)
    }

    /// The command frame, without taking notice of it and whoever sent it.
    pub fn peek(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (body, _) = message.split_last_chunk::<SHORT>()?;
        self.decrypt(body.get(4..)?).ok()
    }

    /// The whole SESSION MESSAGE response that carries the inner `response`.
    pub fn seal(&mut self, id: u8, response: &[u8]) -> Vec<u8> {
        let mut padded = response.to_vec();
        padded.push(0x80);
        padded.resize(padded.len().next_multiple_of(16), 0);
        let mut previous = self.initial_vector();
        let cipher = Aes128::new(&self.enc.into());
        let mut payload = vec![id];
        for block in padded.chunks_exact(16) {
            for (byte, plain) in previous.iter_mut().zip(block) {
                *byte ^= plain;
            }
            let mut block = previous.into();
            cipher.encrypt_block(&mut block);
            previous = block.into();
            payload.extend(previous);
        }
        payload.extend([0; SHORT]);
        let mut frame =
            super::fields::frame(super::codes::command::SESSION_MESSAGE | 0x80, &payload);
        let body = frame.len() - SHORT;
        let tag = short(&cmac(&self.rmac, &[&self.chain, &frame[..body]]));
        frame[body..].copy_from_slice(&tag);
        self.counter += 1;
        frame
    }

    fn decrypt(&self, cipher_text: &[u8]) -> Result<Vec<u8>, Code> {
        if cipher_text.is_empty() || !cipher_text.len().is_multiple_of(16) {
            return Err(SESSION_FAILED);
        }
        let cipher = Aes128::new(&self.enc.into());
        let mut previous = self.initial_vector();
        let mut plain = Vec::new();
        for chunk in cipher_text.chunks_exact(16) {
            let mut block = *aes::Block::from_slice(chunk);
            cipher.decrypt_block(&mut block);
            plain.extend(
                block
                    .iter()
                    .zip(previous)
                    .map(|(byte, before)| byte ^ before),
            );
            previous.copy_from_slice(chunk);
        }
        let end = plain.iter().rposition(|byte| *byte != 0);
        match end {
            Some(end) if plain[end] == 0x80 => plain.truncate(end),
            _ => return Err(SESSION_FAILED),
        }
        Ok(plain)
    }

    fn initial_vector(&self) -> [u8; 16] {
        let mut block = self.counter.to_be_bytes().into();
        Aes128::new(&self.enc.into()).encrypt_block(&mut block);
        block.into()
    }
}

/// NIST SP 800-108 in counter mode with CMAC, one block: SCP03 section 4.1.5.
fn derive(key: &[u8; 16], constant: u8, bits: u16, context: &[u8; 16]) -> [u8; 16] {
    let length = bits.to_be_bytes();
    cmac(key, &[&[0; 11], &[constant, 0], &length, &[1], context])
}

fn cmac(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = <Cmac<Aes128> as Mac>::new(&(*key).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn short(mac: &[u8; 16]) -> [u8; SHORT] {
    mac[..SHORT].try_into().expect("half of it")
}
