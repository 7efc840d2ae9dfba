//! What was refused cannot become something to send.
use tmkms::{
    codec::Response,
    protection::{Permit, Refusal, SignedMsg},
};

fn as_signed(refusal: Refusal) -> SignedMsg {
    refusal.into()
}

fn as_permit(refusal: Refusal) -> Permit {
    Permit::from(refusal)
}

fn as_reply(refusal: &Refusal) -> Response<'_> {
    Response::Signed(refusal)
}

fn main() {}
