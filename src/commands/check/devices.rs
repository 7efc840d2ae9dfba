//! Keys in devices: whether each is there, may be used, and which it is.

use crate::{
    commands::{
        check::{Findings, parts::Seen},
        consensus_key::open_yubihsm,
        state,
    },
    config::{Config, ConsensusKey},
    crypto::PublicKey,
    keyring::{
        format::format_key,
        providers::{
            KeyType,
            ledgertm::{self, LedgerError},
            yubihsm::{
                self, Capabilities, Device, DeviceError, Inspected, KeyConfig, KeyProblem,
                ObjectType, TransportError,
                setup::{NEW_DEVICE_KEY, NEW_DEVICE_PASSWORD},
            },
        },
    },
    privval::ChainId,
    shutdown::Shutdown,
};

/// What every validator's authentication key may have besides: it signs, and lets the log be read.
const HARMLESS: Capabilities = Capabilities::SIGN_EDDSA
    .with(Capabilities::SIGN_ECDSA)
    .with(Capabilities::SIGN_ATTESTATION_CERTIFICATE)
    .with(Capabilities::GET_LOG_ENTRIES);

/// Looks at every device and the keys in it; adds the consensus keys that could be read.
pub(super) fn look_at<'a>(config: &'a Config, seen: &mut Seen<'a>, findings: &mut Findings) {
    let mut look = Look {
        config,
        seen,
        findings,
    };
    for (index, device) in config.yubihsm.iter().enumerate() {
        look.yubihsm(index, device);
    }
    for (index, device) in config.ledgertm.iter().enumerate() {
        look.ledger(index, device);
    }
}

struct Look<'l, 'a> {
    config: &'a Config,
    seen: &'l mut Seen<'a>,
    findings: &'l mut Findings,
}

impl<'a> Look<'_, 'a> {
    fn yubihsm(&mut self, index: usize, config: &'a yubihsm::Config) {
        let ids: Vec<&ChainId> = config.keys.iter().flat_map(|key| &key.chain_ids).collect();
        let device = match open_yubihsm(config) {
            Ok(device) => device,
            Err(DeviceError::Transport(TransportError::Busy { .. }))
                if self.holder(&ids).is_some() =>
            {
                self.skipped(&config.to_string(), &ids);
                return;
            }
            Err(error) => {
                self.findings
                    .failed(&format!("{config}: "), &error, error.hint());
                return;
            }
        };
        let info = device.info();
        let (major, minor, patch) = info.firmware;
        let name = format!("YubiHSM {}", info.serial);
        self.findings.ok(format!(
            "{name} ({}): firmware {major}.{minor}.{patch}, authentication key {:#06x} opens a session",
            config.adapter, config.auth.key
        ));
        if info.log_used >= info.log_size {
            self.findings.warning(
                format!(
                    "{name}: the audit log is full ({} of {} entries)",
                    info.log_used, info.log_size
                ),
                Some(
                    "under force audit it signs nothing then: as the auditor read the log and free it, see docs/yubihsm.md"
                        .into(),
                ),
            );
        }
        if has_factorys_password(config) {
            self.findings.warning(
                format!(
                    "{name}: the password of authentication key {:#06x} is the factory's, which everybody knows",
                    config.auth.key
                ),
                Some("`tmkms yubihsm setup` gives the device passwords of its own; it erases what is on it".into()),
            );
        }
        let mut session = Session { name, device };
        if let Err(error) = self.keys_of(index, config, &mut session) {
            self.findings
                .failed(&format!("{}: ", session.name), &error, error.hint());
        }
    }

    fn keys_of(
        &mut self,
        index: usize,
        config: &'a yubihsm::Config,
        session: &mut Session,
    ) -> Result<(), DeviceError> {
        let mut needed = Capabilities::NONE;
        for key in &config.keys {
            match key.key_type {
                KeyType::Consensus => {
                    let entry = ConsensusKey::YubiHsm {
                        index,
                        device: config,
                        key,
                    };
                    needed = needed.with(self.consensus_key(entry, key, session)?);
                }
                KeyType::Account => self.account_key(key, session)?,
            }
        }
        let setup = yubihsm::setup::TEMPORARY_KEY;
        let left = session
            .device
            .object_info(setup, ObjectType::AUTHENTICATION_KEY)?;
        if left.is_some() {
            let what = format!(
                "{}: authentication key {setup:#06x}, which may do everything, is left of an interrupted setup",
                session.name
            );
            let remedy = "`tmkms yubihsm setup -r` with the phrase removes it";
            self.findings.warning(what, Some(remedy.into()));
        }
        match yubihsm::held(&mut session.device)? {
            Some(held) if !needed.is_empty() => self.in_vain(held, needed, session),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Tells of a consensus key, and gives the capability that signing with it needs.
    fn consensus_key(
        &mut self,
        entry: ConsensusKey<'a>,
        key: &KeyConfig,
        session: &mut Session,
    ) -> Result<Capabilities, DeviceError> {
        match yubihsm::inspect(&mut session.device, key.key) {
            Ok(Inspected {
                scheme, public_key, ..
            }) => {
                let name = format!("key {:#06x} in {}", key.key, session.name);
                self.found(&name, entry, &key.chain_ids, &public_key);
                Ok(scheme.needs())
            }
            Err(KeyProblem::Device(error)) => Err(error),
            Err(problem) => {
                self.key_problem(&problem, session);
                Ok(Capabilities::NONE)
            }
        }
    }

    fn account_key(&mut self, key: &KeyConfig, session: &mut Session) -> Result<(), DeviceError> {
        let found = session
            .device
            .object_info(key.key, ObjectType::ASYMMETRIC_KEY)?;
        if found.is_some() {
            let what = format!(
                "account key {:#06x} in {} signs nothing",
                key.key, session.name
            );
            self.findings.warning(what, None);
        } else {
            let problem = KeyProblem::NotFound {
                id: key.key,
                auth_key: session.device.auth_key(),
            };
            self.key_problem(&problem, session);
        }
        Ok(())
    }

    fn key_problem(&mut self, problem: &KeyProblem, session: &Session) {
        self.findings
            .failed(&format!("{}: ", session.name), problem, problem.hint());
    }

    /// Capabilities that a thief of the password would have, and that signing does not need.
    fn in_vain(&mut self, held: Capabilities, needed: Capabilities, session: &Session) {
        let spare = held.without(needed);
        let shown = if spare.contains(Capabilities::ALL.without(needed)) {
            "everything else".to_owned()
        } else {
            spare.to_string()
        };
        let what = format!(
            "authentication key {:#06x} of {} holds in vain: {shown}",
            session.device.auth_key(),
            session.name
        );
        if spare.is_empty() {
            return;
        }
        if spare.without(HARMLESS).is_empty() {
            self.findings.ok(what);
            return;
        }
        let hint = format!(
            "signing needs {needed} and nothing else; whoever learns the password can use the rest"
        );
        self.findings.warning(what, Some(hint));
    }

    fn ledger(&mut self, index: usize, config: &'a ledgertm::Config) {
        let name = format!("Ledger ({})", config.adapter);
        let ids: Vec<&ChainId> = config.chain_ids.iter().collect();
        // It talks to one program at a time.
        if self.holder(&ids).is_some() {
            self.skipped(&name, &ids);
            return;
        }
        let looked = || -> Result<_, LedgerError> {
            let mut device = ledgertm::Device::open(&config.adapter, &Shutdown::new())?;
            let app = device.app()?;
            Ok((device.name().to_owned(), app, device.public_key()?))
        };
        match looked() {
            Ok((found, app, key)) => {
                self.findings.ok(format!("{name}: {found}, {app}"));
                let entry = ConsensusKey::Ledger {
                    index,
                    device: config,
                };
                self.found(&format!("key in {name}"), entry, &config.chain_ids, &key);
            }
            Err(error) => self
                .findings
                .failed(&format!("{name}: "), &error, error.hint()),
        }
    }

    fn found(
        &mut self,
        name: &str,
        entry: ConsensusKey<'a>,
        chain_ids: &[ChainId],
        key: &PublicKey,
    ) {
        for id in chain_ids {
            let chain = self.config.chains.iter().find(|chain| chain.id == *id);
            let format = chain.and_then(|chain| chain.key_format.as_ref());
            self.findings
                .ok(format!("{name} for {id}: {}", format_key(key, format)));
        }
        self.seen.add(entry, key);
    }

    /// The process that serves one of the chains, and so has the device.
    fn holder(&self, ids: &[&ChainId]) -> Option<u32> {
        let mut chains = self.config.chains.iter();
        chains.find_map(|chain| {
            let of_device = ids.contains(&&chain.id);
            of_device.then(|| state::holder(self.config, chain))?
        })
    }

    fn skipped(&mut self, name: &str, ids: &[&ChainId]) {
        if let Some(holder) = self.holder(ids) {
            self.findings
                .ok(format!("{name} skipped: in use by process {holder}"));
        }
    }
}

/// Whether the configured key opens every new device. It has opened this one.
fn has_factorys_password(config: &yubihsm::Config) -> bool {
    config.auth.key == NEW_DEVICE_KEY
        && config
            .auth
            .password
            .read()
            .is_ok_and(|password| password.expose_secret() == NEW_DEVICE_PASSWORD)
}

/// A session with a device, and how the two are called.
struct Session {
    name: String,
    device: Device,
}
