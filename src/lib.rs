//! tmkms: the signer that a CometBFT or Tendermint validator's key lives in.
//!
//! The rooms below stand in reading order, from the highest layer to the lowest. A module imports only from rooms below it;
//! `tests/architecture.rs` says so. `ARCHITECTURE.md` explains why each room exists.

pub mod application;
pub mod commands;

pub mod config;
pub mod kms;

pub mod client;
pub mod session;

pub mod codec;

pub mod chain;
pub mod keyring;
pub mod protection;

pub mod connection;
pub mod privval;

pub mod crypto;
pub mod event;
pub mod key_file;
pub mod shutdown;
