//! The signatures of keys that cannot make them again (S2): kept across restarts, and never a reason not to open.

use ed25519_dalek::{Signer as _, SigningKey};

use super::{
    assert_granted, chain, claim, key, message, prevote,
    simulated::{Fault, Plan, Simulated},
};
use crate::{
    crypto::Signature,
    privval::ConsensusMsg,
    protection::{
        Guard, Policy,
        rules::Record,
        store::{
            Claim, Store,
            file::{
                FileStore, create,
                region::{self, REGION_AT, REGION_LEN},
                slot::TooLong,
            },
        },
    },
};

pub(super) fn signature(msg: &ConsensusMsg) -> Signature {
    let key = SigningKey::from_bytes(&[1; 32]);
    Signature::Ed25519(key.sign(msg.sign_bytes.as_bytes()).to_bytes())
}

fn keep(store: &mut impl Store, msg: &ConsensusMsg) {
    let kept = store.keep(msg.hrs, &msg.sign_bytes, &signature(msg));
    kept.unwrap();
}

/// What a repeat of `msg`, a second later, would be answered with.
fn kept(store: &mut impl Store, msg: &ConsensusMsg) -> Option<Signature> {
    match claim(store, &message(msg.hrs, msg.block_id, 2)) {
        Ok(Claim::Recorded(recorded)) => {
            assert_eq!(recorded.sign_bytes, msg.sign_bytes);
            recorded.signature
        }
        other => panic!("{other:?}"),
    }
}

/// A disk on which height 2 was signed, and its signature kept but not synced.
fn kept_on_disk() -> (Simulated, ConsensusMsg) {
    let disk = Simulated::with_record(&Record::never_signed());
    let mut store = disk.open().unwrap();
    let first = prevote(1, 0xaa);
    assert_granted(claim(&mut store, &first));
    keep(&mut store, &first);
    let second = prevote(2, 0xaa);
    assert_granted(claim(&mut store, &second));
    keep(&mut store, &second);
    (disk, second)
}

#[test]
fn a_kept_signature_answers_a_repeat_after_any_number_of_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    create(&path, &chain(), &key(1), &Record::never_signed()).unwrap();
    let open = || FileStore::open(&path, &chain(), &key(1)).unwrap().store;
    let mut store = open();
    for height in 1..4 {
        let msg = prevote(height, 0xaa);
        assert_granted(claim(&mut store, &msg));
        assert_eq!(kept(&mut store, &msg), None);
        keep(&mut store, &msg);
        for _ in 0..3 {
            assert_eq!(kept(&mut store, &msg), Some(signature(&msg)));
            drop(store);
            store = open();
        }
    }
}

#[test]
fn a_signature_is_kept_of_what_stands_in_the_record_and_of_nothing_else() {
    let disk = Simulated::with_record(&Record::never_signed());
    let mut store = disk.open().unwrap();
    let (old, new) = (prevote(1, 0xaa), prevote(2, 0xaa));
    assert_granted(claim(&mut store, &old));
    assert_granted(claim(&mut store, &new));
    keep(&mut store, &old);
    keep(&mut store, &message(new.hrs, new.block_id, 77));
    assert_eq!(kept(&mut store, &new), None);
    assert_eq!(kept(&mut disk.open().unwrap(), &new), None);
}

#[test]
fn after_a_restart_between_claim_and_signature_nothing_is_kept() {
    let (disk, _) = kept_on_disk();
    let third = prevote(3, 0xaa);
    assert_granted(claim(&mut disk.open().unwrap(), &third));
    assert_eq!(kept(&mut disk.open().unwrap(), &third), None);
}

#[test]
fn a_power_cut_loses_a_signature_or_leaves_it_whole() {
    let (mut lost, mut whole) = (0, 0);
    for survivors in (0..=u16::MAX).step_by(257).chain([u16::MAX - 1, 1, 0x8000]) {
        let (disk, msg) = kept_on_disk();
        assert_eq!(disk.waiting(), REGION_LEN / 512);
        disk.cut_power(|number| survivors & (1 << number) != 0);
        match kept(&mut disk.open().unwrap(), &msg) {
            None => lost += 1,
            Some(kept) => {
                assert_eq!(kept, signature(&msg));
                whole += 1;
            }
        }
    }
    // The first sector and the last one differ from what stood there before; those between them are spaces.
    assert!(lost > 100 && whole > 50, "{lost} {whole}");
}

#[test]
fn a_region_that_is_damaged_anywhere_is_ignored() {
    let (disk, msg) = kept_on_disk();
    drop(disk.open());
    let mut image = disk.image();
    let open = |image: &[u8]| Simulated::holding(image.to_vec()).open().unwrap();
    assert_eq!(kept(&mut open(&image), &msg), Some(signature(&msg)));
    for byte in (REGION_AT..REGION_AT + REGION_LEN).step_by(7) {
        image[byte] ^= 0x04;
        assert_eq!(kept(&mut open(&image), &msg), None, "byte {byte}");
        image[byte] ^= 0x04;
    }
}

#[test]
fn a_signature_that_does_not_verify_is_ignored() {
    let (disk, msg) = kept_on_disk();
    let image = disk.image();
    let record = Record::after(&msg, super::NOW);
    let (_, header_crc) = super::super::read_header(&image).unwrap();
    let with = |signature: &[u8]| {
        let region = region::render(&record, 3, signature, header_crc).unwrap();
        let mut image = image.clone();
        image[REGION_AT..].copy_from_slice(&region);
        kept(&mut Simulated::holding(image).open().unwrap(), &msg)
    };
    let right = signature(&msg);
    assert_eq!(with(right.as_bytes()), Some(right.clone()));
    assert_eq!(with(signature(&prevote(3, 0xaa)).as_bytes()), None);
    assert_eq!(with(&[0; 64]), None);
    assert_eq!(with(&right.as_bytes()[..63]), None);
    assert_eq!(with(b""), None);
}

#[test]
fn a_signature_that_cannot_be_kept_stops_nothing() {
    const EIO: i32 = 5;
    for fault in [Fault::Os(EIO), Fault::Short(0), Fault::Short(600)] {
        let (disk, _) = kept_on_disk();
        let mut store = disk.open().unwrap();
        let msg = prevote(3, 0xaa);
        assert_granted(claim(&mut store, &msg));
        disk.plan(Plan {
            first: 0,
            fault,
            for_ever: false,
        });
        let failed = store.keep(msg.hrs, &msg.sign_bytes, &signature(&msg));
        failed.expect_err("the write failed");
        assert_eq!(kept(&mut store, &msg), Some(signature(&msg)), "from memory");
        assert_granted(claim(&mut store, &prevote(4, 0xaa)));
        drop(store);
        assert_granted(claim(&mut disk.open().unwrap(), &prevote(5, 0xaa)));
    }
}

#[test]
fn a_signature_that_cannot_be_kept_leaves_all_the_same_and_says_so() {
    let disk = Simulated::with_record(&Record::never_signed());
    let guard = Guard::new(disk.open().unwrap());
    for height in 1..4 {
        let msg = prevote(height, 0xaa);
        let made = signature(&msg);
        let permit = guard.judge(msg.clone(), Policy::default()).unwrap();
        let signed = permit.complete(made.clone(), None, &key(1)).unwrap();
        disk.plan(Plan {
            first: 0,
            fault: Fault::Os(28),
            for_ever: true,
        });
        let signed = guard.keep(signed);
        disk.plan(Plan::NOTHING);
        assert_eq!(*signed.signature(), made);
        assert!(signed.not_kept().is_some());
        let again = guard.judge(msg, Policy::default()).unwrap();
        assert_eq!(again.kept(), Some(&made));
    }
}

#[test]
fn signatures_of_every_scheme_fit() {
    let record = Record::after(&prevote(i64::MAX, 0xaa), super::NOW);
    // ML-DSA-65, the longest that is known to come.
    assert!(region::render(&record, u64::MAX, &[0xff; 3_309], 0).is_ok());
    let longer = region::render(&record, u64::MAX, &[0xff; 4_096], 0);
    assert_eq!(longer, Err(TooLong));
}
