//! A permit that nobody looks at is a height, round and step thrown away.
#![deny(unused_must_use)]
use tmkms::{
    privval::ConsensusMsg,
    protection::{Denial, Guard, Policy},
};

fn forget(guard: &Guard, msg: ConsensusMsg) -> Result<(), Denial> {
    guard.judge(msg, Policy::default())?;
    Ok(())
}

fn main() {}
