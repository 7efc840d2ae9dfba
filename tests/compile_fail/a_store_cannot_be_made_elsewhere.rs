//! A store decides whether a validator double-signs; only the protection room has stores.
use tmkms::protection::{Candidate, Claim, Store, StoreError};

struct Yes;

impl Store for Yes {
    fn claim(&mut self, _: &Candidate<'_>) -> Result<Claim, StoreError> {
        Ok(Claim::Granted)
    }
}

fn main() {}
