//! The record as a file: two slots, one synced write an update.
