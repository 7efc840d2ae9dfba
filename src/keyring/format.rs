//! How public keys are shown.

/// `key_format` of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyFormat {
    /// Bech32 over the amino prefix and the key.
    Bech32 {
        /// Human-readable part for account addresses.
        account_key_prefix: String,
        /// Human-readable part for consensus keys.
        consensus_key_prefix: String,
    },
    /// The Cosmos SDK's JSON.
    CosmosJson,
    /// Upper-case hex of the raw key.
    Hex,
}
