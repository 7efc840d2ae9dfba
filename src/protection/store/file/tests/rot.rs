//! Every truncation and every flipped bit of a record (S3).

use super::{
    assert_granted, claim, prevote,
    simulated::{Simulated, read_record},
};
use crate::protection::{rules::Record, store::file::RECORD_LEN};

/// A record that has signed three heights, so that the two slots differ.
fn image() -> Vec<u8> {
    let disk = Simulated::with_record(&Record::never_signed());
    let mut store = disk.open().unwrap();
    for height in 1..=3 {
        assert_granted(claim(&mut store, &prevote(height, 0xaa)));
    }
    disk.image()
}

#[test]
fn a_record_that_was_cut_off_anywhere_is_refused() {
    let image = image();
    assert_eq!(image.len(), RECORD_LEN);
    for len in 0..image.len() {
        assert!(read_record(&image[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let mut image = image();
    let truth = read_record(&image).unwrap();
    assert_eq!(truth.hrs.height, 3);
    let covered = 3 * 4096 * 8;
    let mut refused = 0;
    // Of the region behind the slots one bit of each byte is enough.
    for bit in (0..covered).chain((covered..image.len() * 8).step_by(8)) {
        image[bit / 8] ^= 1 << (bit % 8);
        match read_record(&image) {
            Ok(read) => assert_eq!(read, truth, "bit {bit}"),
            Err(_) => refused += 1,
        }
        image[bit / 8] ^= 1 << (bit % 8);
    }
    // Header and slots are covered to the last bit; the region behind them says nothing.
    assert_eq!(refused, covered);
}
