//! The fields of a permit are private.
use tmkms::{privval::ConsensusMsg, protection::Permit};

fn build(msg: ConsensusMsg) -> Permit {
    Permit { msg, repeats: false, kept: None }
}

fn main() {}
