//! A repeated request gets the same bytes, also after a restart (S2); boundaries of the jump limit (S5).

use super::{
    NOW, Seeded, assert_granted, block, chain, claim, hrs, key, message, prevote,
    simulated::Simulated,
};
use crate::{
    privval::Step,
    protection::{
        rules::{FIRST_HEIGHT_LIMIT, Policy, Record, Refusal},
        store::{
            Candidate, Claim, Store,
            file::{FileStore, create},
        },
    },
};

#[test]
fn random_requests_asked_again_get_the_first_bytes_also_after_a_restart() {
    let mut random = Seeded::from_environment();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    create(&path, &chain(), &key(1), &Record::never_signed()).unwrap();
    let open = || FileStore::open(&path, &chain(), &key(1)).unwrap().store;
    let mut store = open();
    let mut place = hrs(1, 0, Step::Proposal);
    let mut repeats = 0;
    for _ in 0..300 {
        let block_id = match (place.step, random.below(3)) {
            (Step::Prevote | Step::Precommit, 0) => None,
            _ => Some(block(0xaa)),
        };
        let first = message(place, block_id, 1_000);
        assert_granted(claim(&mut store, &first));
        for _ in 0..random.below(4) {
            if random.below(3) == 0 {
                drop(store);
                store = open();
            }
            // A proposal's timestamp may not differ.
            let later = match place.step {
                Step::Proposal => 1_000,
                _ => 1_000 + i64::try_from(random.below(3)).unwrap(),
            };
            match claim(&mut store, &message(place, block_id, later)) {
                Ok(Claim::Recorded(recorded)) => assert_eq!(recorded.sign_bytes, first.sign_bytes),
                other => panic!("{other:?}"),
            }
            repeats += 1;
        }
        place = match (random.below(3), place.step) {
            (0, _) => hrs(place.height + 1, 0, Step::Proposal),
            (1, Step::Proposal) => hrs(place.height, place.round, Step::Prevote),
            (1, Step::Prevote) => hrs(place.height, place.round, Step::Precommit),
            _ => hrs(place.height, place.round + 1, Step::Proposal),
        };
    }
    assert!(repeats > 100);
}

/// Asks for `height` at Unix time `now` of a record at height 100, signed at [`NOW`]; whether it was granted.
fn granted_from(record: &Record, height: i64, now: u64) -> bool {
    let disk = Simulated::with_record(record);
    let mut store = disk.open().unwrap();
    let before = disk.durable_record();
    let msg = prevote(height, 0xaa);
    let claimed = store.claim(&Candidate {
        msg: &msg,
        policy: Policy::default(),
        now,
    });
    match claimed.unwrap() {
        Claim::Granted => true,
        Claim::Refused(Refusal::Jump { .. }) => {
            assert_eq!(
                disk.durable_record(),
                before,
                "a refusal changed the record"
            );
            false
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_cannot_poison_the_record() {
    let record = Record::floor_at_height(100, NOW);
    for (now, limit) in [
        (NOW, 1_100),
        (NOW + 1, 1_100),
        (NOW + 100, 1_100),
        (NOW + 101, 1_110),
        (NOW + 86_400, 864_100),
        // A clock that ran back is no reason for more.
        (NOW - 1, 1_100),
        (0, 1_100),
    ] {
        assert!(granted_from(&record, limit, now), "{now} {limit}");
        assert!(!granted_from(&record, limit + 1, now), "{now} {limit}");
    }
    for height in [1 << 40, 1 << 62, i64::MAX] {
        assert!(!granted_from(&record, height, NOW));
        assert!(!granted_from(&Record::never_signed(), height, NOW));
    }
    // The farthest clock does not overflow.
    assert!(granted_from(&record, i64::MAX, u64::MAX));
    let fresh = Record::never_signed();
    assert!(granted_from(&fresh, FIRST_HEIGHT_LIMIT, NOW));
    assert!(!granted_from(&fresh, FIRST_HEIGHT_LIMIT + 1, NOW));
}

#[test]
fn random_heights_are_granted_up_to_the_limit_and_never_above() {
    let mut random = Seeded::from_environment();
    for _ in 0..500 {
        let silence = random.next() % 1_000_000;
        let height = 101 + i64::try_from(random.next() % (1 << (1 + random.below(40)))).unwrap();
        let limit = 100 + i64::try_from(silence * 10).unwrap().max(1_000);
        let record = Record::floor_at_height(100, NOW);
        let granted = granted_from(&record, height, NOW + silence);
        assert_eq!(granted, height <= limit, "{silence} {height}");
    }
}
