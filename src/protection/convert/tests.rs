//! Every spelling of every era, and what is written for others.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should stop where it stands"
)]

use super::*;
use crate::privval::Timestamp;

const HASH: &str = "ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB";
const WRITTEN: u64 = 1_700_000_000;

fn block() -> BlockId {
    BlockId {
        hash: [0xab; 32],
        parts_total: 3,
        parts_hash: [0xab; 32],
    }
}

fn hrs(height: i64, round: i64, step: Step) -> Hrs {
    Hrs {
        height,
        round,
        step,
    }
}

fn found(json: &str) -> Found {
    read(json.as_bytes(), WRITTEN).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// What a file says, written with the words `height`, `round`, `step`, `block_id` of the cases below.
#[track_caller]
fn says(json: &str, hrs: Hrs, block_id: Option<BlockId>) {
    let record = found(json).record;
    let expected = Record {
        hrs,
        block_id,
        sign_bytes: None,
        signed_at: Some(WRITTEN),
    };
    assert_eq!(record, expected, "{json}");
}

#[test]
fn the_originals_files_of_every_era_are_read() {
    let parts = format!(r#"{{"total":3,"hash":"{HASH}"}}"#);
    let full = format!(r#"{{"hash":"{HASH}","parts":{parts}}}"#);
    let lower = full.to_lowercase();
    let alias = format!(r#"{{"hash":"{HASH}","part_set_header":{parts}}}"#);
    let total = full.replace(r#""total":3"#, r#""total":"3""#);
    for block_id in [&full, &lower, &alias, &total] {
        let json =
            format!(r#"{{"height":"36","round":"1","step":2,"block_id":{block_id},"more":[1]}}"#);
        says(&json, hrs(36, 1, Step::Precommit), Some(block()));
    }
    let steps = [
        (-1, Step::Proposal),
        (0, Step::Proposal),
        (1, Step::Prevote),
        (2, Step::Precommit),
        (3, Step::Proposal),
        (6, Step::Precommit),
    ];
    let nil = r#"{"hash":"","parts":{"total":0,"hash":""}}"#;
    let spellings = [
        "null",
        r#""""#,
        nil,
        r#"{"hash":"","parts":{"total":"0","hash":""}}"#,
        r#"{"hash":""}"#,
        "{}",
    ];
    for (number, step) in steps {
        for block_id in spellings {
            let strings =
                format!(r#"{{"height":"36","round":"1","step":{number},"block_id":{block_id}}}"#);
            says(&strings, hrs(36, 1, step), None);
            let ints =
                format!(r#"{{"height":36,"round":1,"step":{number},"block_id":{block_id}}}"#);
            says(&ints, hrs(36, 1, step), None);
        }
    }
    let bare = format!(r#"{{"height":36,"round":0,"step":6,"block_id":"{HASH}"}}"#);
    says(&bare, hrs(36, 0, Step::Precommit), None);
}

#[test]
fn file_pvs_files_are_read_with_their_steps_and_their_sign_bytes() {
    let chain = ChainId::new("cosmoshub-4").unwrap();
    let timestamp = Timestamp {
        seconds: 5,
        nanos: 6,
    };
    let signed = |step| canonical::sign_bytes(&chain, step, (36, 0, -1), Some(&block()), timestamp);
    for (number, step) in [
        (1, Step::Proposal),
        (2, Step::Prevote),
        (3, Step::Precommit),
    ] {
        let digits = String::from_utf8(hex::encode_upper(signed(step).as_bytes())).unwrap();
        for round in ["0", r#""0""#] {
            let json = format!(
                r#"{{"height":"36","round":{round},"step":{number},"signature":"c2ln","signbytes":"{digits}"}}"#
            );
            let found = found(&json);
            assert_eq!(found.record.hrs, hrs(36, 0, step));
            assert_eq!(found.record.block_id, Some(block()));
            assert_eq!(found.record.sign_bytes, Some(signed(step)));
            assert_eq!(found.record.signed_at, Some(WRITTEN));
            assert_eq!(found.chain.as_ref(), Some(&chain));
        }
        says(
            &format!(r#"{{"height":"36","round":0,"step":{number}}}"#),
            hrs(36, 0, step),
            None,
        );
    }
}

#[test]
fn a_step_that_could_be_read_two_ways_is_read_as_the_higher() {
    for (number, step) in [
        (0, Step::Proposal),
        (1, Step::Prevote),
        (2, Step::Precommit),
        (3, Step::Precommit),
        (6, Step::Precommit),
    ] {
        for numbers in [r#""height":"36","round":"0""#, r#""height":36,"round":0"#] {
            says(
                &format!(r#"{{{numbers},"step":{number}}}"#),
                hrs(36, 0, step),
                None,
            );
        }
    }
    // Both a block and a signature: nobody's file, so the higher again.
    let both = r#"{"height":"36","round":"0","step":3,"block_id":null,"signature":"c2ln"}"#;
    says(both, hrs(36, 0, Step::Precommit), None);
}

#[test]
fn the_single_file_of_the_first_validators_is_read() {
    let json = r#"{
        "address": "275184F7F3BB2D1EB56FB91F0DC9E0FE6FB64097",
        "pub_key": {"type": "tendermint/PubKeyEd25519", "value": "Dicjr17rwt2WMy+Wo/hLGc2qPpx03kvyUJCJGqh1MXM="},
        "last_height": "36", "last_round": "2", "last_step": 2,
        "last_signature": {"type": "tendermint/SignatureEd25519", "value": "c2ln"},
        "last_signbytes": "0001",
        "priv_key": {"type": "tendermint/PrivKeyEd25519", "value": "secret"}
    }"#;
    let found = found(json);
    assert_eq!(found.record.hrs, hrs(36, 2, Step::Prevote));
    assert_eq!(found.record.sign_bytes, None);
    assert!(found.holds_key);
    let key = found.key.unwrap();
    assert_eq!(
        hex::encode_upper(key.address()),
        b"275184F7F3BB2D1EB56FB91F0DC9E0FE6FB64097"
    );
}

#[test]
fn height_0_is_the_record_of_a_key_that_never_signed() {
    for json in [
        r#"{"height":"0","round":"0","step":0,"block_id":{"hash":"","parts":{"total":0,"hash":""}}}"#,
        r#"{"height":"0","round":0,"step":0}"#,
        r#"{"height":0,"round":0,"step":0,"block_id":""}"#,
        r#"{"last_height":"0","last_round":"0","last_step":0}"#,
    ] {
        assert_eq!(found(json).record, Record::never_signed(), "{json}");
    }
}

#[test]
fn what_no_version_wrote_is_refused() {
    let full = format!(r#"{{"height":"36","round":"1","step":2,"block_id":{{"hash":"{HASH}"}}}}"#);
    found(&full);
    for json in [
        "",
        "{}",
        "[]",
        "null",
        &full[..full.len() - 1],
        &format!("{full}}}"),
        &full.replace("36", "-36"),
        &full.replace("36", "9223372036854775808"),
        &full.replace("36", ""),
        &full.replace(r#""1""#, "-1"),
        &full.replace(r#""1""#, "1.5"),
        &full.replace(r#""step":2"#, r#""step":4"#),
        &full.replace(r#""step":2"#, r#""step":7"#),
        &full.replace(r#""step":2,"#, ""),
        &full.replace(r#""round":"1","#, ""),
        &full.replace(r#""step":2"#, r#""step":2,"height":"1""#),
        &full.replace("ABAB", "AB"),
        &full.replace("ABAB", "XYZW"),
        r#"{"height":"36","round":0,"step":0,"signature":"c2ln","signbytes":"0"}"#,
    ] {
        assert!(read(json.as_bytes(), WRITTEN).is_err(), "{json}");
    }
}

#[test]
fn an_export_forbids_what_the_record_forbids() {
    let mut signed = Record::floor_at(hrs(36, 1, Step::Precommit), WRITTEN);
    signed.block_id = Some(block());
    let tmkms = export(&signed, Format::Tmkms);
    assert_eq!(
        tmkms,
        format!(
            r#"{{"height":"36","round":"1","step":2,"block_id":{{"hash":"{HASH}","parts":{{"total":3,"hash":"{HASH}"}}}}}}"#
        )
    );
    assert_eq!(found(&tmkms).record, signed);
    let cometbft = export(&signed, Format::Cometbft);
    assert_eq!(
        cometbft,
        "{\n  \"height\": \"36\",\n  \"round\": 1,\n  \"step\": 3\n}"
    );
    assert_eq!(found(&cometbft).record.hrs, signed.hrs);

    // The original would vote nil where a file says nil; where nobody knows what was signed, it must not.
    let unknown = Record::floor_at(hrs(36, 1, Step::Prevote), WRITTEN);
    assert_eq!(
        export(&unknown, Format::Tmkms),
        r#"{"height":"36","round":"2","step":0,"block_id":{"hash":"","parts":{"total":0,"hash":""}}}"#
    );
    for record in [Record::floor_at_height(36, 1), unknown, signed] {
        for format in [Format::Tmkms, Format::Cometbft] {
            let again = found(&export(&record, format)).record;
            assert!(again.hrs >= record.hrs, "{record:?} {format:?}");
        }
    }
    for format in [Format::Tmkms, Format::Cometbft] {
        let again = found(&export(&Record::never_signed(), format));
        assert_eq!(again.record, Record::never_signed());
    }
}

#[test]
fn a_file_that_is_not_read_is_not_quoted() {
    // An operator may name a key file by mistake, and a string may have any length.
    let quoted = format!("\"{}\"", "secret".repeat(1_000));
    let inside = format!(
        r#"{{"height": "1", "round": {{"{}": 1}}, "step": 1}}"#,
        "secret".repeat(1_000)
    );
    for text in [quoted, inside] {
        let why = read(text.as_bytes(), WRITTEN).unwrap_err();
        assert!(!why.contains("secret") && why.len() < 200, "{why}");
    }
}
