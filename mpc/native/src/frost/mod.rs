//! EdDSA (Ed25519) and Schnorr (BIP-340, Taproot) by FROST, RFC 9591. Both suites share all code.
//! The order is that of a key's life: DKG, signing, refresh, repair.

mod dealt;
#[cfg(test)]
mod decoders;
mod dkg;
mod refresh;
mod repair;
mod share;
mod signing;

pub use dealt::{dealt, encoded_key};
#[cfg(test)]
pub use decoders::decoders;
pub use dkg::dkg;
pub use refresh::refresh;
pub use repair::repair;
pub use share::Share;
pub use signing::signing;

use std::collections::BTreeMap;

use frost_core::{Ciphersuite, Error, Identifier, VerifyingKey};

use crate::errors::{Failure, Result};
use crate::protocol::Protocol;

pub type Ed25519 = frost_ed25519::Ed25519Sha512;
pub type Taproot = frost_secp256k1_tr::Secp256K1Sha256TR;

/// The differences of the two suites.
pub trait Suite: Ciphersuite + Send + Sync + 'static {
    const PROTOCOL: Protocol;
    /// True if the DKG tweaks the key (BIP-341). A dealer's split does not tweak the key.
    const TWEAKED_BY_DKG: bool;
    /// The byte order of an encoded scalar.
    const LITTLE_ENDIAN: bool;

    fn public_key(key: &VerifyingKey<Self>) -> Result<Vec<u8>>;

    fn wrap(share: Share<Self>) -> crate::share::Share;
}

impl Suite for Ed25519 {
    const PROTOCOL: Protocol = Protocol::Ed25519;
    const TWEAKED_BY_DKG: bool = false;
    const LITTLE_ENDIAN: bool = true;

    fn public_key(key: &VerifyingKey<Self>) -> Result<Vec<u8>> {
        key.serialize().map_err(|error| failure(&error))
    }

    fn wrap(share: Share<Self>) -> crate::share::Share {
        crate::share::Share::Ed25519(share)
    }
}

impl Suite for Taproot {
    const PROTOCOL: Protocol = Protocol::Taproot;
    const TWEAKED_BY_DKG: bool = true;
    const LITTLE_ENDIAN: bool = false;

    /// Returns the x coordinate alone, the form of BIP-340.
    fn public_key(key: &VerifyingKey<Self>) -> Result<Vec<u8>> {
        let bytes = key.serialize().map_err(|error| failure(&error))?;
        Ok(bytes[1..].to_vec())
    }

    fn wrap(share: Share<Self>) -> crate::share::Share {
        crate::share::Share::Taproot(share)
    }
}

pub fn identifier<S: Suite>(index: u8) -> Identifier<S> {
    Identifier::try_from(u16::from(index))
        .expect("indices are checked to be from 1 when a session is made")
}

fn index_of<S: Suite>(identifier: &Identifier<S>) -> Option<u8> {
    (1..=crate::protocol::MAX_SIGNERS).find(|index| self::identifier::<S>(*index) == *identifier)
}

fn by_identifier<S: Suite, T>(by_index: BTreeMap<u8, T>) -> BTreeMap<Identifier<S>, T> {
    by_index
        .into_iter()
        .map(|(index, value)| (identifier(index), value))
        .collect()
}

/// Converts the library's error into a failure. The library's texts contain no secrets.
pub fn failure<S: Suite>(error: &Error<S>) -> Failure {
    Failure::Abort {
        culprits: error.culprits().iter().filter_map(index_of).collect(),
        reason: error.to_string(),
    }
}
