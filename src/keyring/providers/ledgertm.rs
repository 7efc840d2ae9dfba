//! Keys in a Ledger with the app "Tendermint Validator".

mod config;

pub use self::config::{Adapter, Config};
