//! A chain: its ID, its key with the guard of that key, and its policy. [`Chain::sign`] is the one door to a signature.

mod waiting;

use std::path::PathBuf;

use crate::{
    crypto::PublicKey,
    keyring::{Key, SignerError, format::KeyFormat},
    privval::{ChainId, Extension, Heartbeat, RawBytes, SignRequest, Unprotected},
    protection::{
        BadSignature, Denial, Guard, HeartbeatPermit, Permit, Policy, RawPermit, Refusal,
        SignedHeartbeat, SignedMsg, SignedRaw, StoreError, hook,
    },
};

pub use self::waiting::{Attempt, Failed, NotOpen, Open, Served, Waiting};

/// `[[chain]]`: one chain that keys sign for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The chain's ID.
    pub id: ChainId,
    /// How public keys are printed; `None` prints hex and cosmos-json.
    pub key_format: Option<KeyFormat>,
    /// The state record, as an absolute path or relative to the working directory.
    pub state_file: PathBuf,
    /// A command that knows the chain's height.
    pub state_hook: Option<hook::Config>,
    /// Sign vote extensions; true unless the operator says false.
    pub sign_extensions: bool,
    /// Refuse another block in a later step of one round.
    pub strict_rounds: bool,
}

/// A key and the guard that every signature of it passes. The two never part.
#[derive(Debug)]
pub struct GuardedKey {
    /// The key.
    pub key: Key,
    /// Its guard, over the chain's record.
    pub guard: Guard,
}

/// A chain that is open for signing.
#[derive(Debug)]
pub struct Chain {
    id: ChainId,
    consensus: GuardedKey,
    strict_rounds: bool,
}

impl Chain {
    /// A chain with its consensus key.
    #[must_use]
    pub fn new(id: ChainId, consensus: GuardedKey, strict_rounds: bool) -> Self {
        Self {
            id,
            consensus,
            strict_rounds,
        }
    }

    /// The chain's ID.
    #[must_use]
    pub fn id(&self) -> &ChainId {
        &self.id
    }

    /// The consensus key's public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        self.consensus.key.signer.public_key()
    }

    /// Judges, records and signs a vote or proposal, and its vote extension.
    ///
    /// # Errors
    /// `SignError`: nothing may leave. A refusal changed nothing.
    pub fn sign(
        &self,
        request: SignRequest,
        max_height: Option<i64>,
    ) -> Result<SignedMsg, SignError> {
        let policy = Policy {
            max_height,
            strict_rounds: self.strict_rounds,
        };
        let SignRequest {
            msg,
            extension,
            unprotected,
        } = self.without_empty_extensions(request)?;
        let permit = self.consensus.guard.judge(msg, policy)?;
        self.sign_permitted(permit, extension.as_ref(), unprotected.as_ref())
    }

    /// Signs bytes outside of consensus.
    ///
    /// # Errors
    /// `SignError`: nothing may leave.
    pub fn sign_raw(&self, raw: &RawBytes) -> Result<SignedRaw, SignError> {
        let signer = &self.consensus.key.signer;
        let permit = RawPermit::for_raw_bytes(raw);
        let signature = signer.sign(permit.sign_bytes())?;
        Ok(permit.complete(signature, signer.public_key())?)
    }

    /// Signs a heartbeat of v0.26.
    ///
    /// # Errors
    /// `SignError`: nothing may leave.
    pub fn sign_heartbeat(&self, heartbeat: &Heartbeat) -> Result<SignedHeartbeat, SignError> {
        let signer = &self.consensus.key.signer;
        let permit = HeartbeatPermit::for_heartbeat(heartbeat);
        let signature = signer.sign(permit.sign_bytes())?;
        Ok(permit.complete(signature, signer.public_key())?)
    }

    /// For a key that signs no vote extensions: the request without empty ones.
    fn without_empty_extensions(
        &self,
        mut request: SignRequest,
    ) -> Result<SignRequest, SignerError> {
        let Key { provider, signer } = &self.consensus.key;
        if signer.signs_extensions() {
            return Ok(request);
        }
        let extension = request.extension.take().is_some_and(|e| !e.is_empty());
        let unprotected = request.unprotected.take();
        if extension || unprotected.is_some_and(|e| !e.sign_bytes().is_empty()) {
            // A vote without it would be worth nothing, and the node that gets it ends.
            return Err(SignerError::Final {
                reason: format!("a key in {provider} signs no vote extensions"),
            });
        }
        Ok(request)
    }

    fn sign_permitted(
        &self,
        permit: Permit,
        extension: Option<&Extension>,
        unprotected: Option<&Unprotected>,
    ) -> Result<SignedMsg, SignError> {
        let signer = &self.consensus.key.signer;
        let kept = permit.kept().cloned();
        let keeps = kept.is_none() && !signer.repeats_itself();
        let signature = match kept {
            Some(kept) => kept,
            None => signer.sign(permit.sign_bytes())?,
        };
        let extension = match extension.map(|e| (e, permit.extension(e))) {
            Some((extension, Some(permitted))) => Some((extension, signer.sign(permitted)?)),
            Some((_, None)) | None => None,
        };
        let unprotected = match unprotected.map(|e| (e, permit.unprotected(e))) {
            Some((extension, Some(permitted))) => Some((extension, signer.sign(permitted)?)),
            Some((_, None)) | None => None,
        };
        let mut signed = permit.complete(signature, extension, signer.public_key())?;
        if let Some((extension, signature)) = unprotected {
            signed = signed.with_unprotected(extension, signature, signer.public_key())?;
        }
        if keeps {
            return Ok(self.consensus.guard.keep(signed));
        }
        Ok(signed)
    }
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Must not be signed.
    #[error(transparent)]
    Refused(Refusal),
    /// The record is unknown.
    #[error(transparent)]
    Stopped(StoreError),
    /// The key did not sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The key signed wrongly.
    #[error(transparent)]
    BadSignature(#[from] BadSignature),
}

impl From<Denial> for SignError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Refused(refusal) => Self::Refused(refusal),
            Denial::Stopped(error) => Self::Stopped(error),
        }
    }
}
