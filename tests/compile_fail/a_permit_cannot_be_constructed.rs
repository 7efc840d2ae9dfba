//! Each constructor of a permit is private.
use tmkms::{
    privval::ConsensusMsg,
    protection::{Permit, Recorded},
};

fn advance(msg: ConsensusMsg) -> Permit {
    Permit::advance(msg)
}

fn repeat(msg: ConsensusMsg, recorded: Recorded) -> Permit {
    Permit::repeat(msg, recorded)
}

fn main() {}
