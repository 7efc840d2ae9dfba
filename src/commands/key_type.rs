//! Key types as they are typed.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::crypto::Algorithm;

/// What `softsign keygen` makes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A secp256k1 key of the original's, which signs nothing here.
    Account,
    /// A key for votes and proposals.
    Consensus(Algorithm),
}

/// The name of a scheme, as nodes spell it or in a plainer spelling.
pub(super) fn scheme() -> impl TypedValueParser<Value = Algorithm> {
    PossibleValuesParser::new(schemes()).map(|name| {
        Algorithm::named(&name).expect("nothing but the names of schemes comes through")
    })
}

/// What the original took, or the name of a scheme.
pub(super) fn purpose() -> impl TypedValueParser<Value = Purpose> {
    let account = PossibleValue::new("account").help("secp256k1; signs nothing here");
    let consensus = PossibleValue::new("consensus").help("Ed25519, signs votes and proposals");
    let of_scheme = schemes()
        .map(|value| value.help("Signs votes and proposals, where a chain has such validators"));
    let values = [account, consensus].into_iter().chain(of_scheme);
    PossibleValuesParser::new(values).map(|name| match name.as_str() {
        "account" => Purpose::Account,
        name => Purpose::Consensus(Algorithm::named(name).unwrap_or(Algorithm::Ed25519)),
    })
}

fn schemes() -> impl Iterator<Item = PossibleValue> {
    Algorithm::ALL.iter().map(|scheme| {
        let facts = scheme.facts();
        PossibleValue::new(facts.name).aliases(facts.aliases.iter().copied())
    })
}
