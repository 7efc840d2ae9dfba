//! `tmkms identity`: who this signer is to its nodes.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::{
    commands::{Failure, Global, output},
    config::Config,
    connection,
};

/// Show who this signer is to its nodes
#[derive(Debug, Subcommand)]
pub(super) enum Identity {
    /// Print the node ID and the libp2p peer ID of an identity key
    ///
    /// A node with `priv_validator_laddr = "noise://PEER_ID@IP:PORT"` serves the signer with that peer ID and nobody else. Nothing is
    /// created or changed.
    Show {
        /// One JSON object a line: path, node_id, peer_id
        #[arg(long)]
        json: bool,

        /// The key file [default: every secret_key of the configuration]
        path: Option<PathBuf>,
    },
}

impl Identity {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let Self::Show { json, path } = self;
        let paths = match path {
            Some(path) => vec![path.clone()],
            None => configured(global)?,
        };
        let mut text = String::new();
        for path in paths {
            let identity = connection::Identity::load(&path).map_err(|error| {
                let missing = path.symlink_metadata().is_err();
                let hint = missing.then(|| "`tmkms start` makes it where it is missing".to_owned());
                Failure::from(error).maybe_hint(hint)
            })?;
            let (node_id, peer_id) = (identity.peer_id(), identity.libp2p_id());
            if *json {
                let object = json!({
                    "path": path.to_string_lossy(),
                    "node_id": node_id.to_string(),
                    "peer_id": peer_id.to_string(),
                });
                text.push_str(&format!("{object}\n"));
            } else {
                text.push_str(&format!(
                    "{}\n  node ID {node_id}\n  peer ID {peer_id}\n",
                    path.display()
                ));
            }
        }
        output(&text)
    }
}

/// The identity keys that the configuration names, each once.
fn configured(global: &Global) -> Result<Vec<PathBuf>, Failure> {
    let config = Config::load(&global.config_file()?)?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for path in config.validators.into_iter().filter_map(|it| it.secret_key) {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(
            Failure::new("the configuration names no identity key").hint(
                "name the file, or add secret_key = \"secrets/kms-identity.key\" to a [[validator]]",
            ),
        );
    }
    Ok(paths)
}
