//! The work on the device, in steps that can each be done again: what failed half-way is taken up where it stands.
//!
//! Nothing is remembered between the tries. Each looks at which of the three all-powerful keys opens a session (the admin, the
//! temporary key, that of a new device) and goes on from there, until only the admin is left.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use crate::keyring::providers::yubihsm::{
    Algorithm, Capabilities, Credentials, Device, DeviceError, Domains, Filter, Label, NewObject,
    ObjectId, ObjectType, Password, StaticKeys,
    setup::{
        derive::{Phrase, WRAP_KEY_LEN},
        report::Report,
        roles::{Role, WRAP_CAPABILITIES},
    },
};

/// The authentication key that exists while the admin replaces the key of a new device.
pub const TEMPORARY_KEY: ObjectId = 0xfffe;

/// Where the report lies, as an opaque object.
pub const REPORT_OBJECT: ObjectId = 0xfffe;

/// The only key of a new device.
pub const NEW_DEVICE_KEY: ObjectId = 1;

/// Its password, which everybody knows.
pub const NEW_DEVICE_PASSWORD: &str = "password";

/// The wrap key that comes from the phrase.
pub const PRIMARY_WRAP_KEY: ObjectId = 1;

/// The operator's own.
pub const SECOND_WRAP_KEY: ObjectId = 2;

/// How long a device may take to come back from a reset. One takes two or three seconds.
const RESET_PATIENCE: Duration = Duration::from_secs(10);

/// Between two questions whether it is back.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the whole is tried before it is given up, and how often it is then cleaned up.
const TRIES: u32 = 3;

/// How sessions are opened: every way to the device is the caller's.
pub type Open<'a> = dyn Fn(&Credentials) -> Result<Device, DeviceError> + 'a;

/// What opens a new device.
#[must_use]
pub fn new_device() -> Credentials {
    let password = Password::new(Zeroizing::new(NEW_DEVICE_PASSWORD.to_owned()));
    Credentials {
        auth_key: NEW_DEVICE_KEY,
        keys: StaticKeys::from_password(&password),
    }
}

/// What opens a device whose set-up with this phrase was interrupted.
#[must_use]
pub fn temporary(phrase: &Phrase) -> Credentials {
    Credentials {
        auth_key: TEMPORARY_KEY,
        keys: StaticKeys::from_password(&phrase.temporary_password()),
    }
}

/// What opens a device that was set up with this phrase.
#[must_use]
pub fn login(phrase: &Phrase, role: Role) -> Credentials {
    Credentials {
        auth_key: role.id(),
        keys: StaticKeys::from_password(&phrase.password(role)),
    }
}

/// What a device is set up with.
#[derive(Debug)]
pub struct Provision {
    new: Credentials,
    temporary: Credentials,
    admin: Credentials,
    /// The other roles.
    roles: Vec<(Role, Credentials)>,
    /// By ID and name.
    wrap_keys: Vec<(ObjectId, &'static str, WrapKey)>,
    report: Report,
    stamp: String,
}

impl Provision {
    /// Everything secret comes from the phrase, but for the second wrap key, which is the operator's own. `stamp`: the time in
    /// labels, RFC 3339 in seconds.
    #[must_use]
    pub fn new(phrase: &Phrase, second: Option<WrapKey>, report: Report, stamp: &str) -> Self {
        let others = Role::ALL.into_iter().filter(|role| *role != Role::Admin);
        let primary = WrapKey(phrase.wrap_key());
        let second = second.map(|key| (SECOND_WRAP_KEY, "second", key));
        Self {
            new: new_device(),
            temporary: temporary(phrase),
            admin: login(phrase, Role::Admin),
            roles: others.map(|role| (role, login(phrase, role))).collect(),
            wrap_keys: [(PRIMARY_WRAP_KEY, "primary", primary)]
                .into_iter()
                .chain(second)
                .collect(),
            report,
            stamp: stamp.to_owned(),
        }
    }
}

/// A wrap key (AES-256) of the operator's. Wiped when dropped.
pub struct WrapKey(pub Zeroizing<[u8; WRAP_KEY_LEN]>);

impl fmt::Debug for WrapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrapKey(secret)")
    }
}

/// Something was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Everything on the device is gone.
    Erased,
    /// The admin is there, and nobody else of its power.
    Admin,
    /// A role's key is there.
    Role(Role),
    /// A wrap key is there.
    WrapKey(ObjectId),
    /// The report is there.
    Reported,
    /// Something failed, for this reason, and is tried again.
    Again(String),
}

/// Why a device was not set up, and how it was left.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct SetupError {
    /// What was being done: `erase the device`.
    pub doing: &'static str,
    /// What the device, or the way to it, said; nothing if it said yes and did not do it.
    pub source: Option<DeviceError>,
    /// What is on the device now.
    pub left: Left,
}

/// How a device was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Left {
    /// As it was.
    Untouched,
    /// With the admin, and without a temporary key; the rest may be missing.
    WithAdmin,
    /// It could not be reached any more: the key of a new device or the temporary key may be on it.
    Unknown,
}

impl Provision {
    /// Erases the device that `session` has open, and makes what a device that was set up has. `session` must be allowed to reset;
    /// `reopen` opens it once more, if the device was not erased.
    ///
    /// # Errors
    /// `SetupError`, after trying again and cleaning up.
    pub fn run(
        &self,
        session: Device,
        reopen: &dyn Fn() -> Result<Device, DeviceError>,
        open: &Open<'_>,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<(), SetupError> {
        self.erase(session, reopen, open)?;
        tell(Progress::Erased);
        let mut tries = 1;
        loop {
            let failed = match self.make(open, tell) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if tries == TRIES || !failed.error.is_transient() {
                return Err(self.give_up(failed, open));
            }
            tell(Progress::Again(failed.error.to_string()));
            tries += 1;
            thread::sleep(PAUSE);
        }
    }

    /// Resets the device until it is as new. A reset whose answer was lost may or may not have happened, so the device is looked at.
    fn erase(
        &self,
        mut session: Device,
        reopen: &dyn Fn() -> Result<Device, DeviceError>,
        open: &Open<'_>,
    ) -> Result<(), SetupError> {
        let failed = |left| {
            move |source| SetupError {
                doing: "erase the device",
                source: Some(source),
                left,
            }
        };
        for first in [true, false, false] {
            match session.reset() {
                // A first answer that is a clear no: everything is as it was.
                Err(error) if first && !error.is_transient() => {
                    return Err(failed(Left::Untouched)(error));
                }
                Ok(()) | Err(_) => {}
            }
            let (next, is_new) = self
                .come_back(reopen, open)
                .map_err(failed(Left::Unknown))?;
            if is_new {
                return Ok(());
            }
            session = next;
        }
        Err(SetupError {
            doing: "erase the device: it still holds what it held",
            source: None,
            left: Left::Unknown,
        })
    }

    /// Waits for a device that was reset and opens a session with the key that it then has, or with that of before if it was not
    /// reset; says whether it holds nothing but the key of a new device.
    fn come_back(
        &self,
        reopen: &dyn Fn() -> Result<Device, DeviceError>,
        open: &Open<'_>,
    ) -> Result<(Device, bool), DeviceError> {
        let start = Instant::now();
        loop {
            let opened = match open(&self.new) {
                // It answers, and is not new.
                Err(error) if !error.is_transient() => reopen().map_err(|_| error),
                opened => opened,
            };
            let error = match opened.and_then(look) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if start.elapsed() > RESET_PATIENCE {
                return Err(error);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Makes whatever is missing.
    fn make(&self, open: &Open<'_>, tell: &mut dyn FnMut(Progress)) -> Result<(), Failed> {
        let mut admin = self.admin(open)?;
        tell(Progress::Admin);
        for (role, login) in &self.roles {
            self.role(&mut admin, *role, login)?;
            tell(Progress::Role(*role));
        }
        for (id, name, key) in &self.wrap_keys {
            self.wrap_key(&mut admin, *id, name, key)?;
            tell(Progress::WrapKey(*id));
        }
        self.report(&mut admin)?;
        tell(Progress::Reported);
        drop(admin);
        // Each password is proved.
        for (_, login) in &self.roles {
            open(login).map_err(while_doing("log in with the new passwords"))?;
        }
        Ok(())
    }

    /// A session of the admin, on a device where nobody else of its power is left.
    fn admin(&self, open: &Open<'_>) -> Result<Device, Failed> {
        match open(&self.admin) {
            Ok(mut admin) => {
                remove_temporary(&mut admin)?;
                return Ok(admin);
            }
            Err(error) if error.is_transient() => {
                return Err(while_doing("log in as the admin")(error));
            }
            Err(_) => {}
        }
        let mut session = match open(&self.temporary) {
            Err(error) if !error.is_transient() => self.temporary(open)?,
            opened => opened.map_err(while_doing("log in with the temporary key"))?,
        };
        remove(&mut session, ObjectType::AUTHENTICATION_KEY, NEW_DEVICE_KEY)
            .map_err(while_doing("remove the key of a new device"))?;
        let label = format!("admin:{}", self.stamp);
        all_powerful(&mut session, &label, &self.admin).map_err(while_doing("make the admin"))?;
        drop(session);
        let mut admin = open(&self.admin).map_err(while_doing("log in as the admin"))?;
        remove_temporary(&mut admin)?;
        Ok(admin)
    }

    /// A session of the temporary key, which the key of a new device makes.
    fn temporary(&self, open: &Open<'_>) -> Result<Device, Failed> {
        let mut new =
            open(&self.new).map_err(while_doing("log in with the key of a new device"))?;
        all_powerful(&mut new, "tmkms setup (temporary)", &self.temporary)
            .map_err(while_doing("make the temporary key"))?;
        drop(new);
        open(&self.temporary).map_err(while_doing("log in with the temporary key"))
    }

    fn role(&self, admin: &mut Device, role: Role, login: &Credentials) -> Result<(), Failed> {
        let failed = || while_doing("make the roles");
        if is_there(admin, ObjectType::AUTHENTICATION_KEY, role.id()).map_err(failed())? {
            return Ok(());
        }
        let object = NewObject {
            id: role.id(),
            label: Label::new(&format!("{}:{}", role.name(), self.stamp)),
            domains: role.domains(),
            capabilities: role.capabilities(),
        };
        admin
            .put_authentication_key(&object, role.delegated_capabilities(), &login.keys)
            .map_err(failed())?;
        Ok(())
    }

    fn wrap_key(
        &self,
        admin: &mut Device,
        id: ObjectId,
        name: &str,
        key: &WrapKey,
    ) -> Result<(), Failed> {
        let failed = || while_doing("make the wrap keys");
        if is_there(admin, ObjectType::WRAP_KEY, id).map_err(failed())? {
            return Ok(());
        }
        let object = NewObject {
            id,
            label: Label::new(&format!("{name}:{}", self.stamp)),
            domains: Domains::ALL,
            capabilities: WRAP_CAPABILITIES,
        };
        let algorithm = Algorithm::AES256_CCM_WRAP;
        admin
            .put_wrap_key(&object, algorithm, Capabilities::ALL, key.0.as_slice())
            .map_err(failed())?;
        Ok(())
    }

    fn report(&self, admin: &mut Device) -> Result<(), Failed> {
        let failed = || while_doing("leave the report in the device");
        if is_there(admin, ObjectType::OPAQUE, REPORT_OBJECT).map_err(failed())? {
            return Ok(());
        }
        let object = NewObject {
            id: REPORT_OBJECT,
            label: Label::new("tmkms setup report"),
            domains: Domains::ALL,
            capabilities: Capabilities::GET_OPAQUE,
        };
        let json = self.report.to_json();
        admin
            .put_opaque(&object, Algorithm::OPAQUE_DATA, json.as_bytes())
            .map_err(failed())?;
        Ok(())
    }

    /// Tries to leave no more behind than the admin.
    fn give_up(&self, failed: Failed, open: &Open<'_>) -> SetupError {
        let mut left = Left::Unknown;
        let tries = if cfg!(mutant = "no_clean_up") {
            0
        } else {
            TRIES
        };
        for _ in 0..tries {
            if self.admin(open).is_ok() {
                left = Left::WithAdmin;
                break;
            }
            thread::sleep(PAUSE);
        }
        SetupError {
            doing: failed.doing,
            source: Some(failed.error),
            left,
        }
    }
}

/// One step failed.
struct Failed {
    doing: &'static str,
    error: DeviceError,
}

fn while_doing(doing: &'static str) -> impl FnOnce(DeviceError) -> Failed {
    move |error| Failed { doing, error }
}

/// Whether a device holds nothing but the key of a new one.
fn look(mut session: Device) -> Result<(Device, bool), DeviceError> {
    let objects = session.list_objects(&Filter::default())?;
    let is_new = objects.iter().all(|entry| {
        entry.object_type == ObjectType::AUTHENTICATION_KEY && entry.id == NEW_DEVICE_KEY
    });
    Ok((session, is_new))
}

/// Makes an authentication key that may do everything.
fn all_powerful(
    session: &mut Device,
    label: &str,
    credentials: &Credentials,
) -> Result<(), DeviceError> {
    let all = Capabilities::ALL;
    let object = NewObject {
        id: credentials.auth_key,
        label: Label::new(label),
        domains: Domains::ALL,
        capabilities: all,
    };
    session.put_authentication_key(&object, all, &credentials.keys)?;
    Ok(())
}

fn remove_temporary(session: &mut Device) -> Result<(), Failed> {
    if cfg!(mutant = "no_removal") {
        return Ok(());
    }
    remove(session, ObjectType::AUTHENTICATION_KEY, TEMPORARY_KEY)
        .map_err(while_doing("remove the temporary key"))
}

/// Deletes an object, and is content if there is none.
fn remove(session: &mut Device, kind: ObjectType, id: ObjectId) -> Result<(), DeviceError> {
    if is_there(session, kind, id)? {
        session.delete_object(id, kind)?;
    }
    Ok(())
}

fn is_there(session: &mut Device, kind: ObjectType, id: ObjectId) -> Result<bool, DeviceError> {
    Ok(session.object_info(id, kind)?.is_some())
}
