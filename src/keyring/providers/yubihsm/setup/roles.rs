//! Who may do what on a device that was set up: the four roles of the original, each with an authentication key of its own.

use crate::keyring::providers::yubihsm::{Capabilities, Domains, ObjectId};

/// Which key signs, which key manages, which key looks, and which key may do everything.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// Everything; its password is the phrase. For set-up and emergencies.
    Admin,
    /// Makes, imports and backs up keys; cannot sign and cannot delete.
    Operator,
    /// Reads the audit log and the options.
    Auditor,
    /// Signs: what `tmkms start` uses.
    Validator,
}

impl Role {
    /// All of them, by ID.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Auditor, Self::Validator];

    /// As labels, derivation paths and passwords spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Validator => "validator",
        }
    }

    /// The ID of its authentication key, 1 to 4.
    #[must_use]
    pub fn id(self) -> ObjectId {
        match self {
            Self::Admin => 1,
            Self::Operator => 2,
            Self::Auditor => 3,
            Self::Validator => 4,
        }
    }

    /// What it may do.
    #[must_use]
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::Admin => Capabilities::ALL,
            Self::Operator => Capabilities::GENERATE_ASYMMETRIC_KEY
                .with(Capabilities::PUT_ASYMMETRIC_KEY)
                .with(Capabilities::GENERATE_HMAC_KEY)
                .with(Capabilities::PUT_HMAC_KEY)
                .with(Capabilities::IMPORT_WRAPPED)
                .with(Capabilities::EXPORT_WRAPPED)
                .with(Capabilities::GET_OPAQUE)
                .with(Capabilities::GET_OPTION)
                .with(Capabilities::GET_LOG_ENTRIES)
                .with(Capabilities::SIGN_ATTESTATION_CERTIFICATE),
            Self::Auditor => Capabilities::GET_LOG_ENTRIES
                .with(Capabilities::GET_OPTION)
                .with(Capabilities::SET_OPTION)
                .with(Capabilities::GET_OPAQUE),
            Self::Validator => Capabilities::SIGN_ECDSA
                .with(Capabilities::SIGN_EDDSA)
                .with(Capabilities::SIGN_ATTESTATION_CERTIFICATE)
                .with(Capabilities::GET_LOG_ENTRIES),
        }
    }

    /// What the objects that it makes may be able to do.
    #[must_use]
    pub fn delegated_capabilities(self) -> Capabilities {
        match self {
            Self::Admin | Self::Operator => Capabilities::ALL,
            Self::Auditor | Self::Validator => Capabilities::NONE,
        }
    }

    /// Which objects it sees.
    #[must_use]
    pub fn domains(self) -> Domains {
        match self {
            Self::Admin | Self::Operator | Self::Auditor => Domains::ALL,
            Self::Validator => Domains::ONE,
        }
    }
}

/// What a wrap key may do: carry every key out of a device and into another.
pub(super) const WRAP_CAPABILITIES: Capabilities = Capabilities::EXPORT_WRAPPED
    .with(Capabilities::IMPORT_WRAPPED)
    .with(Capabilities::WRAP_DATA)
    .with(Capabilities::UNWRAP_DATA);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_validator_signs_and_only_the_admin_deletes() {
        let signing = Capabilities::SIGN_EDDSA.with(Capabilities::SIGN_ECDSA);
        let deleting = [
            Capabilities::DELETE_ASYMMETRIC_KEY,
            Capabilities::RESET_DEVICE,
        ];
        for role in Role::ALL {
            let has = role.capabilities();
            let all = role == Role::Admin;
            assert_eq!(has.contains(signing), all || role == Role::Validator);
            for delete in deleting {
                assert_eq!(has.contains(delete), all, "{}", role.name());
            }
        }
    }
}
