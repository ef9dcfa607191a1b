//! Dealings against the vectors of a second implementation, and what a damaged dealing gives.

use std::collections::BTreeMap;

use frost_core::Field;
use proptest::prelude::*;
use proptest::sample::select;

use super::give::{deal_polynomial, forget};
use super::group::{FieldOf, decode_scalar, encode_scalar, lagrange, small};
use super::{Dealing, Received, Secp256k1, Target, deal, dealt_constant, dealt_share};
use crate::errors::{Failure, Result};
use crate::frost::{Ed25519, Suite};
use crate::properties::check;
use crate::properties::damage::{Damage, damage};
use crate::properties::shares;
use crate::protocol::Protocol;
use crate::share::Share;
use crate::wiped::Wiped;

const US: u8 = 2;
const QUORUM: [u8; 2] = [1, 3];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn list(words: &str) -> Vec<Vec<u8>> {
    words.split(' ').map(bytes).collect()
}

/// Checks one line of the vectors. Its fields are those of
/// tests/unit/mpc/native/dealing_vectors.py.
fn deals_as_recorded<S: Suite>(protocol: Protocol, fields: &[&str]) {
    let quorum: Vec<u8> = fields[2]
        .split(' ')
        .map(|one| one.parse().unwrap())
        .collect();
    let index: u8 = fields[3].parse().unwrap();
    let share = decode_scalar::<S>(&bytes(fields[4])).unwrap();
    let term = lagrange::<S>(&quorum, index).unwrap() * share;
    let random = list(fields[7]);
    let random = random.iter().map(|one| decode_scalar::<S>(one).unwrap());
    let coefficients = std::iter::once(term).chain(random).collect();
    let dealing = deal_polynomial::<S>(coefficients, fields[6].parse().unwrap()).unwrap();
    assert_eq!(dealing.commitments, list(fields[8]), "{}", fields[0]);
    let sub_shares: Vec<_> = dealing
        .sub_shares
        .values()
        .map(|one| one.to_vec())
        .collect();
    assert_eq!(sub_shares, list(fields[9]), "{}", fields[0]);
    let constant = dealt_constant(protocol, &quorum, index, &bytes(fields[5]));
    assert_eq!(constant.as_ref(), Ok(&dealing.commitments[0]));
}

#[test]
fn dealings_are_those_of_the_second_implementation() {
    let vectors = include_str!("../../../../tests/vectors/dealings.csv");
    let mut seen = 0;
    for line in vectors.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let protocol = Protocol::from_name(fields[1]).unwrap();
        match protocol {
            Protocol::Ed25519 => deals_as_recorded::<Ed25519>(protocol, &fields),
            Protocol::Dkls | Protocol::Taproot => deals_as_recorded::<Secp256k1>(protocol, &fields),
        }
        seen += 1;
    }
    assert_eq!(seen, 21);
}

fn numbers_are_most_significant_byte_first<S: Suite>() {
    let mut integer = [0; 32];
    integer[31] = 3;
    let three = decode_scalar::<S>(&integer).unwrap();
    assert!(three == small::<S>(3));
    assert_eq!(*encode_scalar::<S>(&three), integer);
    assert!(decode_scalar::<S>(&[0xff; 32]).is_none());
    assert!(decode_scalar::<S>(&integer[1..]).is_none());
}

#[test]
fn numbers_are_most_significant_byte_first_on_both_curves() {
    numbers_are_most_significant_byte_first::<Ed25519>();
    numbers_are_most_significant_byte_first::<Secp256k1>();
}

#[test]
fn a_coefficient_of_zero_is_not_dealt() {
    let zero = FieldOf::<Ed25519>::zero();
    let refused = deal_polynomial::<Ed25519>(vec![small::<Ed25519>(1), zero], 3);
    assert!(matches!(refused, Err(Failure::Misuse(_))));
}

#[test]
fn a_polynomial_is_wiped() {
    let coefficients = vec![small::<Secp256k1>(5), small::<Secp256k1>(6)];
    let mut kept = Wiped::new(coefficients, forget::<Secp256k1>);
    assert!(
        kept.wiped()
            .iter()
            .all(|one| *one == FieldOf::<Secp256k1>::zero())
    );
}

fn dealings(protocol: Protocol) -> BTreeMap<u8, Dealing> {
    QUORUM
        .into_iter()
        .map(|dealer| {
            let share = &shares(protocol)[usize::from(dealer) - 1];
            let dealing = deal(share, &QUORUM, (2, 3)).unwrap_or_else(|_| panic!());
            (dealer, dealing)
        })
        .collect()
}

fn views(points: &[Vec<u8>]) -> Vec<&[u8]> {
    points.iter().map(|point| &point[..]).collect()
}

/// Combines the dealings for signer `US`. The commitments and the sub-share of dealer 3 are the
/// given ones.
fn combined(
    protocol: Protocol,
    honest: &Dealing,
    (commitments, sub_share): (&[Vec<u8>], &[u8]),
) -> Result<Share> {
    let facts = shares(protocol)[0].facts();
    let expected: Vec<_> = QUORUM
        .iter()
        .map(|&one| dealt_constant(protocol, &QUORUM, one, &facts.verifying_shares[&one]))
        .collect::<Result<_>>()?;
    let first = Received {
        expected: Some(&expected[0]),
        commitments: views(&honest.commitments),
        sub_share: &honest.sub_shares[&US][..],
    };
    let second = Received {
        expected: Some(&expected[1]),
        commitments: views(commitments),
        sub_share,
    };
    let target = Target {
        protocol,
        index: US,
        threshold: 2,
        signers: 3,
        public_key: &facts.public_key,
        chain_code: &facts.chain_code,
        session_id: &[4; 32],
    };
    dealt_share(&target, &BTreeMap::from([(1, first), (3, second)]))
}

/// A damaged dealing names its dealer. Part 0 is the sub-share, the others are the commitments.
fn is_refused(
    protocol: Protocol,
    dealings: &BTreeMap<u8, Dealing>,
    (part, damage): (usize, &Damage),
) -> std::result::Result<(), TestCaseError> {
    let (mut commitments, mut sub_share) = (
        dealings[&3].commitments.clone(),
        dealings[&3].sub_shares[&US].to_vec(),
    );
    let damaged = match part {
        0 => &mut sub_share,
        number => &mut commitments[number - 1],
    };
    let before = damaged.clone();
    *damaged = damage.of(damaged, 0);
    let is_damaged = *damaged != before;
    match combined(protocol, &dealings[&1], (&commitments, &sub_share)) {
        Ok(_) => prop_assert!(!is_damaged, "a damaged dealing was accepted"),
        Err(Failure::Abort { culprits, .. }) => prop_assert_eq!(culprits, vec![3]),
        Err(other) => prop_assert!(false, "not the dealer's fault: {:?}", other),
    }
    Ok(())
}

#[test]
fn a_damaged_dealing_is_refused_and_names_its_dealer() {
    for protocol in Protocol::ALL {
        let dealings = dealings(protocol);
        let whole = (
            &dealings[&3].commitments[..],
            &dealings[&3].sub_shares[&US][..],
        );
        assert!(combined(protocol, &dealings[&1], whole).is_ok());
        check(1, (select(vec![0, 1, 2]), damage()), |(part, damage)| {
            is_refused(protocol, &dealings, (part, &damage))
        });
    }
}
