//! Conversion in place, import, raising: nothing ever lowers a floor (S6).

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use super::{NOW, assert_granted, assert_refused, block, chain, claim, hrs, key, message, prevote};
use crate::{
    privval::{Hrs, Step},
    protection::{
        convert::{Format, export},
        rules::Record,
        store::{
            Claim,
            file::{self, FileStore, OpenError, Problem, create, import, inspect, raise},
        },
    },
};

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let time = UNIX_EPOCH + Duration::from_secs(NOW - 60);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn tmkms(height: i64) -> String {
    let mut record = Record::floor_at(hrs(height, 1, Step::Prevote), 0);
    record.block_id = Some(block(0xaa));
    export(&record, Format::Tmkms)
}

fn file_pv(height: i64) -> String {
    let msg = message(hrs(height, 0, Step::Prevote), Some(block(0xaa)), 1);
    let bytes = subtle_encoding::hex::encode_upper(msg.sign_bytes.as_bytes());
    let bytes = String::from_utf8(bytes).unwrap();
    format!(
        r#"{{"height":"{height}","round":0,"step":2,"signature":"c2ln","signbytes":"{bytes}"}}"#
    )
}

#[test]
fn the_originals_file_is_converted_where_it_stands_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    write(&path, &tmkms(36));
    let seen = inspect(&path).unwrap();
    assert_eq!(
        seen.converts_from,
        Some("the state file of the original tmkms")
    );
    let opened = FileStore::open(&path, &chain(), &key(1)).unwrap();
    assert_eq!(opened.notes.len(), 1);
    let mut store = opened.store;
    assert_eq!(store.record().hrs, hrs(36, 1, Step::Prevote));
    assert_eq!(store.record().signed_at, Some(NOW - 60));
    assert_refused(claim(
        &mut store,
        &message(hrs(36, 1, Step::Prevote), Some(block(0xaa)), 1),
    ));
    assert_refused(claim(
        &mut store,
        &message(hrs(36, 0, Step::Precommit), None, 1),
    ));
    assert_granted(claim(
        &mut store,
        &message(hrs(36, 1, Step::Precommit), None, 1),
    ));
    drop(store);
    assert_eq!(
        names(directory.path()),
        ["state.json", "state.json.before-conversion"]
    );
    let original = fs::read_to_string(directory.path().join("state.json.before-conversion"));
    assert_eq!(original.unwrap(), tmkms(36));
    assert_eq!(
        inspect(&path).unwrap().record.hrs,
        hrs(36, 1, Step::Precommit)
    );
}

#[test]
fn an_earlier_original_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    write(&path, &tmkms(36));
    write(&path.with_extension("json.before-conversion"), "older");
    FileStore::open(&path, &chain(), &key(1)).unwrap();
    assert_eq!(
        names(directory.path()),
        [
            "state.json",
            "state.json.before-conversion",
            "state.json.before-conversion.2"
        ]
    );
    // Cut off between the second name and the replacement: the name is used again.
    let cut = directory.path().join("cut.json");
    write(&cut, &tmkms(36));
    fs::hard_link(&cut, cut.with_extension("json.before-conversion")).unwrap();
    FileStore::open(&cut, &chain(), &key(1)).unwrap();
    assert_eq!(names(directory.path()).len(), 5);
}

#[test]
fn a_repeat_after_moving_from_a_node_gets_the_nodes_signature() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("priv_validator_state.json");
    write(&path, &file_pv(36));
    let mut store = FileStore::open(&path, &chain(), &key(1)).unwrap().store;
    let again = message(hrs(36, 0, Step::Prevote), Some(block(0xaa)), 9);
    match claim(&mut store, &again) {
        Ok(Claim::Recorded(recorded)) => assert_eq!(recorded.sign_bytes.timestamp().seconds, 1),
        other => panic!("{other:?}"),
    }
    assert_refused(claim(
        &mut store,
        &message(hrs(36, 0, Step::Prevote), None, 1),
    ));
    drop(store);
    let other = crate::privval::ChainId::new("osmosis-1").unwrap();
    let source = directory.path().join("other");
    write(&source, &file_pv(40));
    let fresh = directory.path().join("fresh");
    let error = import(&fresh, &other, &key(1), &source).unwrap_err();
    assert!(matches!(error.problem, Problem::WrongChain { found } if found == "cosmoshub-4"));
}

#[test]
fn a_file_with_several_names_or_a_key_is_not_converted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.json");
    write(&path, &tmkms(36));
    fs::hard_link(&path, directory.path().join("other name")).unwrap();
    let error = FileStore::open(&path, &chain(), &key(1)).unwrap_err();
    assert!(matches!(error.problem, Problem::SeveralNames(2)));
    let single = directory.path().join("priv_validator.json");
    let text = r#"{"last_height":"36","last_round":"0","last_step":3,"priv_key":{"type":"x","value":"y"}}"#;
    write(&single, text);
    let error = FileStore::open(&single, &chain(), &key(1)).unwrap_err();
    assert!(matches!(error.problem, Problem::HoldsKey));
    let target = directory.path().join("target");
    let change = import(&target, &chain(), &key(1), &single).unwrap();
    assert_eq!(change.before, None);
    assert_eq!(change.after.hrs, hrs(36, 0, Step::Precommit));
    assert_eq!(fs::read_to_string(&single).unwrap(), text);
    assert_eq!(
        names(directory.path()),
        ["other name", "priv_validator.json", "state.json", "target"]
    );
}

#[test]
fn a_conversion_replaces_the_record_and_not_a_symbolic_link_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().join("real.json");
    write(&real, &tmkms(36));
    let link = directory.path().join("link.json");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    FileStore::open(&link, &chain(), &key(1)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(inspect(&real).unwrap().record.hrs.height, 36);
}

/// Every kind of file that says `hrs`.
fn sources(directory: &Path, height: i64) -> Vec<(std::path::PathBuf, Hrs)> {
    let texts = [
        ("0.15", tmkms(height), hrs(height, 1, Step::Prevote)),
        (
            "0.5",
            format!(r#"{{"height":{height},"round":0,"step":6,"block_id":null}}"#),
            hrs(height, 0, Step::Precommit),
        ),
        ("file_pv", file_pv(height), hrs(height, 0, Step::Prevote)),
        (
            "horcrux",
            format!(
                r#"{{"height":"{height}","round":"0","step":3,"signature":"c2ln","vote_ext_signature":null}}"#
            ),
            hrs(height, 0, Step::Precommit),
        ),
        (
            "cosmos-kms",
            format!(r#"{{"height":{height},"round":0,"step":3,"signbytes":"00"}}"#),
            hrs(height, 0, Step::Precommit),
        ),
        (
            "v0.26",
            format!(r#"{{"last_height":"{height}","last_round":"0","last_step":1}}"#),
            hrs(height, 0, Step::Proposal),
        ),
    ];
    let mut sources: Vec<_> = texts
        .into_iter()
        .map(|(name, text, hrs)| {
            let path = directory.join(format!("{name}-{height}"));
            write(&path, &text);
            (path, hrs)
        })
        .collect();
    let own = directory.join(format!("own-{height}"));
    create(
        &own,
        &chain(),
        &key(1),
        &Record::floor_at_height(height, NOW),
    )
    .unwrap();
    let copy = directory.join(format!("copy-{height}"));
    fs::copy(&own, &copy).unwrap();
    let floor = Record::floor_at_height(height, NOW).hrs;
    sources.extend([(own, floor), (copy, floor)]);
    sources
}

#[test]
fn an_import_of_any_file_only_ever_raises() {
    let directory = tempfile::tempdir().unwrap();
    let mut checked = 0;
    for height in [9, 10, 11] {
        for (source, told) in sources(directory.path(), height) {
            let path = directory.path().join("record");
            let floor = Record::floor_at(hrs(10, 0, Step::Prevote), NOW);
            create(&path, &chain(), &key(1), &floor).unwrap();
            let change = import(&path, &chain(), &key(1), &source).unwrap();
            assert_eq!(change.before, Some(floor.clone()));
            assert_eq!(
                change.after.hrs,
                told.max(floor.hrs),
                "{}",
                source.display()
            );
            assert_eq!(inspect(&path).unwrap().record, change.after);
            fs::remove_file(&path).unwrap();
            let made = import(&path, &chain(), &key(1), &source).unwrap();
            assert_eq!((made.before, made.after.hrs), (None, told));
            fs::remove_file(&path).unwrap();
            checked += 1;
        }
    }
    assert_eq!(checked, 24);
}

#[test]
fn a_copy_is_taken_over_knowingly_and_never_below_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let original = directory.path().join("original");
    create(
        &original,
        &chain(),
        &key(1),
        &Record::floor_at_height(50, NOW),
    )
    .unwrap();
    let path = directory.path().join("copy");
    fs::copy(&original, &path).unwrap();
    let itself = import(&path, &chain(), &key(1), &path).unwrap();
    assert_eq!(itself.before, Some(itself.after.clone()));
    FileStore::open(&path, &chain(), &key(1)).unwrap();

    for (source, expected) in [(tmkms(40), 50), (tmkms(60), 60)] {
        let path = directory.path().join("another copy");
        fs::copy(&original, &path).unwrap();
        let from = directory.path().join("source");
        write(&from, &source);
        let change = import(&path, &chain(), &key(1), &from).unwrap();
        assert_eq!(change.after.hrs.height, expected);
        let store = FileStore::open(&path, &chain(), &key(1)).unwrap().store;
        assert_eq!(store.record().hrs.height, expected);
    }
    let error = import(&path, &chain(), &key(2), &original).unwrap_err();
    assert!(matches!(error.problem, Problem::WrongKey { .. }));
    assert_eq!(
        names(directory.path()),
        ["another copy", "copy", "original", "source"]
    );
}

#[test]
fn a_floor_is_raised_by_hand_and_never_lowered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    create(&path, &chain(), &key(1), &Record::never_signed()).unwrap();
    for (height, expected) in [(100, 100), (50, 100), (2_000_000_000, 2_000_000_000)] {
        let floor = Record::floor_at_height(height, NOW);
        let change = raise(&path, &chain(), None, &floor).unwrap();
        assert_eq!(change.after.hrs.height, expected);
    }
    let mut store = FileStore::open(&path, &chain(), &key(1)).unwrap().store;
    assert_refused(claim(&mut store, &prevote(2_000_000_000, 0xaa)));
    assert_granted(claim(&mut store, &prevote(2_000_000_001, 0xaa)));
    let json = directory.path().join("state.json");
    write(&json, &tmkms(5));
    let error = raise(&json, &chain(), None, &Record::floor_at_height(9, NOW)).unwrap_err();
    assert!(matches!(error.problem, Problem::NotConverted));
    let raised = raise(
        &json,
        &chain(),
        Some(&key(1)),
        &Record::floor_at_height(9, NOW),
    )
    .unwrap();
    assert_eq!(raised.after.hrs.height, 9);
}

#[test]
fn a_record_in_use_is_shown_but_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    create(&path, &chain(), &key(1), &Record::never_signed()).unwrap();
    let mut store = FileStore::open(&path, &chain(), &key(1)).unwrap().store;
    assert_granted(claim(&mut store, &prevote(10, 0xaa)));
    assert_eq!(inspect(&path).unwrap().record, *store.record());
    let source = directory.path().join("source");
    write(&source, &tmkms(99));
    let held = |outcome: Result<file::Change, OpenError>| {
        let error = outcome.unwrap_err();
        assert!(matches!(error.problem, Problem::Locked { holder: Some(_) }));
        error.path
    };
    let floor = Record::floor_at_height(99, NOW);
    assert_eq!(held(raise(&path, &chain(), None, &floor)), path);
    assert_eq!(held(import(&path, &chain(), &key(1), &source)), path);
    // Nor is it taken over by another record while it signs.
    let other = directory.path().join("other");
    assert_eq!(held(import(&other, &chain(), &key(1), &path)), path);
    assert_granted(claim(&mut store, &prevote(11, 0xaa)));
}
