//! A vote cannot be dressed up as raw bytes: the field that holds the prefixed bytes is private.
use tmkms::privval::RawBytes;

fn forge(vote: Box<[u8]>) -> RawBytes {
    RawBytes { sign_bytes: vote, label: String::new() }
}

fn main() {}
