//! Raw bytes exist with their domain prefix only.
use tmkms::protection::RawPermit;

fn permit(vote: &[u8]) {
    let _ = RawPermit::for_raw_bytes(vote);
}

fn main() {}
