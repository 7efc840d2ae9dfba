//! A signer signs what a permit lends, and bytes cannot be dressed up as that.
use tmkms::{keyring::Signer, protection::Permitted};

fn bare(signer: &dyn Signer, vote: &[u8]) {
    let _ = signer.sign(vote);
}

fn dressed_up(signer: &dyn Signer, vote: &[u8]) {
    let _ = signer.sign(Permitted(vote));
}

fn main() {}
