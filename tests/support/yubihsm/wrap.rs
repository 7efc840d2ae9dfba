//! Objects and data under a wrap key: AES-CCM with a nonce of 13 bytes and a tag of 16.

use aes::{Aes128, Aes192, Aes256};
use ccm::{
    Ccm, KeyInit,
    aead::Aead,
    consts::{U13, U16},
};

use super::{
    codes::{
        Code, INVALID_DATA, INVALID_ID, Reply, WRONG_LENGTH, algorithm, capability, kind, origin,
    },
    commands::{admit, find, may, permitted, usable},
    device::Device,
    fields::Fields,
    object::{Object, Secret, random},
    session::Who,
};

const NONCE: usize = 13;

/// EXPORT WRAPPED: wrap key, type, number; since firmware 2.4 a byte that asks for an Ed25519 key's seed too.
pub fn export(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    let (wrap_id, kind, id) = (fields.u16()?, fields.u8()?, fields.u16()?);
    let with_seed = device.is_24() && !fields.is_empty() && fields.u8()? == 1;
    fields.end()?;
    let wrap_key = usable(
        device,
        who,
        kind::WRAP_KEY,
        wrap_id,
        capability::EXPORT_WRAPPED,
    )?;
    let object = find(device, who, kind, id)?;
    permitted(object.capabilities & capability::EXPORTABLE_UNDER_WRAP != 0)?;
    permitted(object.capabilities & !wrap_key.delegated == 0)?;
    if with_seed && !object.has_seed() {
        return Err(INVALID_DATA);
    }
    seal(wrap_key, &to_bytes(object, wrap_key.algorithm, with_seed))
}

/// IMPORT WRAPPED: wrap key, nonce, the rest. The object keeps its number, label, domains and capabilities.
pub fn import(device: &mut Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    let wrap_id = fields.u16()?;
    let wrap_key = usable(
        device,
        who,
        kind::WRAP_KEY,
        wrap_id,
        capability::IMPORT_WRAPPED,
    )?;
    let plain = open(wrap_key, fields.rest())?;
    let object = from_bytes(&plain, wrap_key.algorithm)?;
    permitted((object.capabilities | object.delegated) & !wrap_key.delegated == 0)?;
    permitted(object.domains & !who.domains == 0)?;
    if object.id == 0 {
        return Err(INVALID_ID);
    }
    let mut reply = vec![object.kind];
    reply.extend(admit(device, object)?.to_be_bytes());
    Ok(reply)
}

pub fn data(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    let key = usable(
        device,
        who,
        kind::WRAP_KEY,
        fields.u16()?,
        capability::WRAP_DATA,
    )?;
    seal(key, fields.rest())
}

pub fn undata(device: &Device, mut fields: Fields<'_>, who: &Who) -> Reply {
    may(who, capability::UNWRAP_DATA)?;
    let key = usable(
        device,
        who,
        kind::WRAP_KEY,
        fields.u16()?,
        capability::UNWRAP_DATA,
    )?;
    open(key, fields.rest())
}

fn to_bytes(object: &Object, wrap_algorithm: u8, with_seed: bool) -> Vec<u8> {
    let body = object.body(with_seed);
    let length = u16::try_from(body.len()).expect("an object fits into a message");
    let mut bytes = vec![wrap_algorithm];
    bytes.extend(object.capabilities.to_be_bytes());
    for number in [object.id, length, object.domains] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([
        object.kind,
        object.algorithm,
        object.sequence,
        object.origin,
    ]);
    bytes.extend(object.label);
    bytes.extend(body);
    bytes
}

fn from_bytes(plain: &[u8], wrap_algorithm: u8) -> Result<Object, Code> {
    let mut fields = Fields::new(plain);
    if fields.u8()? != wrap_algorithm {
        return Err(INVALID_DATA);
    }
    let capabilities = fields.u64()?;
    let (id, length, domains) = (fields.u16()?, fields.u16()?, fields.u16()?);
    let [kind, algorithm, sequence, origin] = fields.bytes()?;
    let label = fields.bytes()?;
    let body = fields.rest();
    if body.len() != usize::from(length) {
        return Err(WRONG_LENGTH);
    }
    let (delegated, secret) = Object::from_body(kind, algorithm, body)?;
    Ok(Object {
        id,
        kind,
        algorithm,
        domains,
        capabilities,
        delegated,
        sequence,
        origin: origin | origin::IMPORTED_WRAPPED,
        label,
        secret,
    })
}

fn seal(key: &Object, plain: &[u8]) -> Reply {
    let nonce: [u8; NONCE] = random();
    let Secret::Wrap(bytes) = &key.secret else {
        return Err(INVALID_DATA);
    };
    let sealed = match key.algorithm {
        algorithm::AES128_CCM_WRAP => ccm::<Aes128>(bytes)?.encrypt(&nonce.into(), plain),
        algorithm::AES192_CCM_WRAP => ccm::<Aes192>(bytes)?.encrypt(&nonce.into(), plain),
        _ => ccm::<Aes256>(bytes)?.encrypt(&nonce.into(), plain),
    };
    let mut reply = nonce.to_vec();
    reply.extend(sealed.map_err(|_| INVALID_DATA)?);
    Ok(reply)
}

fn open(key: &Object, sealed: &[u8]) -> Reply {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(WRONG_LENGTH)?;
    let Secret::Wrap(bytes) = &key.secret else {
        return Err(INVALID_DATA);
    };
    let nonce = (*nonce).into();
    let plain = match key.algorithm {
        algorithm::AES128_CCM_WRAP => ccm::<Aes128>(bytes)?.decrypt(&nonce, sealed),
        algorithm::AES192_CCM_WRAP => ccm::<Aes192>(bytes)?.decrypt(&nonce, sealed),
        _ => ccm::<Aes256>(bytes)?.decrypt(&nonce, sealed),
    };
    plain.map_err(|_| INVALID_DATA)
}

fn ccm<C>(key: &[u8]) -> Result<Ccm<C, U16, U13>, Code>
where
    C: KeyInit
        + aes::cipher::BlockCipher
        + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>
        + aes::cipher::BlockEncrypt,
{
    Ccm::new_from_slice(key).map_err(|_| INVALID_DATA)
}
