//! From configuration to running parts: opens providers, stores and chains; every cross-check.
