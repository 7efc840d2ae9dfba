//! Nothing that may be sent back exists without a verified signature.
use tmkms::{
    crypto::PublicKey,
    privval::ConsensusMsg,
    protection::{BadSignature, Permit, SignedMsg},
};

fn without_signature(permit: Permit, key: &PublicKey) -> Result<SignedMsg, BadSignature> {
    permit.complete(None, key)
}

fn by_hand(msg: ConsensusMsg) -> SignedMsg {
    SignedMsg { msg, repeats: false, extension_signature: None }
}

fn main() {}
