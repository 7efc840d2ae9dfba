//! The one place in memory where a secret lives, and the stack kept clean of it.

use std::hint::black_box;

use curve25519_dalek::Scalar;
use ed25519_dalek::{
    VerifyingKey,
    hazmat::{self, ExpandedSecretKey},
};
use sha2::Sha512;
use zeroize::{Zeroize, Zeroizing};

/// How much stack is overwritten after work on a secret, in bytes: twice what leaves nothing behind for the scan of
/// `tests/memory.rs` to find, and little enough that a thousand validators' threads stay small.
const SCRUBBED: usize = 8 * 1024;

/// An Ed25519 secret on a page of its own, locked into memory where the system allows it, wiped when dropped.
///
/// Neither `Clone` nor `Debug`. The expanded scalar and prefix of a seed exist only during a signature.
pub(super) struct Secret {
    page: Box<Page>,
    form: Form,
    /// Dropped after the bytes were wiped. `None` where the system's limit is too low: the key works all the same, but may be
    /// swapped out.
    _lock: Option<region::LockGuard>,
}

/// Alone on its page: unlocking one secret must not unlock another.
#[repr(align(4096))]
struct Page {
    /// A seed (the first 32 bytes), or a scalar in little-endian ‖ prefix.
    bytes: [u8; 64],
}

#[derive(Clone, Copy)]
enum Form {
    Seed,
    Expanded,
}

impl Secret {
    /// From a 32-byte seed (RFC 8032's private key).
    pub(super) fn seed(seed: &[u8; 32]) -> Self {
        let mut secret = Self::empty(Form::Seed);
        secret.page.bytes.split_at_mut(32).0.copy_from_slice(seed);
        secret
    }

    /// From a scalar (32 bytes, little-endian) ‖ prefix (32 bytes). The scalar is clamped, as RFC 8032 makes it, or reduced by the group's
    /// order, as a YubiHSM exports it: the same key, as long as nobody clamps it again.
    pub(super) fn expanded(bytes: &[u8; 64]) -> Self {
        let mut secret = Self::empty(Form::Expanded);
        secret.page.bytes.copy_from_slice(bytes);
        secret
    }

    /// The public half.
    pub(super) fn verifying_key(&self) -> VerifyingKey {
        scrubbed(|| VerifyingKey::from(&self.expand()))
    }

    /// Signs as RFC 8032 says; 64 bytes.
    pub(super) fn sign(&self, msg: &[u8], verifying_key: &VerifyingKey) -> [u8; 64] {
        scrubbed(|| hazmat::raw_sign::<Sha512>(&self.expand(), msg, verifying_key).to_bytes())
    }

    /// What a key file holds, before base64: the seed, or the scalar in big-endian ‖ prefix ‖ public key.
    pub(super) fn file_bytes(&self, public_key: &[u8; 32]) -> Zeroizing<Vec<u8>> {
        let (first, second) = self.page.bytes.split_at(32);
        let mut bytes = Zeroizing::new(Vec::with_capacity(96));
        match self.form {
            Form::Seed => bytes.extend_from_slice(first),
            Form::Expanded => {
                bytes.extend(first.iter().rev());
                bytes.extend_from_slice(second);
                bytes.extend_from_slice(public_key);
            }
        }
        bytes
    }

    /// The 32-byte seed, where it is known: an expanded key has none.
    pub(super) fn as_seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(self.page.bytes.split_at(32).0);
        matches!(self.form, Form::Seed).then_some(seed)
    }

    /// An empty page, locked before a secret comes to it. (A secret moved into a new box would leave itself on the stack.)
    fn empty(form: Form) -> Self {
        let page = Box::new(Page { bytes: [0; 64] });
        let lock = region::lock(page.bytes.as_ptr(), page.bytes.len()).ok();
        Self {
            page,
            form,
            _lock: lock,
        }
    }

    /// The scalar and prefix; wiped by their own `drop`, copies of them by the caller's [`scrubbed`].
    fn expand(&self) -> ExpandedSecretKey {
        match self.form {
            Form::Seed => {
                let mut seed = Zeroizing::new([0; 32]);
                seed.copy_from_slice(self.page.bytes.split_at(32).0);
                ExpandedSecretKey::from(&*seed)
            }
            Form::Expanded => {
                let (mut scalar, mut hash_prefix) = (Zeroizing::new([0; 32]), [0; 32]);
                let (first, second) = self.page.bytes.split_at(32);
                scalar.copy_from_slice(first);
                hash_prefix.copy_from_slice(second);
                ExpandedSecretKey {
                    scalar: Scalar::from_bytes_mod_order(*scalar),
                    hash_prefix,
                }
            }
        }
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.page.bytes.zeroize();
    }
}

/// Does work on secrets in a stack frame of its own and overwrites the stack below it afterwards.
pub(super) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    let result = apart(work);
    scrub();
    result
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

#[inline(never)]
fn scrub() {
    // `black_box` may read what it is given, so the zeros must really be there.
    black_box(&mut [0_u8; SCRUBBED]);
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    #[test]
    fn a_seed_and_its_expanded_form_make_the_signature_of_rfc_8032() {
        let seed = [7; 32];
        let reference = SigningKey::from_bytes(&seed);
        let secret = Secret::seed(&seed);
        let key = secret.verifying_key();
        assert_eq!(key, reference.verifying_key());
        let signature = reference.sign(b"message").to_bytes();
        assert_eq!(secret.sign(b"message", &key), signature);

        let reduced = reference.to_scalar().to_bytes();
        let clamped = curve25519_dalek::scalar::clamp_integer(reference.to_scalar_bytes());
        assert_ne!(reduced, clamped);
        for scalar in [reduced, clamped] {
            let bytes = [scalar, secret.expand().hash_prefix].concat();
            let secret = Secret::expanded(bytes.as_slice().try_into().expect("64 bytes"));
            assert_eq!(secret.verifying_key(), key);
            assert_eq!(secret.sign(b"message", &key), signature);
        }
    }

    #[test]
    fn every_secret_has_a_page_of_its_own() {
        let (one, two) = (Secret::seed(&[1; 32]), Secret::seed(&[2; 32]));
        let page = |secret: &Secret| secret.page.bytes.as_ptr() as usize / 4096;
        assert_ne!(page(&one), page(&two));
    }
}
