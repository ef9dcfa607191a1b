//! The hollow share that dealings give. See `crate::dealing`.

use std::collections::BTreeMap;

use dkls23_core::protocols::derivation::DerivData;
use dkls23_core::protocols::{Parameters, Party, PublicKeyPackage};
use dkls23_core::utilities::zero_shares::ZeroShare;
use k256::elliptic_curve::ff::PrimeField;
use k256::elliptic_curve::sec1::FromSec1Point;
use zeroize::Zeroizing;

use super::{Point, Scalar, Share, no_address, party};
use crate::dealing::{Combined, Target};
use crate::errors::{Failure, Result};
use crate::frost::{self, Taproot};
use crate::share::Origin;

/// Returns a party without pairwise state, as the library's `repair_assemble` does.
pub fn dealt(target: &Target<'_>, combined: &Combined<Taproot>, origin: Origin) -> Result<Share> {
    let parameters = Parameters::new(target.threshold, target.signers)
        .map_err(|_| Failure::misuse("a threshold or number of signers that no key has"))?;
    let pk = point(&frost::encoded_key(&combined.package)?)?;
    let mut verifying_shares = BTreeMap::new();
    for index in 1..=target.signers {
        let share = combined.package.verifying_shares()[&frost::identifier(index)]
            .serialize()
            .map_err(|error| frost::failure(&error))?;
        verifying_shares.insert(party(index), point(&share)?);
    }
    let secret = Option::from(Scalar::from_repr((*combined.secret).into()));
    let secret: Zeroizing<Scalar> = secret
        .map(Zeroizing::new)
        .ok_or_else(|| Failure::misuse("not a scalar"))?;
    let party = Party {
        parameters: parameters.clone(),
        party_index: party(target.index),
        session_id: origin.ceremony.to_vec(),
        poly_point: *secret,
        pk,
        zero_share: ZeroShare::initialize(Vec::new()),
        mul_senders: BTreeMap::new(),
        mul_receivers: BTreeMap::new(),
        derivation_data: DerivData {
            depth: 0,
            child_number: 0,
            parent_fingerprint: [0; 4],
            poly_point: *secret,
            pk,
            chain_code: target
                .chain_code
                .try_into()
                .map_err(|_| Failure::misuse("a chain code has 32 bytes"))?,
        },
        address: no_address(&pk),
    };
    let package = PublicKeyPackage::new(pk, verifying_shares, parameters);
    Share::new(party, package, origin).map_err(Failure::of_others)
}

fn point(bytes: &[u8]) -> Result<Point> {
    k256::Sec1Point::from_bytes(bytes)
        .ok()
        .and_then(|encoded| Option::from(Point::from_sec1_point(&encoded)))
        .ok_or_else(|| Failure::misuse("not a point"))
}
