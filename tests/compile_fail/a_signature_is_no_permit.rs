//! What was signed once lends no bytes again, and what a permit lends does not outlive it.
use tmkms::{
    keyring::Signer,
    protection::{Permit, Permitted, SignedMsg},
};

fn again(signer: &dyn Signer, signed: &SignedMsg) {
    let _ = signer.sign(signed);
}

fn keep(permit: Permit) -> Permitted<'static> {
    permit.sign_bytes()
}

fn main() {}
