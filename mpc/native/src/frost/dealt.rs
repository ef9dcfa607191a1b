//! The hollow share that dealings give. See `crate::dealing`.

use frost_core::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use zeroize::Zeroizing;

use super::{Share, Suite, failure, identifier};
use crate::dealing::Combined;
use crate::errors::{Failure, Result};
use crate::share::Origin;

pub fn dealt<S: Suite>(index: u8, combined: Combined<S>, origin: Origin) -> Result<Share<S>> {
    let Combined { package, secret } = combined;
    let mut encoded = Zeroizing::new(*secret);
    if S::LITTLE_ENDIAN {
        encoded.reverse();
    }
    let secret = SigningShare::deserialize(&encoded[..]).map_err(|error| failure(&error))?;
    let key = KeyPackage::new(
        identifier(index),
        secret,
        VerifyingShare::from(secret),
        *package.verifying_key(),
        package.min_signers().unwrap_or(0),
    );
    Share::new(key, package, origin).map_err(Failure::of_others)
}

/// Returns the public key as a point, also where the suite's keys have another form.
pub fn encoded_key<S: Suite>(package: &PublicKeyPackage<S>) -> Result<Vec<u8>> {
    package
        .verifying_key()
        .serialize()
        .map_err(|error| failure(&error))
}
