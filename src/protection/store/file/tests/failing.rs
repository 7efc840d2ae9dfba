//! Every error at every call of the state path (D1), and a chain that stops alone (D4).

use super::{
    assert_granted, assert_refused, block, claim, hrs, message, prevote,
    simulated::{Fault, Plan, Simulated},
};
use crate::{
    privval::{ConsensusMsg, Step},
    protection::{
        Denial, Guard, Policy,
        rules::Record,
        store::{Claim, StoreError},
    },
};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EINTR: i32 = 4;
const EDQUOT: i32 = 122;
const EROFS: i32 = 30;

const FAULTS: [Fault; 11] = [
    Fault::Os(ENOSPC),
    Fault::Os(EIO),
    Fault::Os(EINTR),
    Fault::Os(EDQUOT),
    Fault::Os(EROFS),
    Fault::SyncLies,
    Fault::SyncDoneYetFailed,
    Fault::Short(0),
    Fault::Short(1),
    Fault::Short(512),
    Fault::Short(4095),
];

/// Opens, claims three heights and asks for a repeat of each; the last message that may be signed.
fn run(disk: &Simulated) -> Option<ConsensusMsg> {
    let mut signed = None;
    let Ok(mut store) = disk.open() else {
        return None;
    };
    let mut failed = false;
    for height in 1..=3 {
        let msg = prevote(height, 0xaa);
        match claim(&mut store, &msg) {
            Ok(Claim::Granted) => {
                assert!(!failed, "a chain in doubt went on");
                assert_eq!(disk.durable_record().hrs, msg.hrs, "not durable");
                signed = Some(msg);
            }
            Ok(other) => panic!("{other:?}"),
            Err(StoreError::InDoubt { .. }) => {
                assert!(!failed, "in doubt twice");
                failed = true;
            }
            Err(StoreError::Stopped) => assert!(failed),
        }
        if let (false, Some(msg)) = (failed, &signed) {
            let later = message(msg.hrs, msg.block_id, 99);
            assert!(matches!(claim(&mut store, &later), Ok(Claim::Recorded(_))));
        }
    }
    signed
}

/// After a restart, whatever was signed is known: nothing else is signed in its place.
fn assert_protected(disk: &Simulated, signed: &ConsensusMsg, context: &str) {
    let Ok(mut store) = disk.open() else {
        return;
    };
    assert!(store.record().hrs >= signed.hrs, "{context}");
    let conflict = message(signed.hrs, Some(block(0xbb)), 1);
    let claimed = claim(&mut store, &conflict);
    assert!(
        matches!(claimed, Ok(Claim::Refused(_))),
        "{context}: {claimed:?}"
    );
}

#[test]
fn no_permit_without_a_durable_record_whatever_call_fails() {
    let undisturbed = Simulated::with_record(&Record::never_signed());
    assert!(run(&undisturbed).is_some());
    let calls = undisturbed.calls();
    // Sync, two reads (the second finds the end), link, write, sync; then three times link, write, sync.
    assert!((14..=16).contains(&calls), "{calls}");
    for first in 0..calls {
        for fault in FAULTS {
            for for_ever in [false, true] {
                let plan = Plan {
                    first,
                    fault,
                    for_ever,
                };
                let disk = Simulated::with_record(&Record::never_signed());
                disk.plan(plan);
                let signed = run(&disk);
                disk.plan(Plan::NOTHING);
                let Some(signed) = signed else { continue };
                let context = format!("{plan:?}");
                // Killed only: what waits still waits.
                assert_protected(&disk.twin(), &signed, &context);
                for survivors in [
                    0x00_u8, 0xff, 0x01, 0x80, 0x0f, 0xf0, 0x55, 0xaa, 0xfe, 0x7f,
                ] {
                    let cut = disk.twin();
                    cut.cut_power(|number| survivors & (1 << (number % 8)) != 0);
                    assert_protected(&cut, &signed, &context);
                }
            }
        }
    }
}

#[test]
fn a_failed_sync_stops_its_chain_alone_and_for_good() {
    for nth in 0..4 {
        let disks = [0, 1].map(|_| Simulated::with_record(&Record::never_signed()));
        let guards = [0, 1].map(|n: usize| Guard::new(disks[n].open().unwrap()));
        // Link, write, sync for each claim.
        disks[0].plan(Plan {
            first: nth * 3 + 2,
            fault: Fault::Os(EIO),
            for_ever: false,
        });
        for height in 1..=6_usize {
            let msg = || prevote(i64::try_from(height).unwrap(), 0xaa);
            let sick = guards[0].judge(msg(), Policy::default());
            if height <= nth {
                assert!(sick.is_ok());
            } else {
                assert!(matches!(sick, Err(Denial::Stopped(_))), "{nth} {height}");
            }
            assert!(guards[1].judge(msg(), Policy::default()).is_ok());
        }
        // Not even a repeat of what was signed before is answered.
        if nth > 0 {
            let repeat = guards[0].judge(prevote(1, 0xaa), Policy::default());
            assert!(matches!(repeat, Err(Denial::Stopped(StoreError::Stopped))));
        }
    }
}

#[test]
fn a_restart_after_a_failed_sync_reads_the_disk_and_goes_on() {
    let disk = Simulated::with_record(&Record::never_signed());
    let mut store = disk.open().unwrap();
    assert_granted(claim(&mut store, &prevote(1, 0xaa)));
    disk.plan(Plan {
        first: 2,
        fault: Fault::Os(EIO),
        for_ever: true,
    });
    assert!(claim(&mut store, &prevote(2, 0xaa)).is_err());
    drop(store);
    disk.plan(Plan::NOTHING);
    let mut store = disk.open().unwrap();
    assert_refused(claim(&mut store, &prevote(1, 0xbb)));
    assert_refused(claim(&mut store, &prevote(2, 0xbb)));
    assert_granted(claim(
        &mut store,
        &message(hrs(2, 0, Step::Precommit), None, 1),
    ));
}
