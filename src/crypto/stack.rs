//! The stack kept clean of secrets.

use std::hint::black_box;

/// Does work on secrets in a stack frame of its own and overwrites `BYTES` of the stack below it afterwards.
pub(crate) fn scrubbed<const BYTES: usize, T>(work: impl FnOnce() -> T) -> T {
    let result = apart(work);
    scrub::<BYTES>();
    result
}

#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

#[inline(never)]
fn scrub<const BYTES: usize>() {
    // `black_box` may read what it is given, so the zeros must really be there.
    black_box(&mut [0_u8; BYTES]);
}
