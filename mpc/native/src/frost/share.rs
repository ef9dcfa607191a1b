//! A FROST key share: the library's key package and the group's public keys.

use std::collections::BTreeMap;

use frost_core::keys::{KeyPackage, PublicKeyPackage, VerifyingShare};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Suite, failure, identifier, index_of};
use crate::errors::{Failure, Result};
use crate::messages;
use crate::protocol::check_sizes;
use crate::share::{Facts, LIMIT, Origin};

pub struct Share<S: Suite> {
    pub key: KeyPackage<S>,
    pub package: PublicKeyPackage<S>,
    pub facts: Facts,
}

#[derive(Serialize)]
#[serde(bound = "S: Suite")]
struct Stored<'a, S: Suite> {
    key: &'a KeyPackage<S>,
    package: &'a PublicKeyPackage<S>,
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Suite")]
struct Loaded<S: Suite> {
    key: KeyPackage<S>,
    package: PublicKeyPackage<S>,
}

impl<S: Suite> Share<S> {
    /// # Errors
    /// `Misuse` if parts of the share contradict each other.
    pub fn new(key: KeyPackage<S>, package: PublicKeyPackage<S>, origin: Origin) -> Result<Self> {
        let facts = facts(&key, &package, origin)?;
        Ok(Self {
            key,
            package,
            facts,
        })
    }

    pub fn secret_share(&self) -> Zeroizing<[u8; 32]> {
        let encoded = Zeroizing::new(self.key.signing_share().serialize());
        let mut integer = Zeroizing::new([0; 32]);
        integer.copy_from_slice(&encoded);
        if S::LITTLE_ENDIAN {
            integer.reverse();
        }
        integer
    }

    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let stored = Stored {
            key: &self.key,
            package: &self.package,
        };
        messages::encode(&stored, LIMIT)
    }

    pub fn from_bytes(bytes: &[u8], origin: Origin) -> Result<Self> {
        let loaded: Loaded<S> = messages::decode(bytes)
            .ok_or_else(|| Failure::misuse("not a FROST share: it cannot be decoded"))?;
        Self::new(loaded.key, loaded.package, origin)
    }
}

fn facts<S: Suite>(
    key: &KeyPackage<S>,
    package: &PublicKeyPackage<S>,
    origin: Origin,
) -> Result<Facts> {
    let refused = |reason: &str| Failure::misuse(reason);
    let index = index_of(key.identifier()).ok_or_else(|| refused("a share without an index"))?;
    let signers = u8::try_from(package.verifying_shares().len())
        .map_err(|_| refused("a share of too many signers"))?;
    let threshold = u8::try_from(*key.min_signers())
        .map_err(|_| refused("a share with too large a threshold"))?;
    check_sizes(index, threshold, signers)?;
    if package.min_signers() != Some(*key.min_signers()) {
        return Err(refused("a share whose thresholds differ"));
    }
    if key.verifying_key() != package.verifying_key() {
        return Err(refused("a share whose public keys differ"));
    }
    if origin.taproot_tweaked && !S::TWEAKED_BY_DKG {
        return Err(refused("a share of this protocol is never taproot-tweaked"));
    }
    let ours = VerifyingShare::from(*key.signing_share());
    if ours != *key.verifying_share()
        || package.verifying_shares().get(key.identifier()) != Some(&ours)
    {
        return Err(refused(
            "a share whose secret is not that of its verifying share",
        ));
    }
    let mut verifying_shares = BTreeMap::new();
    for other in 1..=signers {
        let share = package
            .verifying_shares()
            .get(&identifier(other))
            .ok_or_else(|| refused("a share without all verifying shares"))?;
        let bytes = share.serialize().map_err(|error| failure(&error))?;
        verifying_shares.insert(other, bytes);
    }
    Ok(Facts {
        protocol: S::PROTOCOL,
        index,
        threshold,
        signers,
        public_key: S::public_key(package.verifying_key())?,
        chain_code: Vec::new(),
        verifying_shares,
        origin,
    })
}
