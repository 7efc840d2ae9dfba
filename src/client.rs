//! One thread per `[[validator]]`: dial, serve, back off, repeat.

use std::{path::PathBuf, time::Duration};

use crate::{connection::Address, privval::ChainId};

/// `[[validator]]`: one node to serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where the node listens.
    pub addr: Address,
    /// The chain it validates.
    pub chain_id: ChainId,
    /// Dial again after the connection ended; true by default.
    pub reconnect: bool,
    /// Silence after which a connection is dead; 10 s by default.
    pub timeout: Duration,
    /// The identity key's file; required for tcp.
    pub secret_key: Option<PathBuf>,
    /// Nothing above this height is signed.
    pub max_height: Option<i64>,
    /// Prefixes of the `unique_id`s whose raw bytes are signed (Celestia); none by default.
    pub sign_raw_bytes: Vec<String>,
    /// Answer v1's `SignBytesRequest`; false by default.
    pub sign_bytes: bool,
}
