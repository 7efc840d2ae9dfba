//! The proof that something may be signed, and what becomes of it: `Permit` → signature → `SignedMsg`.
//!
//! Each step consumes the one before. Only [`crate::protection`] can make a `Permit`, and only a `Permit` can lend bytes to
//! a signer, so a signature over a vote that no durable record stands for cannot be written down in this program.

use crate::{
    crypto::{PublicKey, Signature},
    privval::{
        Beat, ConsensusMsg, Echo, Extension, Heartbeat, Hrs, RawBytes, SignBytes, Timestamp,
        Unprotected,
    },
    protection::store::{KeepError, Recorded},
};

/// Leave to sign one vote or proposal. Its record is durable.
///
/// Not `Clone`, no public field, no public constructor.
#[derive(Debug)]
#[must_use = "the height, round and step are used up, whether or not this is signed"]
pub struct Permit {
    msg: ConsensusMsg,
    repeats: bool,
    kept: Option<Signature>,
}

impl Permit {
    /// For what was just recorded durably: the message as it was asked.
    pub(super) fn advance(msg: ConsensusMsg) -> Self {
        Self {
            msg,
            repeats: false,
            kept: None,
        }
    }

    /// For what stands in the record already: the message with the recorded bytes (and so their timestamp).
    pub(super) fn repeat(mut msg: ConsensusMsg, recorded: Recorded) -> Self {
        msg.sign_bytes = recorded.sign_bytes;
        Self {
            msg,
            repeats: true,
            kept: recorded.signature,
        }
    }

    /// The signature of these bytes that was made before, where the key could not make it again.
    #[must_use]
    pub fn kept(&self) -> Option<&Signature> {
        self.kept.as_ref()
    }

    /// The bytes to sign, for [`Signer::sign`](crate::keyring::Signer::sign) and nothing else.
    #[must_use]
    pub fn sign_bytes(&self) -> Permitted<'_> {
        Permitted(self.msg.sign_bytes.as_bytes())
    }

    /// The bytes of a vote extension, on a precommit for a block only. Extensions are not under the double-sign rules:
    /// a repeat gets the extension of its own request signed.
    #[must_use]
    pub fn extension<'a>(&self, extension: &'a Extension) -> Option<Permitted<'a>> {
        self.msg
            .is_precommit_for_block()
            .then(|| Permitted(extension.sign_bytes()))
    }

    /// The bytes of a second extension of v2, on a precommit for a block only, as with the first one.
    #[must_use]
    pub fn unprotected<'a>(&self, extension: &'a Unprotected) -> Option<Permitted<'a>> {
        self.msg
            .is_precommit_for_block()
            .then(|| Permitted(extension.sign_bytes()))
    }

    /// Turns the permit and its signatures into what may be sent back.
    ///
    /// # Errors
    /// `BadSignature` if a signature does not verify under `key`: it must not leave (a fault in a device or in memory may
    /// give away the key). The permit is used up all the same.
    pub fn complete(
        self,
        signature: Signature,
        extension: Option<(&Extension, Signature)>,
        key: &PublicKey,
    ) -> Result<SignedMsg, BadSignature> {
        if !key.verifies(self.msg.sign_bytes.as_bytes(), &signature) {
            return Err(BadSignature);
        }
        let extension_signature = match extension {
            None => None,
            Some((extension, signature)) => {
                let sound = self.msg.is_precommit_for_block()
                    && key.verifies(extension.sign_bytes(), &signature);
                if !sound {
                    return Err(BadSignature);
                }
                Some(signature)
            }
        };
        Ok(SignedMsg {
            msg: self.msg,
            repeats: self.repeats,
            signature,
            extension_signature,
            unprotected_signature: None,
            not_kept: None,
        })
    }
}

/// Leave to sign bytes outside of consensus. They are not under the height/round/step rules; the type of the bytes keeps
/// them out of the consensus domain.
#[derive(Debug)]
#[must_use = "nothing is signed by a permit alone"]
pub struct RawPermit<'a>(&'a RawBytes);

impl<'a> RawPermit<'a> {
    /// The visible door for bytes outside of consensus.
    pub fn for_raw_bytes(raw: &'a RawBytes) -> Self {
        Self(raw)
    }

    /// The bytes to sign: domain prefix first.
    #[must_use]
    pub fn sign_bytes(&self) -> Permitted<'a> {
        Permitted(self.0.sign_bytes())
    }

    /// Turns the permit and its signature into what may be sent back.
    ///
    /// # Errors
    /// `BadSignature` as in [`Permit::complete`].
    pub fn complete(
        self,
        signature: Signature,
        key: &PublicKey,
    ) -> Result<SignedRaw, BadSignature> {
        if key.verifies(self.0.sign_bytes(), &signature) {
            Ok(SignedRaw { signature })
        } else {
            Err(BadSignature)
        }
    }
}

/// Leave to sign a heartbeat of v0.26. Heartbeats are not under the height/round/step rules; their type stands in their bytes
/// and keeps them out of the consensus domain.
#[derive(Debug)]
#[must_use = "nothing is signed by a permit alone"]
pub struct HeartbeatPermit<'a>(&'a Heartbeat);

impl<'a> HeartbeatPermit<'a> {
    /// The visible door for heartbeats.
    pub fn for_heartbeat(heartbeat: &'a Heartbeat) -> Self {
        Self(heartbeat)
    }

    /// The bytes to sign.
    #[must_use]
    pub fn sign_bytes(&self) -> Permitted<'a> {
        Permitted(self.0.sign_bytes())
    }

    /// Turns the permit and its signature into what may be sent back.
    ///
    /// # Errors
    /// `BadSignature` as in [`Permit::complete`].
    pub fn complete(
        self,
        signature: Signature,
        key: &PublicKey,
    ) -> Result<SignedHeartbeat, BadSignature> {
        if key.verifies(self.0.sign_bytes(), &signature) {
            let beat = self.0.beat().clone();
            Ok(SignedHeartbeat { beat, signature })
        } else {
            Err(BadSignature)
        }
    }
}

/// The argument of [`Signer::sign`](crate::keyring::Signer::sign): bytes that a permit lends.
#[derive(Clone, Copy, Debug)]
pub struct Permitted<'a>(&'a [u8]);

impl<'a> Permitted<'a> {
    /// The bytes themselves.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

/// A vote or proposal with its verified signature: what may be sent back.
#[derive(Debug)]
pub struct SignedMsg {
    msg: ConsensusMsg,
    repeats: bool,
    signature: Signature,
    extension_signature: Option<Signature>,
    unprotected_signature: Option<Signature>,
    not_kept: Option<Box<KeepError>>,
}

impl SignedMsg {
    /// With another verified signature over the same bytes: the one that was kept first.
    pub(super) fn with_signature(self, signature: Signature) -> Self {
        Self { signature, ..self }
    }

    /// With the fact that the signature is not in the record.
    pub(super) fn not_in_record(self, error: KeepError) -> Self {
        let not_kept = Some(Box::new(error));
        Self { not_kept, ..self }
    }

    /// The sign bytes.
    pub(super) fn sign_bytes(&self) -> &SignBytes {
        &self.msg.sign_bytes
    }

    /// Why the signature is not in the record, where it should be. That is no reason not to send it.
    #[must_use]
    pub fn not_kept(&self) -> Option<&KeepError> {
        self.not_kept.as_deref()
    }

    /// Height, round and step.
    #[must_use]
    pub fn hrs(&self) -> Hrs {
        self.msg.hrs
    }

    /// The message that was signed.
    #[must_use]
    pub fn msg(&self) -> &ConsensusMsg {
        &self.msg
    }

    /// The timestamp that was signed: on a repeat, the recorded one.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.msg.sign_bytes.timestamp()
    }

    /// Unsigned fields to repeat in the reply.
    #[must_use]
    pub fn echo(&self) -> &Echo {
        &self.msg.echo
    }

    /// The signature over the sign bytes.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The signature over the vote extension.
    #[must_use]
    pub fn extension_signature(&self) -> Option<&Signature> {
        self.extension_signature.as_ref()
    }

    /// The same with the signature over a second extension of v2.
    ///
    /// # Errors
    /// `BadSignature` as in [`Permit::complete`].
    pub fn with_unprotected(
        mut self,
        extension: &Unprotected,
        signature: Signature,
        key: &PublicKey,
    ) -> Result<Self, BadSignature> {
        let sound =
            self.msg.is_precommit_for_block() && key.verifies(extension.sign_bytes(), &signature);
        if !sound {
            return Err(BadSignature);
        }
        self.unprotected_signature = Some(signature);
        Ok(self)
    }

    /// The signature over the second extension of v2.
    #[must_use]
    pub fn unprotected_signature(&self) -> Option<&Signature> {
        self.unprotected_signature.as_ref()
    }

    /// Whether this had been recorded before.
    #[must_use]
    pub fn repeats(&self) -> bool {
        self.repeats
    }
}

/// Raw bytes' verified signature: what may be sent back.
#[derive(Debug)]
pub struct SignedRaw {
    signature: Signature,
}

impl SignedRaw {
    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// A heartbeat with its verified signature: what may be sent back.
#[derive(Debug)]
pub struct SignedHeartbeat {
    beat: Beat,
    signature: Signature,
}

impl SignedHeartbeat {
    /// What it says.
    #[must_use]
    pub fn beat(&self) -> &Beat {
        &self.beat
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

/// A signature that does not verify under its key; it was thrown away.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key made a signature that does not verify; it was not released")]
pub struct BadSignature;
