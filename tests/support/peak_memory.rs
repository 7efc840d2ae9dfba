//! The most memory that this process ever had.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test crates, none of which uses all of it; a test fails by panicking"
)]

use std::fs;

/// In KiB.
pub fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let line = lines.find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Lets an attack loose; what it takes, with whatever else is tested meanwhile, is less than 64 MiB.
pub fn bounded<T>(attack: impl FnOnce() -> T) -> T {
    let before = peak_memory();
    let outcome = attack();
    let more = peak_memory() - before;
    assert!(more < 64 * 1024, "{more} KiB more");
    outcome
}
