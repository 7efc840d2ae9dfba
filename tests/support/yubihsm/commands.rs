//! The commands within a session: who may do what to which object.

use rand_core::{OsRng, RngCore};

use super::{
    audit::NONE,
    codes::{
        ALGORITHM_DISABLED, Code, INSUFFICIENT_PERMISSIONS, INVALID_COMMAND, INVALID_DATA,
        INVALID_ID, OBJECT_EXISTS, OBJECT_NOT_FOUND, Reply, STORAGE_FAILED, WRONG_LENGTH,
        algorithm, capability, command, kind, option, origin,
    },
    device::{Device, OBJECTS},
    fields::Fields,
    object::{Object, Secret, random, sign_ecdsa},
    session::{StaticKeys, Who},
    wrap,
};

/// What becomes of the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum After {
    Keep,
    Close,
    Reset,
}

/// Runs a command for the holder of an authentication key.
pub fn run(device: &mut Device, command: u8, payload: &[u8], who: &Who) -> Reply {
    let fields = Fields::new(payload);
    match command {
        command::ECHO => Ok(payload.to_vec()),
        command::DEVICE_INFO => device.info(payload),
        command::CLOSE_SESSION => fields.end().map(|()| Vec::new()),
        command::BLINK_DEVICE => fields_u8(fields).map(|_| Vec::new()),
        command::RESET_DEVICE => {
            may(who, capability::RESET_DEVICE)?;
            fields.end().map(|()| Vec::new())
        }
        command::GET_STORAGE_INFO => fields.end().map(|()| storage(device)),
        command::LIST_OBJECTS => list(device, fields, who),
        command::GET_OBJECT_INFO => info(device, fields, who),
        command::GET_PUBLIC_KEY => public_key(device, fields, who),
        command::DELETE_OBJECT => delete(device, fields, who),
        command::PUT_OPAQUE
        | command::PUT_ASYMMETRIC_KEY
        | command::GENERATE_ASYMMETRIC_KEY
        | command::PUT_AUTHENTICATION_KEY
        | command::PUT_WRAP_KEY
        | command::GENERATE_WRAP_KEY => create(device, command, fields, who),
        command::CHANGE_AUTHENTICATION_KEY => change_key(device, fields, who),
        command::GET_OPAQUE => opaque(device, fields, who),
        command::SIGN_EDDSA | command::SIGN_ECDSA => sign(device, command, fields, who),
        command::EXPORT_WRAPPED => wrap::export(device, fields, who),
        command::IMPORT_WRAPPED => wrap::import(device, fields, who),
        command::WRAP_DATA => wrap::data(device, fields, who),
        command::UNWRAP_DATA => wrap::undata(device, fields, who),
        command::GET_PSEUDO_RANDOM => pseudo_random(device, fields, who),
        command::GET_LOG_ENTRIES => {
            may(who, capability::GET_LOG_ENTRIES)?;
            fields.end().map(|()| device.audit.to_bytes())
        }
        command::SET_LOG_INDEX => set_log_index(device, fields, who),
        command::GET_OPTION => get_option(device, fields, who),
        command::SET_OPTION => set_option(device, fields, who),
        _ => Err(INVALID_COMMAND),
    }
}

/// The objects that a log entry names: the target and the second.
pub fn subjects(command: u8, payload: &[u8], reply: &Reply) -> [u16; 2] {
    let at = |bytes: &[u8], offset: usize| {
        let number = bytes.get(offset..offset + 2);
        number.map_or(NONE, |number| u16::from_be_bytes([number[0], number[1]]))
    };
    let made = reply.as_ref().map(Vec::as_slice).unwrap_or_default();
    match command {
        command::PUT_OPAQUE
        | command::PUT_ASYMMETRIC_KEY
        | command::GENERATE_ASYMMETRIC_KEY
        | command::PUT_AUTHENTICATION_KEY
        | command::PUT_WRAP_KEY
        | command::GENERATE_WRAP_KEY => [at(made, 0), NONE],
        command::GET_OPAQUE
        | command::SIGN_EDDSA
        | command::SIGN_ECDSA
        | command::GET_PUBLIC_KEY
        | command::GET_OBJECT_INFO
        | command::DELETE_OBJECT
        | command::CHANGE_AUTHENTICATION_KEY
        | command::WRAP_DATA
        | command::UNWRAP_DATA => [at(payload, 0), NONE],
        command::EXPORT_WRAPPED => [at(payload, 0), at(payload, 3)],
        command::IMPORT_WRAPPED => [at(payload, 0), at(made, 1)],
        _ => [NONE, NONE],
    }
}

/// The session's key must have the capability.
pub fn may(who: &Who, capability: u64) -> Result<(), Code> {
    permitted(who.capabilities & capability == capability)
}

/// An object of the session's domains; any other is not there.
pub fn find<'a>(device: &'a Device, who: &Who, kind: u8, id: u16) -> Result<&'a Object, Code> {
    device
        .object(kind, id)
        .filter(|object| object.domains & who.domains != 0)
        .ok_or(OBJECT_NOT_FOUND)
}

/// An object that the session's key may use in this way, and that may be used so.
pub fn usable<'a>(
    device: &'a Device,
    who: &Who,
    kind: u8,
    id: u16,
    capability: u64,
) -> Result<&'a Object, Code> {
    may(who, capability)?;
    let object = find(device, who, kind, id)?;
    permitted(object.capabilities & capability != 0)?;
    Ok(object)
}

pub fn permitted(is: bool) -> Result<(), Code> {
    if is {
        Ok(())
    } else {
        Err(INSUFFICIENT_PERMISSIONS)
    }
}

/// Stores a new object, if there is room for it and its number is free.
pub fn admit(device: &mut Device, mut object: Object) -> Result<u16, Code> {
    if object.id == NONE {
        return Err(INVALID_ID);
    }
    if device.disabled.contains(&object.algorithm) {
        return Err(ALGORITHM_DISABLED);
    }
    if device.objects.len() >= OBJECTS {
        return Err(STORAGE_FAILED);
    }
    if object.id == 0 {
        object.id = free_id(device, object.kind);
    } else if device.object(object.kind, object.id).is_some() {
        return Err(OBJECT_EXISTS);
    }
    let id = object.id;
    device.store(object);
    Ok(id)
}

fn free_id(device: &Device, kind: u8) -> u16 {
    loop {
        let id = u16::from_be_bytes(random());
        if id != 0 && id != NONE && device.object(kind, id).is_none() {
            return id;
        }
    }
}

fn fields_u8(mut fields: Fields<'_>) -> Result<u8, Code> {
    let byte = fields.u8()?;
    fields.end()?;
    Ok(byte)
}

/// Records, free records, pages, free pages, bytes of a page.
fn storage(device: &Device) -> Vec<u8> {
    let used = u16::try_from(device.objects.len()).expect("at most 256");
    let total = u16::try_from(OBJECTS).expect("256");
    [total, total - used, 1_024, 1_024 - used, 126]
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .collect()
}

fn list(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    let mut found: Vec<&Object> = device
        .objects
        .iter()
        .filter(|object| object.domains & who.domains != 0)
        .collect();
    while !fields.is_empty() {
        match fields.u8()? {
            1 => keep(&mut found, fields.u16()?, |object| object.id),
            2 => keep(&mut found, fields.u8()?, |object| object.kind),
            3 => {
                let domains = fields.u16()?;
                found.retain(|object| object.domains & domains != 0);
            }
            4 => {
                let capabilities = fields.u64()?;
                found.retain(|object| object.capabilities & capabilities != 0);
            }
            5 => keep(&mut found, fields.u8()?, |object| object.algorithm),
            6 => keep(&mut found, fields.bytes()?, |object| object.label),
            _ => return Err(INVALID_DATA),
        }
    }
    let mut reply = Vec::new();
    if device.list_begins_with_unknown {
        reply.extend([0x00, 0x01, kind::UNKNOWN, 0]);
    }
    for object in found {
        reply.extend(object.id.to_be_bytes());
        reply.extend([object.kind, object.sequence]);
    }
    Ok(reply)
}

fn keep<T: PartialEq>(found: &mut Vec<&Object>, wanted: T, field: impl Fn(&Object) -> T) {
    found.retain(|object| field(object) == wanted);
}

fn info(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    let (id, kind) = (fields.u16()?, fields.u8()?);
    fields.end()?;
    find(device, who, kind, id).map(Object::info)
}

/// The type may follow the number since firmware 2.4; without it an asymmetric key is meant.
fn public_key(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    let id = fields.u16()?;
    let kind = if fields.is_empty() {
        kind::ASYMMETRIC_KEY
    } else {
        fields.u8()?
    };
    fields.end()?;
    let object = find(device, who, kind, id)?;
    let mut reply = vec![object.algorithm];
    reply.extend(object.secret.public_key().ok_or(INVALID_DATA)?);
    if device.false_public_keys {
        let other = Secret::generate(object.algorithm)?;
        reply.truncate(1);
        reply.extend(other.public_key().ok_or(INVALID_DATA)?);
    }
    Ok(reply)
}

fn delete(device: &mut Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    let (id, kind) = (fields.u16()?, fields.u8()?);
    fields.end()?;
    may(
        who,
        match kind {
            kind::OPAQUE => capability::DELETE_OPAQUE,
            kind::AUTHENTICATION_KEY => capability::DELETE_AUTHENTICATION_KEY,
            kind::ASYMMETRIC_KEY => capability::DELETE_ASYMMETRIC_KEY,
            kind::WRAP_KEY => capability::DELETE_WRAP_KEY,
            kind::HMAC_KEY => capability::DELETE_HMAC_KEY,
            kind::TEMPLATE => capability::DELETE_TEMPLATE,
            kind::OTP_AEAD_KEY => capability::DELETE_OTP_AEAD_KEY,
            _ => return Err(INVALID_DATA),
        },
    )?;
    find(device, who, kind, id)?;
    device
        .objects
        .retain(|object| object.kind != kind || object.id != id);
    Ok(Vec::new())
}

/// Everything that makes an object begins alike: number, label, domains, capabilities, algorithm; then the delegated capabilities for
/// the types that have them; then the secret, unless it is made here.
fn create(device: &mut Device, command: u8, mut fields: Fields<'_>, who: &Who) -> Reply {
    let (kind, needed) = match command {
        command::PUT_OPAQUE => (kind::OPAQUE, capability::PUT_OPAQUE),
        command::PUT_ASYMMETRIC_KEY => (kind::ASYMMETRIC_KEY, capability::PUT_ASYMMETRIC_KEY),
        command::GENERATE_ASYMMETRIC_KEY => {
            (kind::ASYMMETRIC_KEY, capability::GENERATE_ASYMMETRIC_KEY)
        }
        command::PUT_AUTHENTICATION_KEY => {
            (kind::AUTHENTICATION_KEY, capability::PUT_AUTHENTICATION_KEY)
        }
        command::PUT_WRAP_KEY => (kind::WRAP_KEY, capability::PUT_WRAP_KEY),
        _ => (kind::WRAP_KEY, capability::GENERATE_WRAP_KEY),
    };
    may(who, needed)?;
    let (id, label) = (fields.u16()?, fields.bytes()?);
    let (domains, capabilities, algorithm) = (fields.u16()?, fields.u64()?, fields.u8()?);
    let has_delegated = matches!(kind, kind::AUTHENTICATION_KEY | kind::WRAP_KEY);
    let delegated = if has_delegated { fields.u64()? } else { 0 };
    let secret = match command {
        command::GENERATE_ASYMMETRIC_KEY => Secret::generate(algorithm)?,
        command::GENERATE_WRAP_KEY => Secret::generate_wrap(algorithm)?,
        command::PUT_ASYMMETRIC_KEY => Secret::asymmetric(algorithm, fields.rest())?,
        command::PUT_WRAP_KEY => Secret::wrap(algorithm, fields.rest())?,
        command::PUT_AUTHENTICATION_KEY => authentication(algorithm, &mut fields)?,
        _ => opaque_data(algorithm, fields.rest())?,
    };
    fields.end()?;
    if domains == 0 {
        return Err(INVALID_DATA);
    }
    permitted(domains & !who.domains == 0)?;
    permitted((capabilities | delegated) & !who.delegated == 0)?;
    let is_generated = matches!(
        command,
        command::GENERATE_ASYMMETRIC_KEY | command::GENERATE_WRAP_KEY
    );
    let object = Object {
        id,
        kind,
        algorithm,
        domains,
        capabilities,
        delegated,
        sequence: 0,
        origin: if is_generated {
            origin::GENERATED
        } else {
            origin::IMPORTED
        },
        label,
        secret,
    };
    admit(device, object).map(|id| id.to_be_bytes().to_vec())
}

fn authentication(algorithm: u8, fields: &mut Fields<'_>) -> Result<Secret, Code> {
    if algorithm != algorithm::AES128_YUBICO_AUTHENTICATION {
        return Err(INVALID_DATA);
    }
    fields
        .bytes()
        .map(|keys| Secret::Authentication(StaticKeys::from_bytes(keys)))
}

fn opaque_data(algorithm: u8, data: &[u8]) -> Result<Secret, Code> {
    match algorithm {
        algorithm::OPAQUE_DATA | algorithm::OPAQUE_X509_CERTIFICATE if data.is_empty() => {
            Err(WRONG_LENGTH)
        }
        algorithm::OPAQUE_DATA | algorithm::OPAQUE_X509_CERTIFICATE => {
            Ok(Secret::Opaque(data.to_vec()))
        }
        _ => Err(INVALID_DATA),
    }
}

/// A session can change the key that it was opened with, and no other.
fn change_key(device: &mut Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    may(who, capability::CHANGE_AUTHENTICATION_KEY)?;
    let (id, algorithm) = (fields.u16()?, fields.u8()?);
    let secret = authentication(algorithm, &mut fields)?;
    fields.end()?;
    permitted(id == who.key)?;
    let key = device
        .objects
        .iter_mut()
        .find(|object| object.kind == kind::AUTHENTICATION_KEY && object.id == id)
        .ok_or(OBJECT_NOT_FOUND)?;
    key.secret = secret;
    Ok(id.to_be_bytes().to_vec())
}

fn opaque(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    may(who, capability::GET_OPAQUE)?;
    let id = fields.u16()?;
    fields.end()?;
    match &find(device, who, kind::OPAQUE, id)?.secret {
        Secret::Opaque(data) => Ok(data.clone()),
        _ => Err(INVALID_DATA),
    }
}

fn sign(device: &Device, command: u8, mut fields: Fields<'_>, who: &Who) -> Reply {
    let id = fields.u16()?;
    let needed = match command {
        command::SIGN_EDDSA => capability::SIGN_EDDSA,
        _ => capability::SIGN_ECDSA,
    };
    let key = usable(device, who, kind::ASYMMETRIC_KEY, id, needed)?;
    match (&key.secret, command) {
        (Secret::Ed25519(key), command::SIGN_EDDSA) => Ok(key.sign(fields.rest()).to_vec()),
        (Secret::K256(key), command::SIGN_ECDSA) => {
            let hash: [u8; 32] = fields.bytes()?;
            fields.end()?;
            sign_ecdsa(key, &hash)
        }
        _ => Err(INVALID_DATA),
    }
}

fn pseudo_random(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    may(who, capability::GET_PSEUDO_RANDOM)?;
    let length = usize::from(fields.u16()?);
    fields.end()?;
    // The session's envelope and the inner header take 32 bytes at most.
    if length > device.message_limit() - 32 {
        return Err(INVALID_DATA);
    }
    let mut bytes = vec![0; length];
    OsRng.fill_bytes(&mut bytes);
    Ok(bytes)
}

fn set_log_index(device: &mut Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    may(who, capability::GET_LOG_ENTRIES)?;
    let index = fields.u16()?;
    fields.end()?;
    device.audit.consume(index)?;
    Ok(Vec::new())
}

fn get_option(device: &Device, fields: Fields<'_>, who: &Who) -> Reply {
    may(who, capability::GET_OPTION)?;
    match fields_u8(fields)? {
        option::FORCE_AUDIT => Ok(vec![device.audit.force]),
        option::COMMAND_AUDIT => Ok(command::AUDITABLE
            .iter()
            .flat_map(|command| [*command, device.audit.commands[command]])
            .collect()),
        option::ALGORITHM_TOGGLE => Ok(device
            .algorithms()
            .flat_map(|algorithm| [algorithm, u8::from(!device.disabled.contains(&algorithm))])
            .collect()),
        _ => Err(INVALID_DATA),
    }
}

fn set_option(device: &mut Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    may(who, capability::SET_OPTION)?;
    let (option, length) = (fields.u8()?, usize::from(fields.u16()?));
    let value = fields.rest();
    if value.len() != length || (option != option::FORCE_AUDIT && !length.is_multiple_of(2)) {
        return Err(WRONG_LENGTH);
    }
    match (option, value) {
        (option::FORCE_AUDIT, [value]) => device.audit.set_force(*value)?,
        (option::COMMAND_AUDIT, pairs) => {
            for pair in pairs.chunks_exact(2) {
                device.audit.set_command(pair[0], pair[1])?;
            }
        }
        (option::ALGORITHM_TOGGLE, pairs) => toggle(device, pairs)?,
        _ => return Err(INVALID_DATA),
    }
    Ok(Vec::new())
}

/// Only on a device that holds nothing but the default key.
fn toggle(device: &mut Device, pairs: &[u8]) -> Result<(), Code> {
    permitted(device.objects.len() == 1)?;
    for pair in pairs.chunks_exact(2) {
        if pair[1] == 0 {
            device.disabled.insert(pair[0]);
        } else {
            device.disabled.remove(&pair[0]);
        }
    }
    Ok(())
}
