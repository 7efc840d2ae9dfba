//! Interleavings of three nodes' threads, each step decided by a scheduler (S1).
//!
//! `.ci/interleavings` runs these: they need a build with `--cfg shuttle`.

use std::{
    collections::BTreeMap,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
};

use shuttle::{
    Config, Runner,
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler},
    sync::Arc,
    thread,
};

use super::{block, bytes_of, message};
use crate::{
    privval::{ConsensusMsg, Hrs, Step},
    protection::{
        Guard, Policy,
        rules::{self, Record, Verdict},
        store::{Candidate, Claim, Store, StoreError, sealed},
    },
};

/// More interleavings than any of the searches that are meant to be complete has.
const LIMIT: usize = 1_000_000;

/// Of the searches that take samples.
const SEED: u64 = 0x0074_6d6b_6d73;

/// A record whose comparing and recording are two steps, with room for other threads in between: only a guard that holds its
/// lock over both makes them one.
#[derive(Clone)]
struct TwoSteps(std::sync::Arc<std::sync::Mutex<Record>>);

impl sealed::Sealed for TwoSteps {}

impl Store for TwoSteps {
    fn claim(&mut self, candidate: &Candidate<'_>) -> Result<Claim, StoreError> {
        let Candidate { msg, policy, now } = *candidate;
        let seen = self.0.lock().unwrap().clone();
        thread::yield_now();
        Ok(match rules::judge(&seen, msg, policy, now) {
            Verdict::Advance => {
                *self.0.lock().unwrap() = Record::after(msg, now);
                Claim::Granted
            }
            Verdict::Repeat(recorded) => Claim::Recorded(recorded.into()),
            Verdict::Refuse(refusal) => Claim::Refused(refusal),
        })
    }
}

fn vote(height: i64, step: Step, name: u8, seconds: i64) -> ConsensusMsg {
    let hrs = Hrs {
        height,
        round: 0,
        step,
    };
    message(hrs, Some(block(name)), -1, seconds)
}

/// Three nodes of one chain: conflicting blocks, the same block at another time, and one that runs ahead.
fn nodes() -> [[ConsensusMsg; 2]; 3] {
    [
        [
            vote(1, Step::Prevote, 0xa, 1),
            vote(1, Step::Precommit, 0xa, 1),
        ],
        [
            vote(1, Step::Prevote, 0xb, 1),
            vote(1, Step::Precommit, 0xb, 1),
        ],
        [
            vote(1, Step::Precommit, 0xa, 2),
            vote(1, Step::Prevote, 0xa, 2),
        ],
    ]
}

/// Lets each of the first `threads` nodes ask for its first `requests` in a thread of its own, and checks that no place was
/// signed for twice.
fn race(guards: [Arc<Guard>; 3], threads: usize, requests: usize) {
    let running: Vec<_> = guards
        .into_iter()
        .zip(nodes())
        .take(threads)
        .map(|(guard, asked)| {
            thread::spawn(move || {
                let ask = |request: ConsensusMsg| {
                    let hrs = request.hrs;
                    let permit = guard.judge(request, Policy::default());
                    permit.ok().map(|permit| (hrs, bytes_of(&permit)))
                };
                asked
                    .into_iter()
                    .take(requests)
                    .map(ask)
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut signed: BTreeMap<Hrs, Vec<u8>> = BTreeMap::new();
    for thread in running {
        for (hrs, bytes) in thread.join().unwrap().into_iter().flatten() {
            let first = signed.entry(hrs).or_insert_with(|| bytes.clone());
            assert_eq!(*first, bytes, "{hrs} was signed twice");
        }
    }
    assert!(!signed.is_empty());
}

/// One guard for all, as it should be.
fn one_point(threads: usize, requests: usize) {
    let guard = Arc::new(Guard::new(record()));
    race([guard.clone(), guard.clone(), guard], threads, requests);
}

/// A guard for each over one record, as it must not be.
fn three_points(threads: usize, requests: usize) {
    let record = record();
    race(
        [0; 3].map(|_| Arc::new(Guard::new(record.clone()))),
        threads,
        requests,
    );
}

/// Runs `world` under a scheduler and returns in how many interleavings.
fn explore(scheduler: impl Scheduler + 'static, world: impl Fn() + Send + Sync + 'static) -> usize {
    let count = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    Runner::new(scheduler, Config::new()).run(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        world();
    });
    let count = count.load(Ordering::Relaxed);
    println!("{count} interleavings");
    count
}

fn record() -> TwoSteps {
    TwoSteps(std::sync::Arc::new(std::sync::Mutex::new(
        Record::never_signed(),
    )))
}

#[test]
fn no_interleaving_of_three_threads_with_a_request_signs_twice() {
    let count = explore(DfsScheduler::new(Some(LIMIT), false), || one_point(3, 1));
    assert!((90..LIMIT).contains(&count), "not all: {count}");
}

#[test]
fn no_interleaving_of_two_threads_with_two_requests_signs_twice() {
    let count = explore(DfsScheduler::new(Some(LIMIT), false), || one_point(2, 2));
    assert!((90..LIMIT).contains(&count), "not all: {count}");
}

/// All of them would be billions. That judging is one step is shown above without a gap, and `small_world` takes the steps
/// in all their orders; here is what could fall between the two.
#[test]
fn no_sampled_interleaving_of_three_threads_with_two_requests_signs_twice() {
    println!("seed {SEED}");
    explore(PctScheduler::new_from_seed(SEED, 5, 20_000), || {
        one_point(3, 2)
    });
    explore(RandomScheduler::new_from_seed(SEED, 20_000), || {
        one_point(3, 2)
    });
}

#[test]
fn two_points_of_decision_over_one_record_are_found_out() {
    for threads in [2, 3] {
        let found = panic::catch_unwind(|| {
            explore(RandomScheduler::new_from_seed(SEED, 20_000), move || {
                three_points(threads, 2);
            })
        });
        assert!(found.is_err(), "the search does not see a split decision");
        let found = panic::catch_unwind(|| {
            explore(DfsScheduler::new(Some(LIMIT), false), move || {
                three_points(threads, 1);
            })
        });
        assert!(found.is_err(), "the search does not see a split decision");
    }
}
