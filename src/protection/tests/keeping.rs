//! What a guard does with the signatures of a key that cannot make them again.

use ed25519_dalek::{
    SigningKey, VerifyingKey,
    hazmat::{ExpandedSecretKey, raw_sign},
};
use sha2::{Digest, Sha512};

use super::{block, message};
use crate::{
    crypto::{PublicKey, Signature},
    privval::{ConsensusMsg, Hrs, Step},
    protection::{
        Guard, Permit, Policy, REMEMBERED, SignedMsg, rules::Record, store::memory::MemoryStore,
    },
};

fn guard() -> Guard {
    Guard::new(MemoryStore {
        record: Record::never_signed(),
    })
}

fn vote(height: i64) -> ConsensusMsg {
    let hrs = Hrs {
        height,
        round: 0,
        step: Step::Prevote,
    };
    message(hrs, Some(block(0xaa)), -1, 1)
}

fn judge(guard: &Guard, height: i64) -> Permit {
    guard.judge(vote(height), Policy::default()).unwrap()
}

/// Signs with a nonce of its own choice, so that no two signatures are alike.
fn sign(permit: Permit, nonce: u8) -> SignedMsg {
    let seed = [1; 32];
    let public: VerifyingKey = SigningKey::from_bytes(&seed).verifying_key();
    let mut key = ExpandedSecretKey::from_bytes(&Sha512::digest(seed).into());
    key.hash_prefix = [nonce; 32];
    let signature = raw_sign::<Sha512>(&key, permit.sign_bytes().as_bytes(), &public);
    let signature = Signature::Ed25519(signature.to_bytes());
    let public = PublicKey::ed25519(public.as_bytes()).unwrap();
    permit.complete(signature, None, &public).unwrap()
}

#[test]
fn of_two_signatures_that_were_made_at_once_both_nodes_get_the_first() {
    let guard = guard();
    let (one, two) = (judge(&guard, 1), judge(&guard, 1));
    assert!(one.kept().is_none() && two.kept().is_none());
    let (one, two) = (sign(one, 1), sign(two, 2));
    assert_ne!(one.signature(), two.signature());
    let two = guard.keep(two);
    let one = guard.keep(one);
    assert_eq!(one.signature(), two.signature());
    assert_eq!(judge(&guard, 1).kept(), Some(two.signature()));
}

#[test]
fn a_late_node_gets_the_kept_signature_for_as_long_as_votes_are_remembered() {
    let guard = guard();
    let last = i64::try_from(REMEMBERED).unwrap() + 5;
    let kept: Vec<SignedMsg> = (1..=last)
        .map(|height| guard.keep(sign(judge(&guard, height), 1)))
        .collect();
    for signed in &kept[5..] {
        let again = judge(&guard, signed.hrs().height);
        assert_eq!(again.kept(), Some(signed.signature()));
    }
    assert!(guard.judge(vote(5), Policy::default()).is_err());
}
