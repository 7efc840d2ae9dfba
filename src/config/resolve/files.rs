//! The files that a configuration names, each for one thing.

use std::{collections::HashMap, path::Path};

use crate::config::{
    paths::{self, Identity},
    problem::Report,
};

/// What a file is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    /// A chain's.
    State,
    /// A key's own; it may be the chain's as well, which is then no other key's.
    StateOfKey,
    Key,
    Identity,
    Password,
}

/// Every file of the configuration, to find those that are used for two things.
#[derive(Debug, Default)]
pub(super) struct Files(Vec<(Role, String, usize, Identity)>);

impl Files {
    /// A file, and the chain that it is for; a password is for none.
    pub(super) fn add(&mut self, role: Role, chain: &str, at: usize, path: &Path) {
        let identity = paths::identity(path);
        self.0.push((role, chain.to_owned(), at, identity));
    }

    /// Complains of every file that is used for two things.
    pub(super) fn check(&self, report: &mut Report<'_>) {
        let mut seen: HashMap<&Identity, &(Role, String, usize, Identity)> = HashMap::new();
        for file in &self.0 {
            let (role, chain, at, identity) = file;
            let Some((first_role, first_chain, first_at, _)) = seen.get(identity) else {
                seen.insert(identity, file);
                continue;
            };
            let line = report.line(*first_at);
            match (first_role, role) {
                (Role::State, Role::StateOfKey) if first_chain == chain => {
                    seen.insert(identity, file);
                }
                (Role::StateOfKey, Role::StateOfKey) if first_chain == chain => report
                    .error(*at, format!("two keys of chain {chain} share one state file"))
                    .remedy(format!("give each key a state_file of its own (the other is in line {line})")),
                (Role::State | Role::StateOfKey, Role::State | Role::StateOfKey) => report
                    .error(*at, format!("chains {first_chain} and {chain} share one state file"))
                    .remedy(format!("give each chain a state_file of its own (the other is in line {line})")),
                (Role::Key, Role::Key)
                | (Role::Identity, Role::Identity)
                | (Role::Password, Role::Password) => {}
                (Role::Key, Role::Identity) | (Role::Identity, Role::Key) => report
                    .error(*at, format!("`secret_key` is the consensus key of chain {first_chain} (line {line})"))
                    .remedy("the identity key must be another one: name a file that does not exist, it is created"),
                (Role::Password, Role::Key | Role::Identity)
                | (Role::Key | Role::Identity, Role::Password) => report
                    .error(*at, format!("a key and a password in one file (the other is in line {line})"))
                    .remedy("give each a file of its own"),
                (Role::State | Role::StateOfKey, _) | (_, Role::State | Role::StateOfKey) => report
                    .error(*at, format!("a secret and a state record in one file (the other is in line {line})"))
                    .remedy("give each a file of its own"),
            }
        }
    }
}
