//! Several keys of one chain: each has its own record, wherever it stands in a configuration.

use std::path::{Path, PathBuf};

use super::{chain, hrs, key};
use crate::{
    privval::Step,
    protection::{
        convert::{Format, export},
        rules::Record,
        store::file::{FileStore, OpenError, Problem, RecordPath, Whose, create},
    },
};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn state_file(&self) -> PathBuf {
        self.0.path().join("state.json")
    }

    /// With the address of the key with this seed in its name.
    fn beside(&self, seed: u8) -> PathBuf {
        let address = subtle_encoding::hex::encode_upper(key(seed).address());
        let address = String::from_utf8(address).unwrap();
        self.0.path().join(format!("state-{address}.json"))
    }

    fn path(&self, rank: Rank) -> RecordPath {
        let (whose, one_of_several) = rank;
        RecordPath {
            state_file: self.state_file(),
            whose,
            one_of_several,
        }
    }

    fn find(&self, rank: Rank, seed: u8) -> Result<PathBuf, OpenError> {
        self.path(rank).find(&key(seed))
    }

    #[track_caller]
    fn assert_found(&self, rank: Rank, seed: u8, expected: &Path) {
        assert_eq!(self.find(rank, seed).unwrap(), expected);
    }
}

fn make(path: &Path, seed: u8) {
    create(path, &chain(), &key(seed), &Record::never_signed()).unwrap();
}

/// Whose the chain's `state_file` is, and whether the chain has other keys.
type Rank = (Whose, bool);

const ONLY: Rank = (Whose::First, false);
const FIRST: Rank = (Whose::First, true);
const LATER: Rank = (Whose::Later, true);
const OTHER: Rank = (Whose::Other, true);
const OWN: Rank = (Whose::Own, true);

const RANKS: [Rank; 3] = [ONLY, FIRST, LATER];

#[test]
fn of_a_new_chain_the_first_key_gets_the_state_file_and_the_others_one_beside_it() {
    let home = Home::new();
    home.assert_found(ONLY, 1, &home.state_file());
    home.assert_found(FIRST, 1, &home.state_file());
    home.assert_found(LATER, 2, &home.beside(2));
    assert_ne!(home.beside(2), home.beside(3));
    let no_extension = RecordPath {
        state_file: home.0.path().join("state"),
        ..home.path(LATER)
    };
    let found = no_extension.find(&key(2)).unwrap();
    assert_eq!(found, home.beside(2).with_extension(""));
}

#[test]
fn a_record_is_found_again_whatever_keys_come_and_go_and_in_whatever_order_they_stand() {
    let home = Home::new();
    make(&home.state_file(), 1);
    make(&home.beside(2), 2);
    for rank in RANKS {
        home.assert_found(rank, 1, &home.state_file());
        home.assert_found(rank, 2, &home.beside(2));
    }
    // A third one that comes gets neither, as the first one of the file not either.
    for rank in [FIRST, LATER] {
        home.assert_found(rank, 3, &home.beside(3));
    }
}

#[test]
fn a_key_in_the_place_of_another_one_is_refused_as_ever() {
    let home = Home::new();
    make(&home.state_file(), 1);
    home.assert_found(ONLY, 2, &home.state_file());
    let error = FileStore::open(&home.state_file(), &chain(), &key(2)).unwrap_err();
    assert!(matches!(error.problem, Problem::WrongKey { .. }), "{error}");
}

#[test]
fn two_records_of_one_key_are_refused() {
    let home = Home::new();
    make(&home.state_file(), 1);
    make(&home.beside(1), 1);
    for rank in RANKS {
        let error = home.find(rank, 1).unwrap_err();
        assert!(
            matches!(error.problem, Problem::TwoRecords { .. }),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
}

#[test]
fn of_several_keys_none_takes_a_record_that_does_not_say_whose_it_is() {
    let home = Home::new();
    let signed = Record::floor_at(hrs(7, 0, Step::Precommit), 0);
    std::fs::write(home.state_file(), export(&signed, Format::Tmkms)).unwrap();
    home.assert_found(ONLY, 1, &home.state_file());
    for rank in [FIRST, LATER] {
        let error = home.find(rank, 1).unwrap_err();
        assert!(matches!(error.problem, Problem::Unowned), "{error}");
        assert!(error.hint().unwrap().contains("state_file = "));
    }
    // As the hint says.
    home.assert_found(OWN, 1, &home.state_file());
    FileStore::open(&home.state_file(), &chain(), &key(1)).unwrap();
    home.assert_found(LATER, 2, &home.beside(2));
}

#[test]
fn a_state_file_that_was_given_to_one_key_is_no_other_keys_whatever_is_in_it() {
    let home = Home::new();
    home.assert_found(OTHER, 2, &home.beside(2));
    make(&home.state_file(), 2);
    home.assert_found(OTHER, 2, &home.beside(2));
}

#[test]
fn a_damaged_state_file_may_be_any_keys_so_that_each_that_has_no_other_is_refused() {
    let home = Home::new();
    std::fs::write(home.state_file(), "tmkms state record, format 1\nrot").unwrap();
    make(&home.beside(2), 2);
    for rank in RANKS {
        home.assert_found(rank, 1, &home.state_file());
        home.assert_found(rank, 2, &home.beside(2));
    }
    FileStore::open(&home.state_file(), &chain(), &key(1)).unwrap_err();
}

#[test]
fn all_records_of_a_chain_are_listed_and_nothing_else() {
    let home = Home::new();
    let all = || home.path(FIRST).all();
    assert_eq!(all(), [home.state_file()]);
    make(&home.beside(2), 2);
    assert_eq!(all(), [home.beside(2)]);
    make(&home.state_file(), 1);
    for name in [
        "state.json.before-conversion",
        "state-.json",
        "state-0123456789abcdef0123456789abcdef01234567.json",
        "state-0123456789ABCDEF0123456789ABCDEF01234567.toml",
        "other-0123456789ABCDEF0123456789ABCDEF01234567.json",
    ] {
        std::fs::write(home.0.path().join(name), "x").unwrap();
    }
    assert_eq!(all(), [home.state_file(), home.beside(2)]);
    assert_eq!(home.path(OWN).all(), [home.state_file()]);
}
