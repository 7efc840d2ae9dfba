//! A vote cannot be dressed up as a heartbeat or as a second extension: the fields that hold their bytes are private.
use tmkms::privval::{Beat, Heartbeat, Unprotected};

fn heartbeat(vote: Box<[u8]>) -> Heartbeat {
    Heartbeat { sign_bytes: vote, beat: Beat::default() }
}

fn extension(vote: Box<[u8]>) -> Unprotected {
    Unprotected { sign_bytes: vote }
}

fn main() {}
