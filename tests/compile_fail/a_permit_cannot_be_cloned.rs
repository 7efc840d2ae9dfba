//! One decision, one permit.
use tmkms::protection::{Permit, SignedMsg};

fn permit(permit: &Permit) -> Permit {
    <Permit as Clone>::clone(permit)
}

fn signed(signed: &SignedMsg) -> SignedMsg {
    <SignedMsg as Clone>::clone(signed)
}

fn main() {}
