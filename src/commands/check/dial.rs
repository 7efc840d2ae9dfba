//! `tmkms check --dial`: connects to each node and completes the handshake.

use crate::{
    client,
    codec::Reason,
    commands::check::{Findings, parts::Holders},
    config::Config,
    connection::{
        self, Address, ConnectionError, Dialled, Identity, Peer, secret_connection::Generation,
    },
    shutdown::Shutdown,
};

/// Dials every node, one after the other; those of chains that are being served are left alone.
pub(super) fn all(config: &Config, holders: &Holders, findings: &mut Findings) {
    for validator in &config.validators {
        let name = format!("node {}@{}", validator.chain_id, validator.addr);
        if let Some(holder) = holders.get(&validator.chain_id) {
            findings.ok(format!("{name} skipped: in use by process {holder}"));
        } else if let Address::UnixListen(..) = validator.addr {
            findings.ok(format!("{name} skipped: the node dials the signer"));
        } else if let (Address::Noise { .. }, Some(path)) = (&validator.addr, &validator.secret_key)
            && !path.exists()
        {
            findings.warning(
                format!(
                    "{name} skipped: it admits one signer, and the identity key {} is not made yet",
                    path.display()
                ),
                Some("`tmkms start` makes it; `tmkms identity show` then prints what the node must be told".to_owned()),
            );
        } else if takes_one_dial(validator) {
            findings.ok(format!(
                "{name} skipped: such a node takes one connection only"
            ));
        } else {
            one(&name, validator, findings);
        }
    }
}

fn one(name: &str, validator: &client::Config, findings: &mut Findings) {
    let identity = match (&validator.addr, &validator.secret_key) {
        (Address::Tcp { .. } | Address::Noise { .. }, Some(path)) => {
            // A key that start will make is not made here: a node takes anybody's.
            let identity = if path.exists() {
                Identity::load_or_create(path).map(|(identity, _)| identity)
            } else {
                Identity::generate()
            };
            match identity {
                Ok(identity) => Some(identity),
                // Told of already.
                Err(_) => return,
            }
        }
        _ => None,
    };
    let dialled = connection::dial(
        &validator.addr,
        identity.as_ref(),
        validator.timeout,
        &Shutdown::new(),
    );
    if let Some(reason) = contradiction(&dialled, validator) {
        let hint = "without protocol_version it is found out; or does addr name another node?";
        findings.error(format!("{name}: {reason}"), Some(hint.to_owned()));
        return;
    }
    if let Ok(Dialled {
        generation: Some(generation @ (Generation::Legacy | Generation::V033)),
        ..
    }) = &dialled
    {
        findings.warning(
            format!(
                "{name} speaks the handshake of {generation}: its requests name no chain, and whatever comes from there is signed for {}",
                validator.chain_id
            ),
            Some("make sure that no node of another chain can be there; a node of v0.26 or v0.27 has to be restarted now".to_owned()),
        );
    }
    match dialled {
        Ok(Dialled {
            peer: Some(Peer::Verified(id)),
            ..
        }) => findings.ok(format!(
            "{name} answers, its peer ID is the pinned one: {id}"
        )),
        Ok(Dialled {
            peer: Some(Peer::Unverified(id)),
            ..
        }) => findings.warning(
            format!("{name} answers, with an unverified peer ID: {id}"),
            Some(format!(
                "where the node keeps its key, pin it: addr = \"tcp://{id}@{}\"",
                validator.addr.to_string().trim_start_matches("tcp://")
            )),
        ),
        Ok(Dialled {
            peer: Some(Peer::Pinned(id)),
            ..
        }) => findings.ok(format!(
            "{name} answers and expects this signer; its peer ID is the pinned one: {id}"
        )),
        Ok(Dialled { peer: None, .. }) => findings.ok(format!("{name} answers")),
        Err(error) => findings.failed(&format!("{name}: "), &error, error.hint()),
    }
}

/// What `start` would say of a node that is not what `protocol_version` says.
fn contradiction(
    dialled: &Result<Dialled, ConnectionError>,
    validator: &client::Config,
) -> Option<Reason> {
    let pin = validator.protocol?;
    pin.hold(client::family(dialled.as_ref().ok()?.generation?))
        .err()
}

/// A node of v0.26 or v0.27 listens for its one signer, and for nobody after it.
fn takes_one_dial(validator: &client::Config) -> bool {
    let pin = validator.protocol.map(|pin| pin.spelling);
    matches!(pin, Some("v0.26" | "v0.27"))
}
