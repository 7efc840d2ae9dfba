//! The handshakes up to v0.33: a node that says anything is never taken for one that proved its key, and gets a proof of ours
//! only after its own.

use ed25519_dalek::{Signer as _, SigningKey};
use tmkms::connection::{
    Identity,
    secret_connection::{
        Generation,
        frame::{SEALED, Sealer},
        handshake::Hello,
        keys::{self, Derived, Side},
    },
};

use crate::targets::{Target, hold};

/// Our ephemeral secret and the node's.
const OURS: [u8; 32] = [1; 32];
const THEIRS: [u8; 32] = [2; 32];

const EPHEMERAL: usize = 34;

pub(crate) struct AminoHandshakes {
    identity: Identity,
    node: SigningKey,
    /// What an honest node sends: 34 bytes in clear, and in its first frame the 106 bytes of its generation.
    ephemeral: [u8; EPHEMERAL],
    auths: [(Generation, Vec<u8>); 2],
    sealing_key: [u8; 32],
}

impl AminoHandshakes {
    pub(crate) fn new() -> Self {
        let ephemeral = Hello::hazmat_from_secret(&THEIRS).amino_message();
        let key =
            |message: [u8; EPHEMERAL]| *message.last_chunk::<32>().expect("34 bytes end in 32");
        let (ours, theirs) = (
            key(Hello::hazmat_from_secret(&OURS).amino_message()),
            key(ephemeral),
        );
        let dh = x25519_dalek::x25519(THEIRS, ours);
        let (low, high, side) = if theirs < ours {
            (theirs, ours, Side::Lower)
        } else {
            (ours, theirs, Side::Upper)
        };
        let derived = Derived::new(&dh, side);
        let node = SigningKey::from_bytes(&[3; 32]);
        let auth = |challenge: &[u8; 32]| {
            [
                &[0x69, 0x0a, 0x25, 0x16, 0x24, 0xde, 0x64, 0x20],
                node.verifying_key().as_bytes().as_slice(),
                &[0x12, 0x40],
                &node.sign(challenge).to_bytes(),
            ]
            .concat()
        };
        let auths = [
            (Generation::Legacy, auth(&derived.legacy_challenge())),
            (Generation::V033, auth(&keys::challenge(&low, &high, &dh))),
        ];
        Self {
            identity: Identity::from_seed(&[4; 32]),
            auths,
            node,
            ephemeral,
            sealing_key: *derived.send_key(),
        }
    }
}

impl Target for AminoHandshakes {
    /// 34 bytes in clear, then what the first frame carries.
    fn corpus(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for (_, auth) in &self.auths {
            let honest = [self.ephemeral.as_slice(), auth].concat();
            let reflected = [
                Hello::hazmat_from_secret(&OURS).amino_message().as_slice(),
                auth,
            ]
            .concat();
            let mut zero = honest.clone();
            zero.iter_mut().skip(2).take(32).for_each(|byte| *byte = 0);
            let mut proto = honest.clone();
            proto.splice(..2, [0x22, 0x0a]);
            all.extend([honest, reflected, zero, proto]);
        }
        all
    }

    fn run(&mut self, input: &[u8]) -> Result<String, String> {
        let Some((ephemeral, auth)) = input.split_first_chunk::<EPHEMERAL>() else {
            return Ok("short".to_owned());
        };
        let honest = *ephemeral == self.ephemeral;
        let waiting = match Hello::hazmat_from_secret(&OURS).receive_amino(ephemeral) {
            Ok(next) => next,
            Err(error) => {
                hold!(!honest, "an honest key is refused: {error}");
                return Ok(super::without_quotes(&error.to_string()));
            }
        };
        let mut frame = Vec::new();
        Sealer::new(&self.sealing_key)
            .seal(&[], auth, &mut frame)
            .map_err(|e| e.to_string())?;
        let mut frame = *frame.first_chunk::<SEALED>().expect("at least one frame");
        let expected = self.auths.iter().find(|(_, it)| honest && it == auth);
        match (waiting.receive(&mut frame, &self.identity), expected) {
            (Ok((done, found, proof)), Some((generation, _))) => {
                hold!(found == *generation, "{found} is not {generation}");
                let key = self.node.verifying_key();
                hold!(
                    done.peer.as_bytes() == key.as_bytes(),
                    "believed to be another"
                );
                hold!(proof.len() == SEALED, "a proof of {} bytes", proof.len());
                Ok(format!("believed in {found}"))
            }
            (Ok((done, ..)), None) => Err(format!("somebody was believed to be {:?}", done.peer)),
            (Err(error), Some(_)) => Err(format!("an honest node is refused: {error}")),
            (Err(error), None) => Ok(super::without_quotes(&error.to_string())),
        }
    }

    fn longest(&self) -> usize {
        EPHEMERAL + 1_100
    }
}
