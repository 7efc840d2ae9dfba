//! Making, opening, locking, refusing.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{assert_granted, assert_refused, block, chain, claim, hrs, key, message, prevote};
use crate::{
    privval::{ChainId, Step},
    protection::{
        rules::Record,
        store::{
            Claim,
            file::{self, FileStore, Problem, create},
        },
    },
};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn made(directory: &tempfile::TempDir) -> PathBuf {
    let path = directory.path().join("state.json");
    create(&path, &chain(), &key(1), &Record::never_signed()).unwrap();
    path
}

fn open(path: &Path) -> FileStore {
    let opened = FileStore::open(path, &chain(), &key(1)).unwrap();
    assert_eq!(opened.notes, Vec::<String>::new());
    opened.store
}

#[track_caller]
fn problem(path: &Path) -> Problem {
    let error = FileStore::open(path, &chain(), &key(1)).unwrap_err();
    assert_eq!(error.path, path);
    assert!(error.hint().is_some());
    error.problem
}

#[test]
fn a_record_holds_what_was_claimed_across_a_restart() {
    let directory = directory();
    let path = made(&directory);
    let mut store = open(&path);
    assert_granted(claim(&mut store, &prevote(10, 0xaa)));
    drop(store);
    let mut store = open(&path);
    assert_refused(claim(&mut store, &prevote(10, 0xbb)));
    assert_refused(claim(&mut store, &prevote(9, 0xaa)));
    let asked = message(hrs(10, 0, Step::Prevote), Some(block(0xaa)), 77);
    match claim(&mut store, &asked) {
        Ok(Claim::Recorded(recorded)) => {
            assert_eq!(recorded.sign_bytes, prevote(10, 0xaa).sign_bytes);
        }
        other => panic!("{other:?}"),
    }
    assert_granted(claim(&mut store, &prevote(11, 0xbb)));
}

#[test]
fn a_record_is_made_once_and_is_its_owners_alone() {
    let directory = directory();
    let path = made(&directory);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let before = fs::read(&path).unwrap();
    let again = create(&path, &chain(), &key(2), &Record::floor_at_height(5, 0)).unwrap_err();
    assert!(matches!(again.problem, Problem::Exists));
    assert_eq!(fs::read(&path).unwrap(), before);
    let dangling = directory.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let error = create(&dangling, &chain(), &key(1), &Record::never_signed()).unwrap_err();
    assert!(matches!(error.problem, Problem::Exists));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn a_second_opening_is_refused_and_names_the_holder() {
    let directory = directory();
    let path = made(&directory);
    let store = open(&path);
    let link = directory.path().join("symlink");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let hard = directory.path().join("hard link");
    fs::hard_link(&path, &hard).unwrap();
    for name in [&path, &link, &hard] {
        match problem(name) {
            Problem::Locked { holder } => assert_eq!(holder, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        file::inspect(&path).unwrap().holder,
        Some(std::process::id())
    );
    drop(store);
    open(&path);
}

#[test]
fn a_record_that_is_not_whole_is_refused() {
    let directory = directory();
    let path = directory.path().join("state.json");
    assert!(matches!(problem(&path), Problem::Missing));
    fs::write(&path, "").unwrap();
    assert!(matches!(problem(&path), Problem::Empty));
    fs::write(&path, "\0".repeat(20_480)).unwrap();
    assert!(matches!(problem(&path), Problem::Unparsable(_)));
    fs::write(&path, "tmkms state record, format 2\nwhatever").unwrap();
    assert!(matches!(problem(&path), Problem::NewerFormat(format) if format == "2"));
    fs::remove_file(&path).unwrap();
    let path = made(&directory);
    let whole = fs::read(&path).unwrap();
    for len in [1, 10, 4096, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(matches!(problem(&path), Problem::Truncated(found) if found == len as u64));
    }
    let mut longer = whole.clone();
    longer.push(b' ');
    fs::write(&path, longer).unwrap();
    assert!(matches!(problem(&path), Problem::Unparsable(_)));
    fs::write(&path, &whole).unwrap();
    open(&path);
}

#[test]
fn a_record_of_another_chain_or_key_is_refused() {
    let directory = directory();
    let path = made(&directory);
    let other = ChainId::new("osmosis-1").unwrap();
    let error = FileStore::open(&path, &other, &key(1)).unwrap_err();
    assert!(matches!(error.problem, Problem::WrongChain { found } if found == "cosmoshub-4"));
    let error = FileStore::open(&path, &chain(), &key(2)).unwrap_err();
    assert!(matches!(error.problem, Problem::WrongKey { .. }));
    let seen = file::inspect(&path).unwrap();
    assert!(seen.belongs_to(&chain(), &key(1)).is_ok());
    assert!(seen.belongs_to(&other, &key(1)).is_err());
    assert!(seen.belongs_to(&chain(), &key(2)).is_err());
}

#[test]
fn a_copy_is_refused_and_a_renamed_record_is_not() {
    let directory = directory();
    let path = made(&directory);
    let moved = directory.path().join("moved.json");
    fs::rename(&path, &moved).unwrap();
    let mut store = open(&moved);
    assert_granted(claim(&mut store, &prevote(10, 0xaa)));
    drop(store);
    fs::copy(&moved, &path).unwrap();
    assert!(matches!(problem(&path), Problem::Copied));
    assert!(matches!(
        file::inspect(&path).unwrap_err().problem,
        Problem::Copied
    ));
    // Put back at the old place, even under the old inode number, it is another file.
    fs::remove_file(&moved).unwrap();
    fs::rename(&path, &moved).unwrap();
    assert!(matches!(problem(&moved), Problem::Copied));
}

#[test]
fn a_record_that_is_deleted_or_replaced_in_use_stops_its_chain() {
    let directory = directory();
    let path = made(&directory);
    let mut store = open(&path);
    assert_granted(claim(&mut store, &prevote(10, 0xaa)));
    let inode = fs::metadata(&path).unwrap().ino();
    fs::write(directory.path().join("new"), "{}").unwrap();
    fs::rename(directory.path().join("new"), &path).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
    assert!(claim(&mut store, &prevote(11, 0xaa)).is_err());
    assert!(claim(&mut store, &prevote(12, 0xaa)).is_err());
}

#[test]
fn a_state_hook_raises_the_floor_durably_within_the_jump_limit() {
    let directory = directory();
    let path = made(&directory);
    let mut store = open(&path);
    assert!(store.raise_from_hook(500).unwrap().is_none());
    assert!(store.raise_from_hook(500).unwrap().is_some());
    assert!(store.raise_from_hook(20).unwrap().is_some());
    let error = store.raise_from_hook(2_000_000).unwrap_err();
    assert!(matches!(error.problem, Problem::Jump { .. }));
    drop(store);
    let mut store = open(&path);
    assert_refused(claim(
        &mut store,
        &message(hrs(500, 7, Step::Precommit), None, 1),
    ));
    assert_granted(claim(&mut store, &prevote(501, 0xaa)));
}
