//! The networks that `tmkms init -n` knows by name.

use super::{suggest, template::ChainTemplate};
use crate::{
    keyring::format::KeyFormat,
    privval::{ChainId, InvalidChainId},
};

/// A public network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// As it is named on the command line.
    pub name: &'static str,
    /// The chain ID of its present main network.
    pub chain_id: &'static str,
    /// Prefix of its account keys in bech32.
    pub account_key_prefix: &'static str,
    /// Prefix of its consensus keys in bech32.
    pub consensus_key_prefix: &'static str,
}

/// All of them; the first one is the default.
pub const ALL: [Network; 5] = [
    Network {
        name: "cosmoshub",
        chain_id: "cosmoshub-4",
        account_key_prefix: "cosmospub",
        consensus_key_prefix: "cosmosvalconspub",
    },
    Network {
        name: "osmosis",
        chain_id: "osmosis-1",
        account_key_prefix: "osmopub",
        consensus_key_prefix: "osmovalconspub",
    },
    Network {
        name: "irishub",
        chain_id: "irishub-1",
        account_key_prefix: "iap",
        consensus_key_prefix: "icp",
    },
    Network {
        name: "sentinelhub",
        chain_id: "sentinelhub-2",
        account_key_prefix: "sentpub",
        consensus_key_prefix: "sentvalconspub",
    },
    Network {
        name: "core",
        chain_id: "core-1",
        account_key_prefix: "persistencepub",
        consensus_key_prefix: "persistencevalconspub",
    },
];

/// Finds a network by its name.
///
/// # Errors
/// `UnknownNetwork` with a suggestion.
pub fn find(name: &str) -> Result<Network, UnknownNetwork> {
    let found = ALL.iter().find(|network| network.name == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|network| network.name).collect();
        UnknownNetwork {
            name: suggest::quoted(name),
            meant: suggest::closest(name, &names),
        }
    })
}

impl Network {
    /// What `init` writes for it.
    ///
    /// # Errors
    /// None for the networks of this table, whose chain IDs are valid (a test says so).
    pub fn template(&self) -> Result<ChainTemplate, InvalidChainId> {
        Ok(ChainTemplate {
            chain_id: ChainId::new(self.chain_id)?,
            key_format: Some(KeyFormat::Bech32 {
                account_key_prefix: self.account_key_prefix.to_owned(),
                consensus_key_prefix: self.consensus_key_prefix.to_owned(),
            }),
        })
    }
}

/// The name is not in the table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown network {name}")]
pub struct UnknownNetwork {
    /// The name, in quotes and safe to print.
    pub name: String,
    /// What was probably meant.
    pub meant: Option<&'static str>,
}

impl UnknownNetwork {
    /// The suggestion, or the names that are known.
    #[must_use]
    pub fn hint(&self) -> String {
        if let Some(meant) = self.meant {
            return format!("did you mean {meant}?");
        }
        let names: Vec<&str> = ALL.iter().map(|network| network.name).collect();
        format!(
            "known networks: {}; for any other chain write --chain-id ID",
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_found_by_its_name_and_has_a_template() {
        for network in ALL {
            assert_eq!(find(network.name), Ok(network));
            let template = network.template().expect("a valid chain ID");
            assert_eq!(template.chain_id.as_str(), network.chain_id);
        }
    }

    #[test]
    fn an_unknown_network_gets_a_suggestion_or_the_list() {
        let near = find("cosmos-hub").expect_err("not a name");
        assert_eq!(near.hint(), "did you mean cosmoshub?");
        let far = find("columbus").expect_err("the original dropped it too");
        assert!(far.hint().contains("osmosis") && far.hint().contains("--chain-id"));
    }
}
