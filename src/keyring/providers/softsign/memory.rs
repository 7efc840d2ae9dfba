//! The one place in memory where a secret lives, and the stack kept clean of it.

use zeroize::Zeroize;

use crate::crypto::{PublicKey, Signature, stack};

/// How much stack is overwritten after work on a secret, in bytes: twice what leaves nothing behind for the scan of
/// `tests/memory.rs` to find, and little enough that a thousand validators' threads stay small.
const SCRUBBED: usize = 8 * 1024;

/// Bytes of a page, and so of the longest secret.
const PAGE: usize = 4096;

/// A secret on a page of its own, locked into memory where the system allows it, wiped when dropped.
///
/// Neither `Clone` nor `Debug`. What is computed from it (the scalar and prefix of an Ed25519 seed) exists only during a signature.
pub(super) struct Secret {
    page: Box<Page>,
    len: usize,
    /// Dropped after the bytes were wiped. `None` where the system's limit is too low: the key works all the same, but may be
    /// swapped out.
    _lock: Option<region::LockGuard>,
}

/// Alone on its page: unlocking one secret must not unlock another.
#[repr(align(4096))]
struct Page {
    bytes: [u8; PAGE],
}

impl Secret {
    /// In one of the forms that its scheme has; `None` for what is longer than any of them.
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        // The page is locked before a secret comes to it. (One that moved into a new box would leave itself on the stack.)
        let mut page = Box::new(Page { bytes: [0; PAGE] });
        let lock = region::lock(page.bytes.as_ptr(), page.bytes.len()).ok();
        let (bytes, _) = page.bytes.split_at_mut_checked(secret.len())?;
        bytes.copy_from_slice(secret);
        Some(Self {
            page,
            len: secret.len(),
            _lock: lock,
        })
    }

    /// Signs as its scheme says; always the same signature for the same bytes.
    pub(super) fn sign(&self, msg: &[u8], key: &PublicKey) -> Option<Signature> {
        scrubbed(|| key.sign_with(self.as_bytes(), msg))
    }

    /// The secret itself.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.page.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.page.bytes.zeroize();
    }
}

/// Does work on secrets in a stack frame of its own and overwrites the stack below it afterwards.
pub(super) fn scrubbed<T>(work: impl FnOnce() -> T) -> T {
    stack::scrubbed::<SCRUBBED, T>(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_has_a_page_of_its_own() {
        let (one, two) = (Secret::new(&[1; 32]), Secret::new(&[2; 32]));
        let page = |secret: &Option<Secret>| {
            let secret = secret.as_ref().expect("short enough");
            secret.page.bytes.as_ptr() as usize / PAGE
        };
        assert_ne!(page(&one), page(&two));
        assert!(Secret::new(&[1; PAGE + 1]).is_none());
    }
}
