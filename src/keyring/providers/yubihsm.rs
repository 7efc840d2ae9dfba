//! Keys in a YubiHSM2.

mod config;

pub use self::config::{
    Adapter, Auth, CommandLine, Config, ConnectorServer, KeyConfig, NotASerialNumber, Password,
    PasswordError, PasswordSource, SerialNumber,
};
