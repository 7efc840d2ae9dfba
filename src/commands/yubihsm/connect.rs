//! Which device, by which way, and as whom.

use std::{
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use clap::Args;

use crate::{
    commands::{
        Failure, Global, note, prompt, state,
        yubihsm::{defer_signals, object_id, serial_number},
    },
    config::Config,
    keyring::{
        format::KeyFormat,
        providers::yubihsm::{
            Adapter, Capabilities, Credentials, Device, DeviceError, DeviceInfo, KeyConfig,
            NewObject, ObjectId, ObjectType, Password, PasswordSource, SerialNumber, StaticKeys,
            Status, identify,
            setup::{Role, new_device},
            transport,
        },
    },
};

/// How long a command over the connector of a running tmkms may take.
const CONNECTOR_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a device may take to tell who it is.
const ASK: Duration = Duration::from_secs(2);

/// Whether somebody listens there is known at once on a loopback address.
const KNOCK: Duration = Duration::from_millis(500);

/// Which device, and as whom.
#[derive(Args, Debug)]
pub(super) struct Which {
    /// The device, where the configuration has several
    #[arg(long, value_name = "NUMBER", value_parser = serial_number)]
    serial: Option<SerialNumber>,

    /// Log in with this authentication key [default: as the configuration says]
    #[arg(long, value_name = "ID", value_parser = object_id)]
    auth_key: Option<ObjectId>,

    #[command(flatten)]
    password: PasswordPlace,
}

/// Where the password is; without one of these it is the configuration's, or asked for.
#[derive(Args, Debug)]
#[group(multiple = false)]
struct PasswordPlace {
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Read the password from this environment variable
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,

    /// Read the password from this credential of systemd
    #[arg(long, value_name = "NAME")]
    password_credential: Option<String>,
}

impl PasswordPlace {
    fn source(&self) -> Option<PasswordSource> {
        let file = self.password_file.clone().map(PasswordSource::File);
        let variable = self.password_env.clone().map(PasswordSource::Variable);
        let credential = self.password_credential.clone();
        file.or(variable)
            .or(credential.map(PasswordSource::Credential))
    }
}

impl Which {
    /// Opens a session with the device. From here on a signal is only noted: whoever ends in the middle leaves a session open.
    pub(super) fn open(&self, global: &Global) -> Result<Opened, Failure> {
        let mut reach = self.reach(global)?;
        let credentials = reach.credentials()?;
        let interrupted = defer_signals()?;
        let device = reach.open_or_explain(&credentials)?;
        let serial = device.info().serial;
        reach.pin(serial);
        Ok(Opened {
            device,
            serial,
            interrupted,
            reach,
            credentials,
        })
    }

    /// Finds the way to the device, and does not go it.
    pub(super) fn reach(&self, global: &Global) -> Result<Reach, Failure> {
        let config = Config::load(&global.config_file()?)?;
        let index = self.pick(&config)?;
        let hsm = config
            .yubihsm
            .get(index)
            .ok_or_else(|| Failure::new("the configuration has no YubiHSM"))?;
        let over = hsm
            .connector_server
            .as_ref()
            .filter(|server| server.cli.is_some());
        let running = over.filter(|server| listens(server.laddr));
        let adapter = match running {
            Some(server) => Adapter::Http {
                host: server.laddr.ip().to_string(),
                port: server.laddr.port(),
                timeout: CONNECTOR_TIMEOUT,
            },
            None => hsm.adapter.clone(),
        };
        let command_line = over
            .and_then(|server| server.cli)
            .and_then(|cli| cli.auth_key);
        let key = self.auth_key.or(command_line).unwrap_or(hsm.auth.key);
        let is_configured = key == hsm.auth.key && command_line.is_none();
        let password = match self.password.source() {
            Some(source) => PasswordFrom::CommandLine(source),
            None if is_configured => PasswordFrom::Configuration(hsm.auth.password.clone()),
            None => PasswordFrom::Person,
        };
        Ok(Reach {
            served_at: running.map(|server| server.laddr),
            adapter,
            wanted: self.serial.or(hsm.serial_number),
            key,
            password,
            config,
            index,
        })
    }

    /// The device that `--serial` names, or the only one.
    fn pick(&self, config: &Config) -> Result<usize, Failure> {
        let names: Vec<String> = config.yubihsm.iter().map(ToString::to_string).collect();
        let path = config.path.display();
        match (self.serial, config.yubihsm.as_slice()) {
            (_, []) => Err(
                Failure::new(format!("there is no [[providers.yubihsm]] in {path}"))
                    .hint("docs/yubihsm.md shows one; `tmkms yubihsm detect` finds the device"),
            ),
            (None, [_]) => Ok(0),
            (None, _) => Err(Failure::usage(format!(
                "the configuration has several devices: {}",
                names.join(", ")
            ))
            .hint("name one with --serial NUMBER")),
            (Some(serial), all) => {
                let named = all.iter().position(|hsm| hsm.serial_number == Some(serial));
                let nameless = || match all {
                    [only] if only.serial_number.is_none() => Some(0),
                    // Told apart by their connectors: those know what is behind them.
                    _ => all.iter().position(|hsm| {
                        let is_nameless = hsm.serial_number.is_none();
                        is_nameless && ask(&hsm.adapter).is_ok_and(|info| info.serial == serial)
                    }),
                };
                named.or_else(nameless).ok_or_else(|| {
                    Failure::usage(format!("there is no YubiHSM {serial} in {path}"))
                        .hint(format!("it has {}", names.join(", ")))
                })
            }
        }
    }
}

/// The way to a device, and who goes it.
pub(super) struct Reach {
    /// Where a running tmkms serves the device, if one does.
    pub(super) served_at: Option<SocketAddr>,
    adapter: Adapter,
    wanted: Option<SerialNumber>,
    key: ObjectId,
    password: PasswordFrom,
    config: Config,
    index: usize,
}

/// Who says where the password is.
enum PasswordFrom {
    CommandLine(PasswordSource),
    Configuration(PasswordSource),
    /// Nobody: it is asked for.
    Person,
}

impl Reach {
    fn credentials(&self) -> Result<Credentials, Failure> {
        let keys = match &self.password {
            PasswordFrom::CommandLine(source) | PasswordFrom::Configuration(source) => {
                let password = source
                    .read()
                    .map_err(|error| Failure::of(&error).maybe_hint(error.hint()))?;
                StaticKeys::from_password(&password)
            }
            PasswordFrom::Person => {
                let question = format!("Enter password for YubiHSM2 auth key 0x{:04x}: ", self.key);
                StaticKeys::from_password(&Password::new(prompt::secret(&question)?))
            }
        };
        Ok(Credentials {
            auth_key: self.key,
            keys,
        })
    }

    /// Opens a session.
    pub(super) fn open(&self, credentials: &Credentials) -> Result<Device, DeviceError> {
        Device::open(&self.adapter, self.wanted, credentials)
    }

    /// From now on no other device than this one: while one is being erased it is away, and a connector may find another meanwhile.
    pub(super) fn pin(&mut self, serial: SerialNumber) {
        self.wanted = Some(serial);
    }

    /// The process that has the record of one of the device's chains, and so signs with the device.
    pub(super) fn signer(&self) -> Option<u32> {
        let hsm = self.config.yubihsm.get(self.index)?;
        let mut chains = self.config.chains.iter().filter(|chain| {
            let mut keys = hsm.keys.iter();
            keys.any(|key| key.chain_ids.contains(&chain.id))
        });
        chains.find_map(|chain| state::holder(&self.config, chain))
    }

    /// Opens a session, and says in words why not.
    pub(super) fn open_or_explain(&self, credentials: &Credentials) -> Result<Device, Failure> {
        self.open(credentials)
            .map_err(|error| self.cannot_open(credentials.auth_key, &error))
    }

    fn cannot_open(&self, key: ObjectId, error: &DeviceError) -> Failure {
        let device = match self.wanted {
            Some(serial) => format!("YubiHSM {serial} ({})", self.adapter),
            None => format!("the YubiHSM ({})", self.adapter),
        };
        Failure::new(format!(
            "cannot open {device} with authentication key 0x{key:04x}"
        ))
        .caused_by(error)
        .maybe_hint(error.hint())
    }

    /// A session that may reset the device: with one of `first`, as the configuration says, or with the key of a new device.
    pub(super) fn log_in_to_erase(&self, first: Vec<Credentials>) -> Result<Login, Failure> {
        let mut refused = None;
        let configured = first.len();
        let candidates = first
            .into_iter()
            .map(Candidate::Known)
            .chain([Candidate::Configured, Candidate::Known(new_device())]);
        for (at, candidate) in candidates.enumerate() {
            let credentials = match candidate {
                Candidate::Known(credentials) => credentials,
                Candidate::Configured => match (self.credentials(), &self.password) {
                    (Ok(credentials), _) => credentials,
                    // A configuration may name a file that is written once there is a password for it.
                    (Err(failure), PasswordFrom::Configuration(_)) => {
                        refused = Some(failure);
                        continue;
                    }
                    (Err(failure), _) => return Err(failure),
                },
            };
            let key = credentials.auth_key;
            match self.open(&credentials) {
                Ok(mut device) => {
                    if !may_reset(&mut device) {
                        refused.get_or_insert_with(|| may_not_erase(key));
                        continue;
                    }
                    if at != configured {
                        note(&format!("logged in with authentication key 0x{key:04x}"));
                    }
                    return Ok(Login {
                        device,
                        credentials,
                    });
                }
                // Away or busy: no other password would change that.
                Err(error) if error.is_transient() => return Err(self.cannot_open(key, &error)),
                // What the configuration says is what the operator would mend.
                Err(error) if at == configured => refused = Some(self.cannot_open(key, &error)),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or_else(|| Failure::new("no key opens the device")))
    }
}

fn may_not_erase(key: ObjectId) -> Failure {
    Failure::new(format!(
        "authentication key 0x{key:04x} may not erase the device: it lacks the capability reset-device"
    ))
    .hint("log in as the admin: --auth-key 1, or `tmkms yubihsm setup -r` with the phrase of the device")
}

/// Who may be able to erase.
enum Candidate {
    Known(Credentials),
    Configured,
}

/// A key that may erase sees itself.
fn may_reset(device: &mut Device) -> bool {
    let id = device.auth_key();
    let own = device.object_info(id, ObjectType::AUTHENTICATION_KEY);
    matches!(own, Ok(Some(own)) if own.capabilities.contains(Capabilities::RESET_DEVICE))
}

/// A session that may erase, and how it was opened.
pub(super) struct Login {
    pub(super) device: Device,
    credentials: Credentials,
}

impl Login {
    /// Ends the session; another can be opened with what comes back.
    pub(super) fn close(self) -> Credentials {
        self.credentials
    }
}

/// An open session, and what the configuration says about the keys.
pub(super) struct Opened {
    pub(super) device: Device,
    pub(super) serial: SerialNumber,
    /// A signal has come.
    pub(super) interrupted: Arc<AtomicBool>,
    reach: Reach,
    credentials: Credentials,
}

impl Opened {
    /// Opens another session with the same device, if this one is over.
    pub(super) fn keep_open(&mut self) -> Result<(), DeviceError> {
        if !self.device.is_alive() {
            self.device = self.reach.open(&self.credentials)?;
        }
        Ok(())
    }

    /// What the commands were configured with.
    pub(super) fn config(&self) -> &Config {
        &self.reach.config
    }

    /// Which of the configuration's devices it is.
    pub(super) fn index(&self) -> usize {
        self.reach.index
    }

    /// What failed, why, and what to do: a capability that is missing is named, and whose it would be.
    pub(super) fn failed(&mut self, what: &str, error: &DeviceError) -> Failure {
        let hint = self.missing(error, None).or_else(|| error.hint());
        self.failed_with(what, error).maybe_hint(hint)
    }

    /// As [`Opened::failed`], of a command that changes the device: where no answer came, it may be done all the same.
    pub(super) fn failed_to_change(&mut self, what: &str, error: &DeviceError) -> Failure {
        let failure = self.failed(what, error);
        if error.leaves_it_open() {
            failure
                .hint("the device may have done it all the same: `tmkms yubihsm keys list` tells")
        } else {
            failure
        }
    }

    /// As [`Opened::failed_to_change`], of a command that makes this object.
    pub(super) fn failed_to_make(
        &mut self,
        what: &str,
        object: &NewObject,
        error: &DeviceError,
    ) -> Failure {
        match self.missing(error, Some(object)) {
            Some(hint) => self.failed_with(what, error).hint(hint),
            None => self.failed_to_change(what, error),
        }
    }

    fn failed_with(&self, what: &str, error: &DeviceError) -> Failure {
        Failure::new(what.to_owned())
            .cause(format!(
                "YubiHSM {}, authentication key 0x{:04x}",
                self.serial,
                self.device.auth_key()
            ))
            .caused_by(error)
    }

    /// What the authentication key lacks for what it was refused: the device does not say so itself, but shows the key to its owner.
    fn missing(&mut self, error: &DeviceError, object: Option<&NewObject>) -> Option<String> {
        let DeviceError::Refused {
            command,
            status: Status::InsufficientPermissions,
            auth_key,
        } = error
        else {
            return None;
        };
        let own = self
            .device
            .object_info(*auth_key, ObjectType::AUTHENTICATION_KEY);
        let own = own.ok()??;
        let lacks = command.needs().without(own.capabilities);
        if !lacks.is_empty() {
            let mut roles = Role::ALL.into_iter().rev();
            let able = roles.find(|role| role.capabilities().contains(command.needs()));
            let able =
                able.map(|role| format!("; the {} has it: --auth-key {}", role.name(), role.id()));
            return Some(format!(
                "authentication key 0x{auth_key:04x} lacks the capability {lacks}{}",
                able.unwrap_or_default()
            ));
        }
        let object = object?;
        let lacks = object.capabilities.without(own.delegated);
        if !lacks.is_empty() {
            return Some(format!(
                "authentication key 0x{auth_key:04x} may not hand on {lacks}: it is not among its delegated capabilities"
            ));
        }
        (object.domains.0 & !own.domains.0 != 0).then(|| {
            format!(
                "authentication key 0x{auth_key:04x} makes no objects in domain {}: it is in domain {}",
                object.domains, own.domains
            )
        })
    }

    /// The keys that the configuration names.
    pub(super) fn configured_ids(&self) -> Vec<ObjectId> {
        let hsm = self.config().yubihsm.get(self.reach.index);
        hsm.map(|hsm| hsm.keys.iter().map(|key| key.key).collect())
            .unwrap_or_default()
    }

    /// What the configuration says about a key.
    pub(super) fn configured_key(&self, id: u16) -> Option<&KeyConfig> {
        let hsm = self.config().yubihsm.get(self.reach.index)?;
        hsm.keys.iter().find(|key| key.key == id)
    }

    /// The chain that the configuration names for a key, if it is one.
    pub(super) fn only_chain_of(&self, id: u16) -> Option<String> {
        match self.configured_key(id)?.chain_ids.as_slice() {
            [only] => Some(only.as_str().to_owned()),
            _ => None,
        }
    }

    /// How that chain writes public keys.
    pub(super) fn key_format_of(&self, id: u16) -> Option<&KeyFormat> {
        let only = self.only_chain_of(id)?;
        let chain = self
            .config()
            .chains
            .iter()
            .find(|chain| chain.id.as_str() == only)?;
        chain.key_format.as_ref()
    }
}

/// Who a device is, which needs no session to be told.
pub(super) fn ask(adapter: &Adapter) -> Result<DeviceInfo, DeviceError> {
    let mut transport = transport::connect(adapter, None)?;
    identify(transport.as_mut(), ASK)
}

fn listens(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, KNOCK).is_ok()
}
