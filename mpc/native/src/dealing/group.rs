//! Integers, points and Lagrange coefficients, the same for both curves.

use frost_core::{Element, Field, Group, Scalar};
use zeroize::Zeroizing;

use super::Secp256k1;
use crate::errors::{Failure, Result};
use crate::frost::{Ed25519, Suite};
use crate::protocol::{MAX_SIGNERS, Protocol};

pub type FieldOf<S> = <<S as frost_core::Ciphersuite>::Group as Group>::Field;

/// Returns the scalar of an integer, or None if the integer is not below the group's order.
pub fn decode_scalar<S: Suite>(integer: &[u8]) -> Option<Scalar<S>> {
    let mut bytes = Zeroizing::new(<[u8; 32]>::try_from(integer).ok()?);
    if S::LITTLE_ENDIAN {
        bytes.reverse();
    }
    let encoded = bytes[..].try_into().ok()?;
    FieldOf::<S>::deserialize(&encoded).ok()
}

pub fn encode_scalar<S: Suite>(scalar: &Scalar<S>) -> Zeroizing<[u8; 32]> {
    let mut encoded = FieldOf::<S>::serialize(scalar);
    let mut integer = Zeroizing::new([0; 32]);
    integer.copy_from_slice(encoded.as_ref());
    zeroize::Zeroize::zeroize(encoded.as_mut());
    if S::LITTLE_ENDIAN {
        integer.reverse();
    }
    integer
}

/// Returns None for bytes that are not the encoding of a point of the prime-order group, and for
/// the identity.
pub fn decode_point<S: Suite>(bytes: &[u8]) -> Option<Element<S>> {
    S::Group::deserialize(&bytes.try_into().ok()?).ok()
}

/// Returns None for the identity, which has no encoding.
pub fn encode_point<S: Suite>(point: &Element<S>) -> Option<Vec<u8>> {
    Some(S::Group::serialize(point).ok()?.as_ref().to_vec())
}

pub fn small<S: Suite>(number: u8) -> Scalar<S> {
    let one = FieldOf::<S>::one();
    (0..number).fold(FieldOf::<S>::zero(), |sum, _| sum + one)
}

/// Returns the Lagrange coefficient of `index` at 0: the product of `j / (j - index)` over the
/// other members j of the quorum.
///
/// # Errors
/// `Misuse` unless the quorum has distinct indices from 1 to 16, `index` among them.
pub fn lagrange<S: Suite>(quorum: &[u8], index: u8) -> Result<Scalar<S>> {
    let distinct: std::collections::BTreeSet<_> = quorum.iter().collect();
    if distinct.len() != quorum.len()
        || quorum.iter().any(|&one| one == 0 || one > MAX_SIGNERS)
        || !quorum.contains(&index)
    {
        return Err(Failure::misuse(
            "a quorum has distinct indices, the dealer's among them",
        ));
    }
    let (mut numerator, mut denominator) = (FieldOf::<S>::one(), FieldOf::<S>::one());
    for &other in quorum.iter().filter(|other| **other != index) {
        numerator = numerator * small::<S>(other);
        denominator = denominator * (small::<S>(other) - small::<S>(index));
    }
    let inverse = FieldOf::<S>::invert(&denominator)
        .map_err(|_| Failure::misuse("a quorum has an index twice"))?;
    Ok(numerator * inverse)
}

/// Returns `lambda * Y`: the commitment to the constant that an honest member `index` of the
/// quorum deals, computed from its verifying share `Y`.
///
/// # Errors
/// `Misuse` for a quorum that is not one; `Abort` with `index` for a verifying share that is not a
/// point.
pub fn dealt_constant(
    protocol: Protocol,
    quorum: &[u8],
    index: u8,
    verifying_share: &[u8],
) -> Result<Vec<u8>> {
    match protocol {
        Protocol::Ed25519 => constant_of::<Ed25519>(quorum, index, verifying_share),
        Protocol::Dkls | Protocol::Taproot => {
            constant_of::<Secp256k1>(quorum, index, verifying_share)
        }
    }
}

fn constant_of<S: Suite>(quorum: &[u8], index: u8, verifying_share: &[u8]) -> Result<Vec<u8>> {
    let lambda = lagrange::<S>(quorum, index)?;
    let point = decode_point::<S>(verifying_share)
        .ok_or_else(|| Failure::by(index, "a verifying share that is not a point"))?;
    encode_point::<S>(&(point * lambda)).ok_or_else(|| Failure::misuse("the identity"))
}
