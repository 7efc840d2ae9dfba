//! Completing a permit uses it up.
use tmkms::{
    crypto::{PublicKey, Signature},
    protection::{BadSignature, Permit, SignedMsg},
};

fn twice(permit: Permit, first: Signature, second: Signature, key: &PublicKey) -> Result<SignedMsg, BadSignature> {
    permit.complete(first, None, key)?;
    permit.complete(second, None, key)
}

fn main() {}
