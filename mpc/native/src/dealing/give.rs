//! The dealer's part of a copy: commitments and sub-shares of its term of the interpolation.

use std::collections::BTreeMap;

use frost_core::{Field, Group, Scalar};
use rand_core::OsRng;
use zeroize::Zeroizing;

use super::Secp256k1;
use super::group::{FieldOf, decode_scalar, encode_point, encode_scalar, lagrange, small};
use crate::errors::{Failure, Result};
use crate::frost::{Ed25519, Suite};
use crate::protocol::{Protocol, check_sizes};
use crate::share::Share;
use crate::wiped::Wiped;

/// The commitments go to all new signers, and each sub-share to the signer of its index alone.
pub struct Dealing {
    /// The commitment to the constant first; as many as the new threshold.
    pub commitments: Vec<Vec<u8>>,
    pub sub_shares: BTreeMap<u8, Zeroizing<[u8; 32]>>,
}

/// Deals `lambda * s` of our share to `signers` new signers with the new `threshold`.
///
/// `quorum`: the indices of the old signers that deal, ours among them.
///
/// # Errors
/// `Misuse` for a repaired share, for a quorum that does not fit the share, and for new sizes
/// that no key can have.
pub fn deal(share: &Share, quorum: &[u8], (threshold, signers): (u8, u8)) -> Result<Dealing> {
    let facts = share.facts();
    if facts.origin.repaired {
        return Err(Failure::misuse(
            "a repaired share deals only once refreshed",
        ));
    }
    if quorum.len() != usize::from(facts.threshold) {
        return Err(Failure::misuse("exactly threshold signers deal"));
    }
    if quorum.iter().any(|&index| index > facts.signers) {
        return Err(Failure::misuse("a dealer is not one of the signers"));
    }
    check_sizes(1, threshold, signers)?;
    match facts.protocol {
        Protocol::Ed25519 => deal_term::<Ed25519>(share, quorum, (threshold, signers)),
        Protocol::Dkls | Protocol::Taproot => {
            deal_term::<Secp256k1>(share, quorum, (threshold, signers))
        }
    }
}

fn deal_term<S: Suite>(
    share: &Share,
    quorum: &[u8],
    (threshold, signers): (u8, u8),
) -> Result<Dealing> {
    let lambda = lagrange::<S>(quorum, share.facts().index)?;
    let secret = decode_scalar::<S>(&*share.secret_share())
        .ok_or_else(|| Failure::misuse("a share that is not a scalar"))?;
    let random = (1..threshold).map(|_| FieldOf::<S>::random(&mut OsRng));
    let coefficients = std::iter::once(lambda * secret).chain(random).collect();
    deal_polynomial::<S>(coefficients, signers)
}

/// Deals the polynomial with these coefficients, the constant first.
pub fn deal_polynomial<S: Suite>(coefficients: Vec<Scalar<S>>, signers: u8) -> Result<Dealing> {
    let coefficients = Wiped::new(coefficients, forget::<S>);
    let mut commitments = Vec::with_capacity(coefficients.len());
    for coefficient in coefficients.iter() {
        let commitment = encode_point::<S>(&(S::Group::generator() * *coefficient))
            .ok_or_else(|| Failure::misuse("a coefficient of the polynomial is zero"))?;
        commitments.push(commitment);
    }
    let sub_shares = (1..=signers)
        .map(|index| {
            (
                index,
                encode_scalar::<S>(&value_at::<S>(&coefficients, index)),
            )
        })
        .collect();
    Ok(Dealing {
        commitments,
        sub_shares,
    })
}

/// Horner's method.
fn value_at<S: Suite>(coefficients: &[Scalar<S>], index: u8) -> Scalar<S> {
    let x = small::<S>(index);
    coefficients
        .iter()
        .rev()
        .fold(FieldOf::<S>::zero(), |value, coefficient| {
            value * x + *coefficient
        })
}

#[allow(clippy::ptr_arg)] // the type that `Wiped` holds
pub fn forget<S: Suite>(coefficients: &mut Vec<Scalar<S>>) {
    for coefficient in coefficients.iter_mut() {
        *std::hint::black_box(coefficient) = FieldOf::<S>::zero();
    }
}
