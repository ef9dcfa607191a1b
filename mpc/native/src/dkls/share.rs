//! A DKLs23 key share: the library's `Party` and the group's public keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dkls23_core::protocols::derivation::DerivData;
use dkls23_core::protocols::{Party, PublicKeyPackage};
use k256::elliptic_curve::group::{CurveAffine, GroupEncoding};
use k256::elliptic_curve::sec1::FromSec1Point;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Curve, Point, Scalar, party, points};
use crate::errors::{Failure, Result};
use crate::messages;
use crate::protocol::{Protocol, check_sizes};
use crate::share::{Facts, LIMIT, Origin};

type Package = PublicKeyPackage<Curve>;

pub struct Share {
    pub party: Arc<Party<Curve>>,
    pub package: Package,
    pub facts: Facts,
}

#[derive(Serialize)]
struct Stored<'a> {
    party: &'a Party<Curve>,
    package: &'a Package,
}

#[derive(Serialize, Deserialize)]
struct Loaded {
    party: Party<Curve>,
    package: Package,
}

impl Share {
    /// # Errors
    /// `Misuse` if parts of the share contradict each other or are missing. For example, without
    /// zero-share seeds the library would sign without masks, and report no error.
    pub fn new(party: Party<Curve>, package: Package, origin: Origin) -> Result<Self> {
        check_sizes(
            party.party_index.as_u8(),
            party.parameters.threshold,
            party.parameters.share_count,
        )?;
        check_keys(&party, &package).map_err(Failure::misuse)?;
        if origin.repaired {
            check_hollow(&party).map_err(Failure::misuse)?;
        } else {
            check_pairs(&party)?;
        }
        let facts = facts(&party, &package, origin);
        Ok(Self {
            party: Arc::new(party),
            package,
            facts,
        })
    }

    pub fn secret_share(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.party.poly_point.to_bytes().into())
    }

    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let stored = Stored {
            party: &self.party,
            package: &self.package,
        };
        messages::encode(&stored, LIMIT)
    }

    pub fn from_bytes(bytes: &[u8], origin: Origin) -> Result<Self> {
        let loaded: Loaded = messages::decode(bytes)
            .ok_or_else(|| Failure::misuse("not a dkls23 share: it cannot be decoded"))?;
        if origin.taproot_tweaked {
            return Err(Failure::misuse("a dkls23 share is never taproot-tweaked"));
        }
        Self::new(loaded.party, loaded.package, origin)
    }
}

type Check = std::result::Result<(), &'static str>;

fn check_keys(party_: &Party<Curve>, package: &Package) -> Check {
    let derivation = &party_.derivation_data;
    if party_.session_id.len() != 32 {
        return Err("a share whose session id has not 32 bytes");
    }
    if derivation.depth != 0 {
        return Err("a share of a derived key");
    }
    if party_.pk != derivation.pk || party_.pk != *package.verifying_key() {
        return Err("a share whose public keys differ");
    }
    if party_.poly_point != derivation.poly_point {
        return Err("a share whose secrets differ");
    }
    if package.threshold() != party_.parameters.threshold
        || package.share_count() != party_.parameters.share_count
    {
        return Err("a share whose threshold or number of signers differ");
    }
    points::no_identity([&party_.pk])?;
    for index in 1..=package.share_count() {
        let verifying_share = package
            .verifying_share(party(index))
            .ok_or("a share without all verifying shares")?;
        points::no_identity([verifying_share])?;
    }
    let ours = Point::from(Point::generator() * party_.poly_point);
    if !package.verify_share(party_.party_index, &ours) {
        return Err("a share whose secret is not that of its verifying share");
    }
    Ok(())
}

fn check_hollow(party: &Party<Curve>) -> Check {
    if party.zero_share.seeds.is_empty()
        && party.mul_senders.is_empty()
        && party.mul_receivers.is_empty()
    {
        return Ok(());
    }
    Err("a repaired share with pairwise state")
}

fn check_pairs(party_: &Party<Curve>) -> Result<()> {
    let us = party_.party_index;
    let others: BTreeSet<_> = (1..=party_.parameters.share_count)
        .map(party)
        .filter(|other| *other != us)
        .collect();
    let seeds = &party_.zero_share.seeds;
    let with_seed: BTreeSet<_> = seeds.iter().map(|seed| seed.index_counterparty).collect();
    if seeds.len() != others.len()
        || with_seed != others
        || seeds
            .iter()
            .any(|seed| seed.lowest_index != (us < seed.index_counterparty))
    {
        return Err(Failure::misuse(
            "a share without exactly one zero-share seed for each other signer",
        ));
    }
    let distinct: BTreeSet<_> = seeds.iter().map(|seed| seed.seed).collect();
    if distinct.len() != seeds.len() {
        return Err(Failure::misuse("a share with a zero-share seed used twice"));
    }
    if !party_.mul_senders.keys().eq(&others) || !party_.mul_receivers.keys().eq(&others) {
        return Err(Failure::misuse(
            "a share without multiplication state for each other signer",
        ));
    }
    let senders = party_.mul_senders.values().map(|state| state.check_state());
    let receivers = party_
        .mul_receivers
        .values()
        .map(|state| state.check_state(None));
    for checked in senders.chain(receivers) {
        checked.map_err(|error| Failure::misuse(error.description))?;
    }
    Ok(())
}

fn facts(party_: &Party<Curve>, package: &Package, origin: Origin) -> Facts {
    let verifying_shares: BTreeMap<u8, Vec<u8>> = (1..=package.share_count())
        .filter_map(|index| {
            let share = package.verifying_share(party(index))?;
            Some((index, share.to_bytes().to_vec()))
        })
        .collect();
    Facts {
        protocol: Protocol::Dkls,
        index: party_.party_index.as_u8(),
        threshold: package.threshold(),
        signers: package.share_count(),
        public_key: package.verifying_key().to_bytes().to_vec(),
        chain_code: party_.chain_code().to_vec(),
        verifying_shares,
        origin,
    }
}

/// Derives a child's public key along `path`: CKDpub of BIP-32, as the library derives shares.
///
/// # Errors
/// `Misuse` for a malformed key or chain code, a hardened or invalid step, or more than 255 steps.
pub fn derive_public_key(public_key: &[u8], chain_code: &[u8], path: &[u32]) -> Result<Vec<u8>> {
    let encoded = k256::Sec1Point::from_bytes(public_key)
        .ok()
        .filter(|point| point.is_compressed())
        .ok_or_else(|| Failure::misuse("not a compressed public key"))?;
    let pk = Option::<Point>::from(Point::from_sec1_point(&encoded))
        .filter(|point| !bool::from(point.is_identity()))
        .ok_or_else(|| Failure::misuse("not a public key on secp256k1"))?;
    let mut data = DerivData::<Curve> {
        depth: 0,
        child_number: 0,
        parent_fingerprint: [0; 4],
        poly_point: Scalar::ZERO,
        pk,
        chain_code: chain_code
            .try_into()
            .map_err(|_| Failure::misuse("a chain code has 32 bytes"))?,
    };
    for step in path {
        data = data
            .derive_child(*step)
            .map_err(|error| Failure::misuse(error.description))?;
    }
    Ok(data.pk.to_bytes().to_vec())
}
