//! The handshake: a peer that says anything is never taken for one that proved its key.

use ed25519_dalek::{Signer as _, SigningKey};
use tmkms::connection::{
    Identity,
    secret_connection::{
        frame::{SEALED, Sealer},
        handshake::Hello,
        keys::{self, Derived, Side},
    },
};

use crate::targets::{Target, hold};

/// Our ephemeral secret and the peer's.
const OURS: [u8; 32] = [1; 32];
const THEIRS: [u8; 32] = [2; 32];

const EPHEMERAL: usize = 35;

pub(crate) struct Handshakes {
    identity: Identity,
    peer: SigningKey,
    /// What an honest peer sends: 35 bytes in clear, 103 in its first frame.
    ephemeral: [u8; EPHEMERAL],
    auth: Vec<u8>,
    sealing_key: [u8; 32],
}

impl Handshakes {
    pub(crate) fn new() -> Self {
        let ephemeral = Hello::hazmat_from_secret(&THEIRS).message();
        let key =
            |message: [u8; EPHEMERAL]| *message.last_chunk::<32>().expect("35 bytes end in 32");
        let (ours, theirs) = (
            key(Hello::hazmat_from_secret(&OURS).message()),
            key(ephemeral),
        );
        let dh = x25519_dalek::x25519(THEIRS, ours);
        let (low, high, side) = if theirs < ours {
            (theirs, ours, Side::Lower)
        } else {
            (ours, theirs, Side::Upper)
        };
        let peer = SigningKey::from_bytes(&[3; 32]);
        let signature = peer.sign(&keys::challenge(&low, &high, &dh)).to_bytes();
        let auth = [
            &[0x66, 0x0a, 0x22, 0x0a, 0x20],
            peer.verifying_key().as_bytes().as_slice(),
            &[0x12, 0x40],
            &signature,
        ]
        .concat();
        Self {
            identity: Identity::from_seed(&[4; 32]),
            peer,
            ephemeral,
            auth,
            sealing_key: *Derived::new(&dh, side).send_key(),
        }
    }
}

impl Target for Handshakes {
    /// 35 bytes in clear, then what the first frame carries.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let honest = [self.ephemeral.as_slice(), &self.auth].concat();
        let reflected = [
            Hello::hazmat_from_secret(&OURS).message().as_slice(),
            &self.auth,
        ]
        .concat();
        let mut zero = honest.clone();
        zero.iter_mut().skip(3).take(32).for_each(|byte| *byte = 0);
        let mut amino = honest.clone();
        amino.splice(..2, [0x21, 0x20]);
        let empty_key = [&[0x22, 0x0a, 0x20], [0xff; 32].as_slice(), &self.auth].concat();
        vec![honest, reflected, zero, amino, empty_key]
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        let Some((ephemeral, auth)) = input.split_first_chunk::<EPHEMERAL>() else {
            return Ok("short".to_owned());
        };
        let honest = *ephemeral == self.ephemeral;
        let (waiting, proof) =
            match Hello::hazmat_from_secret(&OURS).receive(ephemeral, &self.identity) {
                Ok(next) => next,
                Err(error) => {
                    hold!(!honest, "an honest key is refused: {error}");
                    return Ok(super::without_quotes(&error.to_string()));
                }
            };
        hold!(proof.len() == SEALED, "a proof of {} bytes", proof.len());
        let mut frame = Vec::new();
        Sealer::new(&self.sealing_key)
            .seal(&[], auth, &mut frame)
            .map_err(|e| e.to_string())?;
        let mut frame = *frame.first_chunk::<SEALED>().expect("at least one frame");
        let honest = honest && auth == self.auth;
        match waiting.receive(&mut frame) {
            Ok(done) => {
                hold!(honest, "somebody was believed to be {:?}", done.peer);
                let key = self.peer.verifying_key();
                hold!(
                    done.peer.as_bytes() == key.as_bytes(),
                    "believed to be another"
                );
                Ok("believed".to_owned())
            }
            Err(error) => {
                hold!(!honest, "an honest peer is refused: {error}");
                Ok(super::without_quotes(&error.to_string()))
            }
        }
    }

    fn longest(&self) -> usize {
        EPHEMERAL + 1_100
    }
}
