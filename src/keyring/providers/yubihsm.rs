//! Keys in a YubiHSM2.
//!
//! The client is our own: the secure channel (`scp03`), two ways to the device (`transport`) and the commands (`device`), each with a
//! deadline. Sources: Yubico's "YubiHSM 2 user guide" and Python client.

mod capability;
mod command;
mod config;
mod device;
mod error;
pub mod import;
mod incoming;
mod inspection;
mod object;
mod running;
mod scp03;
mod server;
pub mod setup;
pub mod transport;

pub use self::{
    capability::{Capabilities, Domains},
    command::Command,
    config::{
        Adapter, Auth, CommandLine, Config, ConnectorServer, KeyConfig, NotASerialNumber, Password,
        PasswordError, PasswordSource, SerialNumber,
    },
    device::{
        Audit, Credentials, Device, DeviceInfo, DeviceOption, LogEntries, LogEntry, PublicKeyBytes,
        StorageInfo, WrapForm, Wrapped, identify,
    },
    error::{DeviceError, Lost, Status, TransportError},
    inspection::{Inspected, KeyProblem, Scheme, held, held_in_vain, inspect, public_key},
    object::{Algorithm, Entry, Filter, Info, Label, NewObject, ObjectId, ObjectType, Origin},
    running::Hsm,
    scp03::StaticKeys,
};
