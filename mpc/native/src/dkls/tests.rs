//! Shares and messages that this crate must refuse. The library's dealer makes the group in
//! milliseconds; a DKG takes seconds.

use std::collections::BTreeMap;

use dkls23_core::protocols::re_key::re_key;
use dkls23_core::protocols::signing::{SignData, TransmitPhase2to3};
use dkls23_core::protocols::{Parameters, Party, PublicKeyPackage};
use dkls23_core::utilities::multiplication::{MulReceiver, MulSender};
use dkls23_core::utilities::proofs::DLogProof;
use k256::elliptic_curve::group::CurveAffine;

use super::signing::Second;
use super::{Curve, Point, Scalar, Share, no_address, party, points};
use crate::errors::Failure;
use crate::messages::Payload;
use crate::share::Origin;

type Package = PublicKeyPackage<Curve>;

const ORIGIN: Origin = Origin {
    ceremony: [1; 32],
    repaired: false,
    taproot_tweaked: false,
};

fn group() -> (Vec<Party<Curve>>, Package) {
    let parameters = Parameters::new(2, 3).unwrap();
    re_key::<Curve>(
        &parameters,
        &[7; 32],
        &Scalar::from(12_345u64),
        None,
        no_address,
    )
}

fn refused(party: Party<Curve>, package: Package, origin: Origin) -> String {
    match Share::new(party, package, origin) {
        Err(Failure::Misuse(reason)) => reason,
        Err(other) => panic!("another failure: {other:?}"),
        Ok(_) => panic!("the share was accepted"),
    }
}

#[test]
fn a_whole_share_is_accepted_and_comes_back_from_its_bytes() {
    let (parties, package) = group();
    let share = Share::new(parties[0].clone(), package, ORIGIN).unwrap_or_else(|_| panic!());
    let bytes = share.to_bytes().unwrap();
    let again = Share::from_bytes(&bytes, ORIGIN).unwrap_or_else(|_| panic!());
    assert_eq!(again.facts.transcript(), share.facts.transcript());
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(Share::from_bytes(&longer, ORIGIN).is_err());
}

#[test]
fn a_share_that_does_not_agree_with_itself_is_refused() {
    type Damage = fn(&mut Party<Curve>);
    let cases: &[(&str, Damage)] = &[
        ("one zero-share seed for each", |party| {
            party.zero_share.seeds.pop();
        }),
        ("one zero-share seed for each", |party| {
            party.zero_share.seeds.clear();
        }),
        ("one zero-share seed for each", |party| {
            party.zero_share.seeds[1].index_counterparty =
                party.zero_share.seeds[0].index_counterparty;
        }),
        ("one zero-share seed for each", |party| {
            party.zero_share.seeds[1].lowest_index ^= true;
        }),
        ("a zero-share seed used twice", |party| {
            party.zero_share.seeds[1].seed = party.zero_share.seeds[0].seed;
        }),
        ("multiplication state for each", |party| {
            party.mul_senders.pop_first();
        }),
        ("multiplication state for each", |party| {
            party.mul_receivers.pop_first();
        }),
        ("Public gadget has incorrect length", |party| {
            let state = party.mul_senders.values_mut().next().unwrap();
            state.public_gadget.pop();
        }),
        ("Public gadget has incorrect length", |party| {
            let state = party.mul_receivers.values_mut().next().unwrap();
            state.public_gadget.pop();
        }),
        ("secrets differ", |party| party.poly_point += Scalar::ONE),
        ("not that of its verifying share", |party| {
            party.poly_point += Scalar::ONE;
            party.derivation_data.poly_point += Scalar::ONE;
        }),
        ("not that of its verifying share", |party| {
            party.party_index = super::party(2);
        }),
        ("public keys differ", |party| party.pk = Point::generator()),
        ("public keys differ", |party| {
            party.derivation_data.pk = Point::generator();
        }),
        ("public keys differ", |party| {
            party.pk = Point::generator();
            party.derivation_data.pk = Point::generator();
        }),
        ("a derived key", |party| party.derivation_data.depth = 1),
        ("threshold or number", |party| {
            party.parameters = Parameters::new(3, 3).unwrap();
        }),
        ("session id", |party| {
            party.session_id.pop();
        }),
    ];
    let (parties, package) = group();
    for (number, (reason, damage)) in cases.iter().enumerate() {
        let mut party = parties[0].clone();
        damage(&mut party);
        let given = refused(party, package.clone(), ORIGIN);
        assert!(given.contains(reason), "case {number}: {given}");
    }
}

#[test]
fn a_share_whose_verifying_shares_are_missing_or_the_identity_is_refused() {
    let (parties, package) = group();
    let parameters = Parameters::new(2, 3).unwrap();
    let mut shares: BTreeMap<_, _> = (1..=3)
        .map(|index| {
            (
                party(index),
                *package.verifying_share(party(index)).unwrap(),
            )
        })
        .collect();
    shares.insert(party(3), Point::identity());
    let with_identity = Package::new(*package.verifying_key(), shares.clone(), parameters.clone());
    let reason = refused(parties[0].clone(), with_identity, ORIGIN);
    assert!(reason.contains("identity"), "{reason}");
    shares.remove(&party(3));
    let incomplete = Package::new(*package.verifying_key(), shares, parameters);
    let reason = refused(parties[0].clone(), incomplete, ORIGIN);
    assert!(reason.contains("all verifying shares"), "{reason}");
}

#[test]
fn a_share_marked_repaired_holds_no_pairwise_state() {
    let (parties, package) = group();
    let repaired = Origin {
        repaired: true,
        ..ORIGIN
    };
    let reason = refused(parties[0].clone(), package.clone(), repaired);
    assert!(reason.contains("pairwise state"), "{reason}");
}

#[test]
fn the_identity_decodes_and_is_therefore_looked_for() {
    let bytes = postcard::to_allocvec(&Point::identity()).unwrap();
    let decoded: Point = crate::messages::decode(&bytes).expect("the library accepts it");
    assert!(points::no_identity([&decoded]).is_err());
    assert!(points::no_identity([&Point::generator()]).is_ok());
}

#[test]
fn a_proof_with_the_identity_or_a_short_challenge_is_refused() {
    let whole = DLogProof::<Curve>::prove(&Scalar::from(5u64), b"session").unwrap();
    assert!(points::discrete_log_proof(&whole).is_ok());
    for length in 0..=5 {
        let mut proof = whole.clone();
        proof.proofs[63].challenge.resize(length, 0);
        assert_eq!(points::discrete_log_proof(&proof).is_ok(), length == 4);
    }
    let mut proof = whole.clone();
    proof.point = Point::identity();
    assert!(points::discrete_log_proof(&proof).is_err());
    let mut proof = whole;
    proof.rand_commitments[63] = Point::identity();
    assert!(points::discrete_log_proof(&proof).is_err());
}

#[test]
fn every_point_of_an_encryption_proof_is_looked_at() {
    let (_, _, _, proofs) = MulSender::<Curve>::init_phase1(b"session");
    let whole = &proofs[0];
    assert!(points::encryption_proof(whole).is_ok());
    type Place = fn(&mut dkls23_core::utilities::proofs::EncProof<Curve>) -> &mut Point;
    let places: [Place; 12] = [
        |proof| &mut proof.proof0.base_g,
        |proof| &mut proof.proof0.base_h,
        |proof| &mut proof.proof0.point_u,
        |proof| &mut proof.proof0.point_v,
        |proof| &mut proof.proof1.base_g,
        |proof| &mut proof.proof1.base_h,
        |proof| &mut proof.proof1.point_u,
        |proof| &mut proof.proof1.point_v,
        |proof| &mut proof.commitments0.rc_g,
        |proof| &mut proof.commitments0.rc_h,
        |proof| &mut proof.commitments1.rc_g,
        |proof| &mut proof.commitments1.rc_h,
    ];
    for place in places {
        let mut proof = whole.clone();
        *place(&mut proof) = Point::identity();
        assert!(points::encryption_proof(&proof).is_err());
    }
    let (_, proof, _) = MulReceiver::<Curve>::init_phase1(b"session");
    assert!(points::discrete_log_proof(&proof).is_ok());
}

fn second_message() -> TransmitPhase2to3<Curve> {
    let (parties, _) = group();
    let data = |other| SignData {
        sign_id: vec![3; 32],
        counterparties: vec![party(other)],
        message_hash: [4; 32],
    };
    let (unique, kept, _) = parties[0].sign_phase1(&data(2)).unwrap();
    let (_, _, first) = parties[1].sign_phase1(&data(1)).unwrap();
    let sent = parties[0].sign_phase2(&data(2), unique, kept, &first);
    sent.unwrap().2.remove(0)
}

#[test]
fn a_signing_message_with_the_identity_or_another_route_is_refused() {
    let message = Second(second_message());
    assert_eq!(message.check(1, 2), Ok(()));
    assert!(message.check(3, 2).is_err());
    assert!(message.check(1, 3).is_err());
    type Place = fn(&mut TransmitPhase2to3<Curve>) -> &mut Point;
    let places: [Place; 4] = [
        |message| &mut message.gamma_u,
        |message| &mut message.gamma_v,
        |message| &mut message.public_share,
        |message| &mut message.instance_point,
    ];
    for place in places {
        let mut message = message.0.clone();
        *place(&mut message) = Point::identity();
        assert_eq!(Second(message).check(1, 2), Err("a point is the identity"));
    }
}
