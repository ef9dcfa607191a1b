//! Verified signatures: a session gives out no other signatures.

use frost_core::{Signature, VerifyingKey};
use k256::AffinePoint;
use k256::ecdsa::{RecoveryId, Signature as EcdsaSignature, VerifyingKey as EcdsaKey};
use k256::elliptic_curve::scalar::IsHigh;

use crate::errors::{Failure, Result};
use crate::frost::Suite;

/// The bytes of a signature. Only the functions below make this type, after verification.
pub struct Verified(Vec<u8>);

impl Verified {
    /// Verifies an ECDSA signature. Returns r, s and the recovery id, 65 bytes. `r` and `s` are in
    /// hexadecimal.
    ///
    /// # Errors
    /// `Abort` unless k256's ECDSA recovers `public_key` from the signature, and s is low. A
    /// signature from which the key recovers (SEC 1, section 4.1.6) verifies under it. The
    /// recovery shares no code with DKLs23's own check.
    pub fn ecdsa(
        public_key: AffinePoint,
        digest: &[u8; 32],
        (r, s): (&str, &str),
        recovery_id: u8,
    ) -> Result<Self> {
        let check = || {
            let signature: EcdsaSignature = format!("{r}{s}").parse().ok()?;
            let key = EcdsaKey::from_affine(public_key).ok()?;
            let recovery = RecoveryId::from_byte(recovery_id)?;
            let recovered = EcdsaKey::recover_from_prehash(digest, &signature, recovery).ok()?;
            if recovered != key {
                return None;
            }
            if bool::from(signature.s().is_high()) {
                return None;
            }
            let mut bytes = signature.to_bytes().to_vec();
            bytes.push(recovery_id);
            Some(Self(bytes))
        };
        check().ok_or_else(|| Failure::by_nobody("the signature does not verify"))
    }

    /// Verifies a FROST signature. Returns its 64 bytes, in the suite's own form.
    ///
    /// # Errors
    /// `Abort` unless the suite finds the signature of `message` valid under `public_key`.
    pub fn frost<S: Suite>(
        public_key: &VerifyingKey<S>,
        message: &[u8],
        signature: &Signature<S>,
    ) -> Result<Self> {
        public_key
            .verify(message, signature)
            .and_then(|()| signature.serialize())
            .map(Self)
            .map_err(|_| Failure::by_nobody("the signature does not verify"))
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use frost_core::SigningKey as FrostKey;
    use k256::ecdsa::SigningKey;
    use rand_core::OsRng;

    use super::{Suite, Verified};
    use crate::frost::{Ed25519, Taproot};

    const DIGEST: [u8; 32] = [5; 32];

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_slice(&[byte; 32]).unwrap()
    }

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns r, s and the recovery id of a signature by `key`, with a low s.
    fn signed() -> (String, String, u8) {
        let (signature, recovery) = key(7).sign_prehash_recoverable(&DIGEST);
        let bytes = signature.to_bytes();
        (
            hexadecimal(&bytes[..32]),
            hexadecimal(&bytes[32..]),
            recovery.to_byte(),
        )
    }

    #[test]
    fn a_valid_ecdsa_signature_is_given_out_with_its_recovery_id() {
        let (r, s, recovery) = signed();
        let point = *key(7).verifying_key().as_affine();
        let bytes = Verified::ecdsa(point, &DIGEST, (&r, &s), recovery).map(Verified::into_bytes);
        assert_eq!(
            hexadecimal(&bytes.unwrap_or_else(|_| panic!())),
            format!("{r}{s}{recovery:02x}")
        );
    }

    #[test]
    fn an_ecdsa_signature_of_another_digest_or_key_is_not_given_out() {
        let (r, s, recovery) = signed();
        let point = *key(7).verifying_key().as_affine();
        let other = *key(8).verifying_key().as_affine();
        for recovery in [recovery, recovery ^ 1] {
            assert!(Verified::ecdsa(other, &DIGEST, (&r, &s), recovery).is_err());
            assert!(Verified::ecdsa(point, &[6; 32], (&r, &s), recovery).is_err());
        }
    }

    #[test]
    fn an_ecdsa_signature_with_the_wrong_recovery_id_is_not_given_out() {
        let (r, s, recovery) = signed();
        let point = *key(7).verifying_key().as_affine();
        assert!(Verified::ecdsa(point, &DIGEST, (&r, &s), recovery ^ 1).is_err());
        assert!(Verified::ecdsa(point, &DIGEST, (&r, &s), 4).is_err());
    }

    #[test]
    fn an_ecdsa_signature_with_a_high_s_is_not_given_out() {
        let (signature, recovery) = key(7).sign_prehash_recoverable(&DIGEST);
        let r = hexadecimal(&signature.to_bytes()[..32]);
        let high = hexadecimal(&(-*signature.s()).to_bytes());
        let point = *key(7).verifying_key().as_affine();
        // with -s the recovered point has the other parity, so the recovery id changes too
        assert!(Verified::ecdsa(point, &DIGEST, (&r, &high), recovery.to_byte() ^ 1).is_err());
    }

    fn only_the_signed_message_counts<S: Suite>() {
        let (ours, other) = (
            FrostKey::<S>::new(&mut OsRng),
            FrostKey::<S>::new(&mut OsRng),
        );
        let signature = ours.sign(OsRng, b"a message");
        let public_key = frost_core::VerifyingKey::from(ours);
        let given = Verified::frost(&public_key, b"a message", &signature);
        assert_eq!(given.map(|one| one.into_bytes().len()), Ok(64));
        assert!(Verified::frost(&public_key, b"another", &signature).is_err());
        let public_key = frost_core::VerifyingKey::from(other);
        assert!(Verified::frost(&public_key, b"a message", &signature).is_err());
    }

    #[test]
    fn a_frost_signature_of_another_message_or_key_is_not_given_out() {
        only_the_signed_message_counts::<Ed25519>();
        only_the_signed_message_counts::<Taproot>();
    }
}
