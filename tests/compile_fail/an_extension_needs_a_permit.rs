//! There is no extension without its precommit.
use tmkms::{keyring::Signer, privval::Extension};

fn sign(signer: &dyn Signer, extension: &Extension) {
    let _ = signer.sign(extension);
}

fn main() {}
