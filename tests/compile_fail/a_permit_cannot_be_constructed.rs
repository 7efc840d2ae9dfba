//! Each constructor of a permit is private.
use tmkms::{
    privval::{ConsensusMsg, SignBytes},
    protection::Permit,
};

fn advance(msg: ConsensusMsg) -> Permit {
    Permit::advance(msg)
}

fn repeat(msg: ConsensusMsg, recorded: SignBytes) -> Permit {
    Permit::repeat(msg, recorded)
}

fn main() {}
