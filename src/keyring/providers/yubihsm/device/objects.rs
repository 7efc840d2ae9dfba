//! Lists, information, and the storing and deleting of objects.

use zeroize::Zeroizing;

use super::{
    super::{
        capability::{Capabilities, Domains},
        command::Command,
        error::{DeviceError, Status},
        object::{Algorithm, Entry, Filter, Info, Label, NewObject, ObjectId, ObjectType, Origin},
        scp03::StaticKeys,
    },
    Device,
};

/// Bytes of GET OBJECT INFO.
const INFO: usize = 66;

impl Device {
    /// Every object that this session sees and that the filter lets through, also of types without a name.
    ///
    /// # Errors
    /// `DeviceError`.
    pub fn list_objects(&mut self, filter: &Filter) -> Result<Vec<Entry>, DeviceError> {
        let command = Command::LIST_OBJECTS;
        let answer = self.command(command, &filter.to_bytes())?;
        let (entries, rest) = answer.as_chunks::<4>();
        if !rest.is_empty() {
            let what = "part of an entry";
            return Err(DeviceError::Malformed { command, what });
        }
        let entry = |&[high, low, object_type, sequence]: &[u8; 4]| Entry {
            id: u16::from_be_bytes([high, low]),
            object_type: ObjectType(object_type),
            sequence,
        };
        Ok(entries.iter().map(entry).collect())
    }

    /// What the device tells about an object; `None` if there is no such one, or none that this session sees. This is the question
    /// whether an id is free, since it names one object and cannot lose it among others.
    ///
    /// # Errors
    /// `DeviceError`.
    pub fn object_info(
        &mut self,
        id: ObjectId,
        object_type: ObjectType,
    ) -> Result<Option<Info>, DeviceError> {
        let command = Command::GET_OBJECT_INFO;
        match self.command(command, &named(id, object_type)) {
            Ok(answer) => parse(&answer).map(Some),
            Err(DeviceError::Refused {
                status: Status::ObjectNotFound,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// `DeviceError`; a capability such as `delete-asymmetric-key` is needed.
    pub fn delete_object(
        &mut self,
        id: ObjectId,
        object_type: ObjectType,
    ) -> Result<(), DeviceError> {
        self.quiet(Command::DELETE_OBJECT, &named(id, object_type))
    }

    /// Stores opaque bytes. Gives the object's id.
    ///
    /// # Errors
    /// `DeviceError`; `put-opaque` is needed.
    pub fn put_opaque(
        &mut self,
        object: &NewObject,
        algorithm: Algorithm,
        data: &[u8],
    ) -> Result<ObjectId, DeviceError> {
        let mut payload = put(object, algorithm);
        payload.extend_from_slice(data);
        self.created(Command::PUT_OPAQUE, &payload)
    }

    /// Reads opaque bytes.
    ///
    /// # Errors
    /// `DeviceError`; `get-opaque` is needed.
    pub fn get_opaque(&mut self, id: ObjectId) -> Result<Vec<u8>, DeviceError> {
        let bytes = self.command(Command::GET_OPAQUE, &id.to_be_bytes())?;
        Ok(bytes.to_vec())
    }

    /// Stores an authentication key. `delegated` is what the objects that its sessions store may have.
    ///
    /// # Errors
    /// `DeviceError`; `put-authentication-key` is needed.
    pub fn put_authentication_key(
        &mut self,
        object: &NewObject,
        delegated: Capabilities,
        keys: &StaticKeys,
    ) -> Result<ObjectId, DeviceError> {
        let algorithm = Algorithm::AES128_YUBICO_AUTHENTICATION;
        let mut payload = Zeroizing::new(Vec::with_capacity(128));
        payload.extend_from_slice(&put(object, algorithm));
        payload.extend_from_slice(&delegated.0.to_be_bytes());
        payload.extend_from_slice(keys.expose_secret().as_slice());
        self.created(Command::PUT_AUTHENTICATION_KEY, &payload)
    }

    /// Gives an authentication key (usually the session's own) new keys.
    ///
    /// # Errors
    /// `DeviceError`; `change-authentication-key` is needed.
    pub fn change_authentication_key(
        &mut self,
        id: ObjectId,
        keys: &StaticKeys,
    ) -> Result<ObjectId, DeviceError> {
        let mut payload = Zeroizing::new(Vec::with_capacity(64));
        payload.extend_from_slice(&id.to_be_bytes());
        payload.push(Algorithm::AES128_YUBICO_AUTHENTICATION.0);
        payload.extend_from_slice(keys.expose_secret().as_slice());
        self.created(Command::CHANGE_AUTHENTICATION_KEY, &payload)
    }

    /// A command that answers with the id of an object.
    pub(super) fn created(
        &mut self,
        command: Command,
        payload: &[u8],
    ) -> Result<ObjectId, DeviceError> {
        let answer = self.command(command, payload)?;
        let id = <[u8; 2]>::try_from(answer.as_slice()).map_err(|_| {
            let what = "no object id";
            DeviceError::Malformed { command, what }
        })?;
        Ok(u16::from_be_bytes(id))
    }
}

/// An object by number and type.
fn named(id: ObjectId, object_type: ObjectType) -> [u8; 3] {
    let [high, low] = id.to_be_bytes();
    [high, low, object_type.0]
}

/// What every PUT and GENERATE begins with: id 2 ‖ label 40 ‖ domains 2 ‖ capabilities 8 ‖ algorithm 1.
pub(super) fn put(object: &NewObject, algorithm: Algorithm) -> Vec<u8> {
    let mut payload = Vec::with_capacity(64);
    payload.extend_from_slice(&object.id.to_be_bytes());
    payload.extend_from_slice(&object.label.0);
    payload.extend_from_slice(&object.domains.0.to_be_bytes());
    payload.extend_from_slice(&object.capabilities.0.to_be_bytes());
    payload.push(algorithm.0);
    payload
}

/// capabilities 8 ‖ id 2 ‖ length 2 ‖ domains 2 ‖ type 1 ‖ algorithm 1 ‖ sequence 1 ‖ origin 1 ‖ label 40 ‖ delegated 8
fn parse(answer: &[u8]) -> Result<Info, DeviceError> {
    let malformed = || DeviceError::Malformed {
        command: Command::GET_OBJECT_INFO,
        what: "its length",
    };
    if answer.len() != INFO {
        return Err(malformed());
    }
    let (capabilities, rest) = answer.split_first_chunk().ok_or_else(malformed)?;
    let (numbers, rest) = rest.split_first_chunk::<10>().ok_or_else(malformed)?;
    let (label, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let delegated = rest.first_chunk().ok_or_else(malformed)?;
    let [i, d, l, n, o, m, object_type, algorithm, sequence, origin] = *numbers;
    Ok(Info {
        capabilities: Capabilities(u64::from_be_bytes(*capabilities)),
        id: u16::from_be_bytes([i, d]),
        length: u16::from_be_bytes([l, n]),
        domains: Domains(u16::from_be_bytes([o, m])),
        object_type: ObjectType(object_type),
        algorithm: Algorithm(algorithm),
        sequence,
        origin: Origin(origin),
        label: Label(*label),
        delegated: Capabilities(u64::from_be_bytes(*delegated)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_info_is_read_field_by_field() {
        let mut answer = Capabilities::SIGN_EDDSA.0.to_be_bytes().to_vec();
        answer.extend_from_slice(&[0x23, 0x2a, 0, 32, 0, 1, 3, 46, 0, 1]);
        answer.extend_from_slice(&Label::new("gaia").0);
        answer.extend_from_slice(&[0; 8]);
        let info = parse(&answer).expect("66 bytes");
        assert_eq!(
            (info.id, info.length, info.domains),
            (9002, 32, Domains::ONE)
        );
        assert_eq!(info.object_type, ObjectType::ASYMMETRIC_KEY);
        assert_eq!(info.algorithm, Algorithm::ED25519);
        assert_eq!(info.capabilities, Capabilities::SIGN_EDDSA);
        assert_eq!(info.label.text(), "gaia");
        assert_eq!(info.origin.to_string(), "generated");
        answer.pop();
        assert!(parse(&answer).is_err());
    }

    #[test]
    fn what_a_put_begins_with_has_53_bytes() {
        let object = NewObject {
            id: 1,
            label: Label::new("l"),
            domains: Domains(0x0102),
            capabilities: Capabilities::SIGN_ECDSA,
        };
        let payload = put(&object, Algorithm::EC_K256);
        assert_eq!(payload.len(), 53);
        assert!(payload.ends_with(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0x80, 15]));
    }
}
