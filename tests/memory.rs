//! After ten thousand signatures the seed is in memory once, and what it expands to nowhere.
//!
//! In this process, since the real one lets nobody read its memory (`tests/process.rs`).

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends by panicking"
)]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::mpsc,
    thread,
};

use rustix::process::{Resource, getrlimit};
use tmkms::{
    key_file,
    keyring::{
        Signer,
        providers::softsign::{self, Config, KeyType},
    },
    privval::{ChainId, canonical},
    protection::RawPermit,
};

/// SHA-256 of "a seed to look for".
const FILE: &str = "FKynxJUsRA19vD3TIQxpXyiarKO6SRBmM7KHObSQj00=";

/// What to look for, every bit inverted: else the search would find what it searches with.
const SEED: &str = "eb53583b6ad3bbf28243c22cdef396a0d765535c45b6ef99cc4d78c64b6f70b2";
const DERIVED: [(&str, &str); 4] = [
    (
        "first half of the hash",
        "b8f0e6a576de54e7c15a68e71eb45d67aa62d5f343b9271d7aaaaa6380b56ff2",
    ),
    (
        "clamped scalar",
        "bff0e6a576de54e7c15a68e71eb45d67aa62d5f343b9271d7aaaaa6380b56fb2",
    ),
    (
        "scalar modulo the order",
        "7340be19e06a9e471bce4673999bd9baaa62d5f343b9271d7aaaaa6380b56ff2",
    ),
    (
        "prefix",
        "dbcbe1e51a942a86c675afe19e1ec32499dc83083376a7ba10bdc2c8fa4ebc38",
    ),
];

/// A 32-byte value to look for, inverted.
struct Needle([u8; 32]);

impl Needle {
    fn new(inverted_hex: &str) -> Self {
        let bytes = subtle_encoding::hex::decode(inverted_hex).unwrap();
        Self(bytes.try_into().unwrap())
    }

    fn is_at(&self, window: &[u8]) -> bool {
        window.iter().zip(&self.0).all(|(a, b)| *a == !*b)
    }

    /// How often it is in this process's memory.
    fn count(&self) -> usize {
        const CHUNK: usize = 1 << 20;
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0; CHUNK + 31];
        let mut found = 0;
        for (start, end) in readable() {
            let mut at = start;
            while at < end {
                let wanted = usize::try_from(end - at).unwrap().min(buffer.len());
                let chunk = buffer.split_at_mut(wanted).0;
                // Pages beyond the end of a mapped file cannot be read.
                if memory.read_exact_at(chunk, at).is_ok() {
                    found += chunk
                        .windows(32)
                        .filter(|window| self.is_at(window))
                        .count();
                }
                // Emptied, so that the buffer is not found in itself.
                chunk.fill(0);
                std::hint::black_box(&mut buffer);
                at += CHUNK as u64;
            }
        }
        found
    }
}

fn readable() -> Vec<(u64, u64)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter(|line| !line.contains("[v"))
        .filter_map(|line| {
            let mut parts = line.split_ascii_whitespace();
            let (start, end) = parts.next()?.split_once('-')?;
            parts.next()?.starts_with('r').then_some(())?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((number(start)?, number(end)?))
        })
        .collect()
}

#[test]
fn after_ten_thousand_signatures_only_the_seed_is_in_memory_and_only_once() {
    let seed = Needle::new(SEED);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    key_file::create(&path, FILE.as_bytes()).unwrap();

    // The search finds what is there.
    let planted: Vec<u8> = seed.0.iter().map(|byte| !byte).collect();
    assert_eq!(seed.count(), 1, "a planted seed");
    drop(std::hint::black_box(zeroize::Zeroizing::new(planted)));
    assert_eq!(seed.count(), 0, "nothing planted");

    let config = Config {
        chain_ids: Vec::new(),
        key_type: KeyType::Consensus,
        scheme: None,
        key_format: None,
        state_file: None,
        path: path.clone(),
    };
    let key = softsign::open(&config).unwrap();
    if may_lock() {
        assert!(locked_kib() >= 4, "the page of the key is not locked");
    }
    softsign::import(None, None, &path, &dir.path().join("copy")).unwrap();
    let (signed, wait) = mpsc::channel();
    let (finish, finished) = mpsc::channel::<()>();
    let signer = key.signer.clone();
    // On a thread of its own that then stands still, as a session between two requests: what is left on its stack stays there.
    let thread = thread::spawn(move || {
        sign(&*signer, 10_000);
        drop(signer);
        signed.send(()).unwrap();
        let _ = finished.recv();
    });
    wait.recv().unwrap();

    assert_eq!(seed.count(), 1, "the seed of an open key");
    for (what, hex) in DERIVED {
        assert_eq!(Needle::new(hex).count(), 0, "{what}");
    }
    drop(finish);
    thread.join().unwrap();
    drop(key);
    assert_eq!(seed.count(), 0, "the seed of a closed key");
}

/// Whether the system lets this process lock the page of a key.
fn may_lock() -> bool {
    let limit = getrlimit(Resource::Memlock).current;
    limit.is_none_or(|bytes| bytes >= 4_096)
}

fn locked_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

fn sign(signer: &dyn Signer, times: u32) {
    let chain_id = ChainId::new("chain").unwrap();
    for count in 0..times {
        let raw = canonical::raw_bytes(&chain_id, &count.to_le_bytes(), "scan").unwrap();
        let permit = RawPermit::for_raw_bytes(&raw);
        // Not verified: that would overwrite the stack, and hide what a signature leaves there.
        signer.sign(permit.sign_bytes()).unwrap();
    }
}
