//! `tmkms.toml`, of every era.
