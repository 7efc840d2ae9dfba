//! Nothing that may be sent back exists without a verified signature.
use tmkms::{
    privval::ConsensusMsg,
    protection::{Permit, SignedMsg},
};

fn without_signature(permit: Permit) -> SignedMsg {
    permit.into()
}

fn by_hand(msg: ConsensusMsg) -> SignedMsg {
    SignedMsg { msg, repeats: false, extension_signature: None }
}

fn main() {}
