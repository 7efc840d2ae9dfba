//! Power cuts at every moment, with every subset of unsynced sectors (D2).

use super::{
    Seeded, assert_granted, assert_refused, block, claim, hrs,
    keeping::signature,
    message, prevote,
    simulated::{Fault, Plan, Simulated},
};
use crate::{
    privval::{ConsensusMsg, Step},
    protection::{
        rules::Record,
        store::{Claim, Store, file::FileStore},
    },
};

const EIO: i32 = 5;

/// A sync that never comes back: the process is gone before it.
fn die_at_sync(first: usize) -> Plan {
    Plan {
        first,
        fault: Fault::Os(EIO),
        for_ever: true,
    }
}

/// A disk that granted `signed` heights and then died in the claim of one more, before its sync.
fn cut_off_after(signed: i64) -> Simulated {
    let disk = Simulated::with_record(&Record::never_signed());
    let mut store = disk.open().unwrap();
    for height in 1..=signed {
        assert_granted(claim(&mut store, &prevote(height, 0xaa)));
    }
    disk.plan(die_at_sync(2));
    assert!(claim(&mut store, &prevote(signed + 1, 0xaa)).is_err());
    assert_eq!(disk.waiting(), 8);
    disk.plan(Plan::NOTHING);
    disk
}

/// Opens, and checks that `signed` heights are known to be signed.
fn assert_knows(disk: &Simulated, signed: i64) -> FileStore<Simulated> {
    let mut store = disk.open().unwrap();
    assert!(store.record().hrs.height >= signed);
    if signed > 0 {
        assert_refused(claim(&mut store, &prevote(signed, 0xbb)));
    }
    store
}

#[test]
fn any_subset_of_a_write_leaves_a_record_that_opens_and_forgets_nothing() {
    for signed in 0..4 {
        for survivors in 0..=u8::MAX {
            let disk = cut_off_after(signed);
            disk.cut_power(|number| survivors & (1 << number) != 0);
            let mut store = assert_knows(&disk, signed);
            // All or nothing: what was asked for in vain counts only if all of it got to the disk.
            let complete = survivors == u8::MAX;
            assert_eq!(store.record().hrs.height, signed + i64::from(complete));
            assert_granted(claim(&mut store, &prevote(signed + 2, 0xcc)));
            drop(store);
            assert_knows(&disk, signed + 2);
        }
    }
}

#[test]
fn a_second_cut_while_the_first_is_mended_forgets_nothing() {
    // Every subset of the second write on top of some of the first: none, all, one, the halves, every other sector.
    for survivors in [0x00, 0xff, 0x01, 0x80, 0x0f, 0xf0, 0x55, 0xaa, 0xfe, 0x7f] {
        let once = cut_off_after(2);
        once.cut_power(|number| survivors & (1 << number) != 0);
        // The write at open: sync, two reads, link, write, and the sync that it dies in.
        once.plan(die_at_sync(5));
        assert!(once.open().is_err());
        assert_eq!(
            once.waiting(),
            8,
            "the calls of an opening were counted wrong"
        );
        for again in 0..=u8::MAX {
            let twice = once.twin();
            twice.cut_power(|number| again & (1 << number) != 0);
            assert!(assert_knows(&twice, 2).record().hrs.height >= 2);
        }
    }
}

#[test]
fn a_kill_and_then_a_cut_at_any_call_of_the_opening_leave_a_record_that_opens() {
    for first in 0..8 {
        for survivors in 0..=u8::MAX {
            let disk = cut_off_after(2);
            disk.plan(die_at_sync(first));
            drop(disk.open());
            // What the killed process left comes first; if it still waits, none of it survives.
            let older = disk.waiting().saturating_sub(8);
            disk.cut_power(|number| number >= older && survivors & (1 << (number % 8)) != 0);
            assert_knows(&disk, 2);
        }
    }
}

#[test]
fn after_a_kill_what_the_cache_shows_is_made_durable_before_it_is_answered() {
    // Killed between write and sync: the cache is ahead of the disk.
    let disk = cut_off_after(2);
    let mut store = disk.open().unwrap();
    let repeat = message(hrs(3, 0, Step::Prevote), Some(block(0xaa)), 9);
    assert!(matches!(claim(&mut store, &repeat), Ok(Claim::Recorded(_))));
    drop(store);
    disk.cut_power(|_| false);
    assert_knows(&disk, 3);
}

/// The disk of [`cut_off_after`], but the sync failed, and the system forgot that anything waits to be written.
fn lied_to_after(signed: i64) -> Simulated {
    let disk = Simulated::with_record(&Record::never_signed());
    let mut store = disk.open().unwrap();
    for height in 1..=signed {
        assert_granted(claim(&mut store, &prevote(height, 0xaa)));
    }
    disk.plan(Plan {
        first: 2,
        fault: Fault::SyncLies,
        for_ever: false,
    });
    assert!(claim(&mut store, &prevote(signed + 1, 0xaa)).is_err());
    disk.plan(Plan::NOTHING);
    disk
}

#[test]
fn what_only_the_cache_holds_is_written_anew_before_it_is_answered() {
    let disk = lied_to_after(2);
    let mut store = disk.open().unwrap();
    let repeat = message(hrs(3, 0, Step::Prevote), Some(block(0xaa)), 9);
    assert!(matches!(claim(&mut store, &repeat), Ok(Claim::Recorded(_))));
    drop(store);
    disk.cut_power(|_| false);
    assert_knows(&disk, 3);
}

#[test]
fn a_cut_over_a_slot_that_only_the_cache_stood_beside_is_never_believed() {
    let mut refused = 0;
    for survivors in 0..=u8::MAX {
        let disk = lied_to_after(2);
        disk.plan(die_at_sync(5));
        assert!(disk.open().is_err());
        assert_eq!(disk.waiting(), 8);
        disk.cut_power(|number| survivors & (1 << number) != 0);
        match disk.open() {
            // Height 2 was released; a record that forgot it must not open.
            Ok(store) => assert!(store.record().hrs.height >= 2, "{survivors:08b}"),
            Err(_) => refused += 1,
        }
    }
    assert_eq!(refused, 254);
}

#[test]
fn random_lives_with_kills_and_cuts_never_sign_twice() {
    let mut random = Seeded::from_environment();
    for _ in 0..60 {
        let disk = Simulated::with_record(&Record::never_signed());
        let mut signed: Vec<ConsensusMsg> = Vec::new();
        let mut height = 1;
        for _ in 0..40 {
            // An opening has 6 calls, a claim 3.
            disk.plan(die_at_sync(random.below(40)));
            if let Ok(mut store) = disk.open() {
                live(&mut store, &mut random, &mut height, &mut signed);
            }
            disk.plan(Plan::NOTHING);
            if random.below(3) > 0 {
                let survivors = random.next();
                disk.cut_power(|number| survivors & (1 << (number % 64)) != 0);
            }
        }
        let store = disk.open().unwrap();
        assert!(
            signed
                .last()
                .is_none_or(|last| store.record().hrs >= last.hrs)
        );
    }
}

/// Asks for one thing after the other until the process is killed; checks each answer against all that was ever signed.
fn live(
    store: &mut FileStore<Simulated>,
    random: &mut Seeded,
    height: &mut i64,
    signed: &mut Vec<ConsensusMsg>,
) {
    loop {
        *height = (*height + i64::try_from(random.below(4)).unwrap() - 1).max(1);
        let step = [Step::Prevote, Step::Precommit][random.below(2)];
        let name = [0xaa, 0xbb, 0xcc][random.below(3)];
        let seconds = i64::try_from(random.below(3)).unwrap();
        let msg = message(hrs(*height, 0, step), Some(block(name)), seconds);
        let released = match claim(store, &msg) {
            Err(_) => return,
            Ok(Claim::Refused(_)) => continue,
            Ok(Claim::Granted) => {
                // As for a key that cannot repeat itself; that this may fail changes nothing.
                let _ = store.keep(msg.hrs, &msg.sign_bytes, &signature(&msg));
                msg
            }
            Ok(Claim::Recorded(recorded)) => {
                let repeat = ConsensusMsg {
                    sign_bytes: recorded.sign_bytes,
                    ..msg
                };
                if let Some(kept) = recorded.signature {
                    assert_eq!(kept, signature(&repeat));
                }
                repeat
            }
        };
        let before = signed.iter().find(|before| before.hrs == released.hrs);
        match before {
            Some(before) => assert_eq!(before.sign_bytes, released.sign_bytes, "signed twice"),
            None => signed.push(released),
        }
    }
}
