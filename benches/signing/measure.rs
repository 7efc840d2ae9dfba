//! The measurements. Every signature is verified, outside of the time that is measured.

use std::{
    path::Path,
    sync::Barrier,
    time::{Duration, Instant},
};

use rustix::{buffer::spare_capacity, event::epoll};
use tmkms::privval::Step;

use crate::{
    fleet::{Fleet, Member, Order, Program, Transport},
    floor::{Floor, Parts},
    node_side::{Answer, Ballot, Signed, block, now},
};

/// Rounds before the first one that counts.
const WARM_UP: i64 = 50;

/// Durations, sorted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The duration that `per_mille` of 1,000 do not exceed, in microseconds.
    pub(crate) fn at(&self, per_mille: usize) -> f64 {
        let index = (self.0.len().saturating_sub(1)) * per_mille / 1_000;
        self.0
            .get(index)
            .map_or(f64::NAN, |duration| duration.as_secs_f64() * 1e6)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.at(500)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.at(990)
    }
}

/// What one interleaved run gave.
pub(crate) struct Contest {
    pub(crate) ours: Samples,
    pub(crate) other: Option<Samples>,
    pub(crate) floor: Samples,
    pub(crate) parts: [(&'static str, Samples); 4],
    /// KiB, of ours.
    pub(crate) memory: u64,
}

/// A prevote and a precommit per height from each signer and one floor for each, in turns whose order rotates.
pub(crate) fn contest(
    mut ours: Fleet,
    mut other: Option<Fleet>,
    floor_disk: Option<&Path>,
    heights: i64,
) -> Contest {
    let transport = if ours.is_tcp() {
        Transport::Tcp
    } else {
        Transport::Unix
    };
    let (mut ours_took, mut other_took) = (Vec::new(), Vec::new());
    let mut floor_took: Vec<Parts> = Vec::new();
    let mut floor: Option<Floor> = None;
    for round in 0..(heights + WARM_UP) {
        for step in [Step::Prevote, Step::Precommit] {
            for turn in 0..3 {
                match (turn + round) % 3 {
                    0 => ours_took.push(sign(ours.only(), step)),
                    1 => {
                        if let Some(other) = &mut other {
                            other_took.push(sign(other.only(), step));
                        }
                    }
                    _ => {
                        let member = ours.only();
                        let request = member.validator.request(&ballot(member.height, step));
                        let floor = floor.get_or_insert_with(|| {
                            Floor::new(transport, floor_disk, request.len())
                        });
                        // The prevote's and the precommit's message differ in no length.
                        floor_took.push(floor.measure(&request));
                    }
                }
            }
        }
        for fleet in std::iter::once(&mut ours).chain(&mut other) {
            fleet.only().height += 1;
        }
    }
    let skip = usize::try_from(WARM_UP * 2).unwrap_or(0);
    let part =
        |of: fn(&Parts) -> Duration| Samples::new(floor_took.iter().skip(skip).map(of).collect());
    Contest {
        ours: Samples::new(ours_took.split_off(skip)),
        other: other.map(|_| Samples::new(other_took.split_off(skip))),
        floor: part(|parts| parts.total()),
        parts: [
            ("write + fdatasync", part(|parts| parts.disk)),
            ("sign + verify", part(|parts| parts.signature)),
            ("seal + open, twice", part(|parts| parts.frames)),
            ("loopback echo", part(|parts| parts.echo)),
        ],
        memory: ours.peak_memory(),
    }
}

/// Precommits of ours alone, with and without the signature of a vote extension.
pub(crate) fn extended(ours: &Program, dir: &Path, heights: i64) -> [Samples; 2] {
    let mut fleets = [false, true].map(|extensions| {
        let order = Order {
            transport: Transport::Tcp,
            chains: 1,
            extensions,
        };
        Fleet::launch(ours, dir, order)
    });
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..(heights / 2 + WARM_UP) {
        for (fleet, took) in fleets.iter_mut().zip(&mut took) {
            let member = fleet.only();
            let duration = sign(member, Step::Precommit);
            member.height += 1;
            if round >= WARM_UP {
                took.push(duration);
            }
        }
    }
    took.map(Samples::new)
}

/// What one process did for all its chains together.
pub(crate) struct Load {
    /// Signatures per second.
    pub(crate) rate: f64,
    /// Every chain's own durations.
    pub(crate) chains: Vec<Vec<Duration>>,
}

/// How many threads ask for all chains together. The nodes of a real fleet are other machines: a thread for each of a thousand
/// would take the signer's processors and measure the scheduler.
const ASKERS: usize = 64;
const ASKERS_OF_MANY: usize = 2;

/// Every chain asks as fast as it is answered, for as long as `time`.
pub(crate) fn load(fleet: &mut Fleet, time: Duration) -> Load {
    let count = fleet.members.len();
    let askers = if count > ASKERS {
        ASKERS_OF_MANY
    } else {
        count
    };
    let start = Barrier::new(askers + 1);
    let (begun, results) = std::thread::scope(|scope| {
        let workers: Vec<_> = fleet
            .members
            .chunks_mut(count.div_ceil(askers))
            .map(|members| {
                let start = &start;
                std::thread::Builder::new()
                    .spawn_scoped(scope, move || {
                        start.wait();
                        ask_until(members, Instant::now() + time)
                    })
                    .expect("the machine has room for a thread per asker")
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        let results: Vec<_> = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a chain was not served"))
            .collect();
        (begun, results)
    });
    let ended = results.iter().filter_map(|work| work.ended).max();
    let elapsed = ended.map_or(Duration::ZERO, |ended| ended - begun);
    let signatures: usize = results.iter().map(|work| work.signed.len()).sum();
    for (member, work) in fleet.members.iter().zip(&results) {
        for (ballot, signed) in &work.signed {
            member
                .validator
                .verify(ballot, signed)
                .expect("a signature is valid");
        }
    }
    Load {
        rate: signatures as f64 / elapsed.as_secs_f64(),
        chains: results.into_iter().map(|work| work.took).collect(),
    }
}

/// What one chain's node got.
#[derive(Default)]
struct Work {
    took: Vec<Duration>,
    signed: Vec<(Ballot, Signed)>,
    ended: Option<Instant>,
}

/// One request of each member is on its way at any time, until `end`.
fn ask_until(members: &mut [Member], end: Instant) -> Vec<Work> {
    let mut works: Vec<Work> = members.iter().map(|_| Work::default()).collect();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor is free");
    for (index, member) in members.iter().enumerate() {
        let index = epoll::EventData::new_u64(index as u64);
        epoll::add(&epoll, &member.link, index, epoll::EventFlags::IN).expect("an open link");
    }
    let mut asked: Vec<Option<(Ballot, Instant)>> = members
        .iter_mut()
        .map(|member| Some(send(member, Step::Prevote)))
        .collect();
    let mut open = members.len();
    let mut events = Vec::with_capacity(members.len());
    while open > 0 {
        // Longer than a signer may take; a link whose reply does not come stays in `asked`.
        let patience = rustix::event::Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&patience)).expect("an open epoll");
        assert!(!events.is_empty(), "{open} chains are not served");
        for event in &events {
            let index = usize::try_from(event.data.u64()).expect("an index of ours");
            let (Some(member), Some(work)) = (members.get_mut(index), works.get_mut(index)) else {
                continue;
            };
            let next = asked.get_mut(index).and_then(|asked| {
                let (ballot, begun) = asked.take()?;
                let reply = member.link.reply().expect("the signer answers");
                work.took.push(begun.elapsed());
                let step = ballot.step;
                match member.validator.read(&ballot, reply) {
                    Ok(Answer::Signed(signed)) => work.signed.push((ballot, signed)),
                    other => panic!("{} was not signed: {other:?}", member.validator.chain),
                }
                match step {
                    Step::Prevote => Some(Step::Precommit),
                    _ => {
                        member.height += 1;
                        (Instant::now() < end).then_some(Step::Prevote)
                    }
                }
            });
            match (next, asked.get_mut(index)) {
                (Some(step), Some(asked)) => *asked = Some(send(member, step)),
                _ => {
                    work.ended = Some(Instant::now());
                    open -= 1;
                }
            }
        }
    }
    works
}

/// Sends a member's next request; the clock starts before it.
fn send(member: &mut Member, step: Step) -> (Ballot, Instant) {
    let ballot = ballot(member.height, step);
    let request = member.validator.request(&ballot);
    let begun = Instant::now();
    member.link.send_raw(&request).expect("the signer listens");
    (ballot, begun)
}

/// One signature at the member's present height, verified.
fn sign(member: &mut Member, step: Step) -> Duration {
    let ballot = ballot(member.height, step);
    let (took, signed) = ask(member, &ballot);
    member
        .validator
        .verify(&ballot, &signed)
        .expect("a signature is valid");
    took
}

/// Only the exchange itself is timed: the node's own coding and checking is not the signer's work.
fn ask(member: &mut Member, ballot: &Ballot) -> (Duration, Signed) {
    let request = member.validator.request(ballot);
    let begun = Instant::now();
    let reply = member.link.exchange(&request).expect("the signer answers");
    let took = begun.elapsed();
    match member.validator.read(ballot, reply) {
        Ok(Answer::Signed(signed)) => (took, signed),
        other => panic!("{} was not signed: {other:?}", member.validator.chain),
    }
}

fn ballot(height: i64, step: Step) -> Ballot {
    Ballot {
        step,
        height,
        round: 0,
        block: Some(block(height, 0)),
        timestamp: now(),
        extension: None,
    }
}

impl Fleet {
    /// The only chain of a fleet of one.
    fn only(&mut self) -> &mut Member {
        self.members.first_mut().expect("a fleet has a chain")
    }

    fn is_tcp(&self) -> bool {
        self.members
            .first()
            .is_some_and(|member| member.link.is_authenticated())
    }
}
