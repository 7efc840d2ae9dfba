//! The sockets that are bound here, for nodes that dial.

use crate::{
    commands::check::{Findings, parts::Holders},
    config::Config,
    connection::{self, Address, ConnectionError},
};

/// Says of each whether `start` could bind it. Nothing is bound.
pub(super) fn look_at(config: &Config, holders: &Holders, findings: &mut Findings) {
    for validator in &config.validators {
        let Address::UnixListen(path, access) = &validator.addr else {
            continue;
        };
        let name = format!("socket {}", path.display());
        match connection::may_listen(path, access) {
            Ok(()) => findings.ok(format!("{name} can be bound")),
            Err(ConnectionError::SocketInUse { .. })
                if holders.contains_key(&validator.chain_id) =>
            {
                findings.ok(format!("{name} is in use, as its chain is"));
            }
            Err(error) => findings.failed(&format!("{name}: "), &error, error.hint()),
        }
    }
}
