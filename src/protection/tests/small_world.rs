//! Heights 1–3, rounds 0–2, three steps, blocks nil, A and B, two timestamps, two proof-of-lock rounds: every ordered triple
//! of requests, with and without a restart between any two, against an oracle that shares nothing with the rules.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use super::{block, bytes_of, message};
use crate::{
    privval::{ConsensusMsg, Hrs, SignBytes, Step},
    protection::{
        Denial, Guard, Policy,
        rules::Record,
        store::{Candidate, Claim, Store, StoreError, memory::MemoryStore, sealed},
    },
};

/// A request, in numbers small enough to see through.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
struct Request {
    height: i64,
    round: i64,
    /// 0 proposal, 1 prevote, 2 precommit.
    step: u8,
    /// 0 nil, else a block's name.
    block: u8,
    time: i64,
    pol_round: i64,
}

fn world() -> Vec<Request> {
    let mut world = Vec::new();
    for height in 1..=3 {
        for round in 0..=2 {
            for step in 0..=2 {
                // A proposal is never nil; a vote has no proof-of-lock round.
                let blocks: &[u8] = if step == 0 {
                    &[0xa, 0xb]
                } else {
                    &[0, 0xa, 0xb]
                };
                let pol_rounds: &[i64] = if step == 0 { &[-1, 0] } else { &[-1] };
                for (block, pol_round, time) in blocks.iter().flat_map(|block| {
                    pol_rounds
                        .iter()
                        .flat_map(move |pol| [(*block, *pol, 1), (*block, *pol, 2)])
                }) {
                    world.push(Request {
                        height,
                        round,
                        step,
                        block,
                        time,
                        pol_round,
                    });
                }
            }
        }
    }
    world
}

impl Request {
    fn message(&self) -> ConsensusMsg {
        let step = [Step::Proposal, Step::Prevote, Step::Precommit][usize::from(self.step)];
        let hrs = Hrs {
            height: self.height,
            round: self.round,
            step,
        };
        let block_id = (self.block != 0).then(|| block(self.block));
        message(hrs, block_id, self.pol_round, self.time)
    }

    fn place(&self) -> (i64, i64, u8) {
        (self.height, self.round, self.step)
    }

    fn same_but_for_time(&self, other: &Self) -> bool {
        Self {
            time: other.time,
            ..*self
        } == *other
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Signed,
    /// The signature of this earlier request once more.
    Again(Request),
    Refused {
        code: i32,
    },
}

/// What ought to happen, from the history alone.
#[derive(Clone, Debug, Default, Eq, PartialEq, Hash)]
struct Oracle {
    /// All that was ever signed, in order; so the last one is the highest.
    signed: Vec<Request>,
    /// Where in `signed` the running process began.
    since_restart: usize,
}

impl Oracle {
    fn expects(&self, asked: Request) -> Outcome {
        let Some(last) = self.signed.last() else {
            return Outcome::Signed;
        };
        if asked.place() > last.place() {
            return Outcome::Signed;
        }
        // What is remembered: the last, durably; what else this process signed, while it runs.
        let known = self.signed.iter().enumerate().find(|(number, before)| {
            let last_one = number + 1 == self.signed.len();
            before.place() == asked.place() && (last_one || *number >= self.since_restart)
        });
        let at_the_last = asked.place() == last.place();
        match known {
            Some((_, before)) if *before == asked => Outcome::Again(*before),
            Some((_, before)) if asked.step > 0 && before.same_but_for_time(&asked) => {
                Outcome::Again(*before)
            }
            Some((_, before)) if at_the_last && !before.same_but_for_time(&asked) => {
                Outcome::Refused { code: 2 }
            }
            _ => Outcome::Refused { code: 1 },
        }
    }

    fn learns(&mut self, asked: Request, outcome: Outcome) {
        if outcome == Outcome::Signed {
            self.signed.push(asked);
        }
    }

    fn restart(&mut self) {
        self.since_restart = self.signed.len();
    }
}

/// A record that the test can look at and put back.
#[derive(Clone)]
struct Shared(Arc<Mutex<MemoryStore>>);

impl sealed::Sealed for Shared {}

impl Store for Shared {
    fn claim(&mut self, candidate: &Candidate<'_>) -> Result<Claim, StoreError> {
        self.0.lock().unwrap().claim(candidate)
    }
}

/// A guard, its record, and all that was ever released.
struct Signer {
    guard: Guard,
    store: Shared,
}

/// All that decides what a guard answers.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Memory {
    record: Record,
    remembered: Vec<(Hrs, SignBytes)>,
}

impl Memory {
    /// Everything in it: sign bytes name their place, so only a record without any needs its own numbers.
    fn bytes(&self) -> Vec<Vec<u8>> {
        let record = self.record.sign_bytes.as_ref();
        record
            .into_iter()
            .chain(self.remembered.iter().map(|(_, bytes)| bytes))
            .map(|bytes| bytes.as_bytes().to_vec())
            .collect()
    }
}

impl Signer {
    fn new() -> Self {
        let store = Shared(Arc::new(Mutex::new(MemoryStore {
            record: Record::never_signed(),
        })));
        Self {
            guard: Guard::new(store.clone()),
            store,
        }
    }

    fn memory(&self) -> Memory {
        let state = self.guard.state.lock().unwrap();
        Memory {
            record: self.store.0.lock().unwrap().record.clone(),
            remembered: state.remembered.iter().cloned().collect(),
        }
    }

    fn put_back(&self, memory: &Memory) {
        let mut state = self.guard.state.lock().unwrap();
        self.store.0.lock().unwrap().record = memory.record.clone();
        state.remembered = memory.remembered.iter().cloned().collect();
    }

    /// The record is read again; what else was remembered is gone.
    fn restart(&self) {
        let memory = Memory {
            remembered: Vec::new(),
            ..self.memory()
        };
        self.put_back(&memory);
    }

    /// Asks, and checks the answer down to the bytes that would be signed.
    fn ask(&self, asked: &Prepared, expected: Outcome) {
        let outcome = self.guard.judge(asked.message.clone(), Policy::default());
        let (what, bytes) = match outcome {
            Ok(permit) => ("signed", Some(bytes_of(&permit))),
            Err(Denial::Refused(refusal)) if refusal.code() == 2 => ("conflict", None),
            Err(Denial::Refused(_)) => ("refused", None),
            Err(Denial::Stopped(error)) => panic!("{error}"),
        };
        let (should, of) = match expected {
            Outcome::Signed => ("signed", Some(asked.request)),
            Outcome::Again(before) => ("signed", Some(before)),
            Outcome::Refused { code: 2 } => ("conflict", None),
            Outcome::Refused { .. } => ("refused", None),
        };
        assert_eq!(what, should, "{:?}", asked.request);
        if let Some(of) = of {
            let expected = if of == asked.request {
                asked.message.sign_bytes.as_bytes().to_vec()
            } else {
                of.message().sign_bytes.as_bytes().to_vec()
            };
            assert_eq!(bytes.unwrap(), expected, "{:?}", asked.request);
        }
    }
}

struct Prepared {
    request: Request,
    message: ConsensusMsg,
}

#[test]
fn every_triple_of_requests_with_restarts_between_them_is_answered_as_it_should_be() {
    let world: Vec<Prepared> = world()
        .into_iter()
        .map(|request| Prepared {
            message: request.message(),
            request,
        })
        .collect();
    assert_eq!(world.len(), 180);
    let signer = Signer::new();
    let fresh = signer.memory();
    let (mut pairs, mut looked_at) = (0, 0);
    let mut seen = HashSet::new();
    for first in &world {
        for restart_after_first in [false, true] {
            for second in &world {
                for restart_after_second in [false, true] {
                    signer.put_back(&fresh);
                    let mut oracle = Oracle::default();
                    for (asked, restart) in
                        [(first, restart_after_first), (second, restart_after_second)]
                    {
                        let expected = oracle.expects(asked.request);
                        signer.ask(asked, expected);
                        oracle.learns(asked.request, expected);
                        if restart {
                            signer.restart();
                            oracle.restart();
                        }
                    }
                    pairs += 1;
                    // Beginnings that left both in the very same state have the same ends; those are looked at once.
                    let memory = signer.memory();
                    if !seen.insert((memory.bytes(), oracle.clone())) {
                        continue;
                    }
                    looked_at += 1;
                    let (signs, keeps): (Vec<_>, Vec<_>) = world
                        .iter()
                        .map(|third| (third, oracle.expects(third.request)))
                        .partition(|(_, expected)| *expected == Outcome::Signed);
                    for (third, expected) in keeps {
                        signer.ask(third, expected);
                    }
                    assert_eq!(signer.memory(), memory, "a refusal left a trace");
                    for (third, expected) in signs {
                        signer.ask(third, expected);
                        signer.put_back(&memory);
                    }
                }
            }
        }
    }
    assert_eq!(pairs, 4 * 180 * 180);
    assert!(looked_at > 15_000, "{looked_at}");
}

#[test]
fn three_nodes_with_two_requests_each_get_one_signature_a_place_in_every_order() {
    let vote = |step, block, time| Request {
        height: 1,
        round: 0,
        step,
        block,
        time,
        pol_round: -1,
    };
    let nodes = [
        [vote(1, 0xa, 1), vote(2, 0xa, 1)],
        [vote(1, 0xb, 1), vote(2, 0xb, 1)],
        [vote(2, 0xa, 2), vote(1, 0xa, 2)],
    ];
    let mut orders = 0;
    // Whose turn it is, as a number of six digits to the base of three; only those where everyone has two turns.
    for turns in 0..3_usize.pow(6) {
        let turns: Vec<_> = (0..6).map(|turn| turns / 3_usize.pow(turn) % 3).collect();
        if (0..3).any(|node| turns.iter().filter(|turn| **turn == node).count() != 2) {
            continue;
        }
        orders += 1;
        let signer = Signer::new();
        let mut oracle = Oracle::default();
        let mut asked = [0; 3];
        for node in turns {
            let request = nodes[node][asked[node]];
            asked[node] += 1;
            let expected = oracle.expects(request);
            let message = request.message();
            signer.ask(&Prepared { request, message }, expected);
            oracle.learns(request, expected);
        }
    }
    assert_eq!(orders, 90);
}
