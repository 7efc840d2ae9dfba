//! The key backends, one file each.

pub mod softsign;
