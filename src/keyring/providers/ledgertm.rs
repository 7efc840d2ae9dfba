//! Keys in a Ledger with the app "Tendermint Validator".
//!
//! The device is worked by a thread of its own ([`Ledger`]), because a person may have to press its buttons and a node does
//! not wait for that. It keeps its own height and round in memory that it loses with each start of the app, and answers an
//! identical request with a refusal: so its signatures are kept, here for a while and in the chain's record for good.

mod apdu;
mod config;
mod device;
mod emulator;
mod error;
mod hid;
pub mod limits;
mod packets;
mod running;
mod status;

pub use self::{
    config::{Adapter, Config},
    device::{App, Device, Standing},
    error::LedgerError,
    hid::{Attached, attached},
    running::Ledger,
    status::StatusWord,
};

/// As in the configuration's section name.
const NAME: &str = "ledgertm";
