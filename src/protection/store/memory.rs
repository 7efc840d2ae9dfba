//! A record that is lost with the process; for tests of the rules and of thread interleavings only.

use crate::protection::{
    rules::{self, Record, Verdict},
    store::{Candidate, Claim, Store, StoreError, sealed},
};

/// A record in memory.
#[derive(Debug)]
pub struct MemoryStore {
    /// The record as it stands.
    pub record: Record,
}

impl sealed::Sealed for MemoryStore {}

impl Store for MemoryStore {
    fn claim(&mut self, candidate: &Candidate<'_>) -> Result<Claim, StoreError> {
        let Candidate { msg, policy, now } = *candidate;
        Ok(match rules::judge(&self.record, msg, policy, now) {
            Verdict::Advance => {
                self.record = Record::after(msg, now);
                Claim::Granted
            }
            Verdict::Repeat(recorded) => Claim::Recorded(recorded.into()),
            Verdict::Refuse(refusal) => Claim::Refused(refusal),
        })
    }
}
