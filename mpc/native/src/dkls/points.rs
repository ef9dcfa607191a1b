//! Checks of points and proofs that the library's decoding and verification leave out.

use dkls23_core::utilities::proofs::{CPProof, DLogProof, EncProof, RandomCommitments, T};
use k256::elliptic_curve::group::CurveAffine;

use super::{Curve, Point};

type Check = Result<(), &'static str>;

/// Refuses the identity, which the library's checked decoding accepts.
pub fn no_identity<'a>(points: impl IntoIterator<Item = &'a Point>) -> Check {
    for point in points {
        if bool::from(point.is_identity()) {
            return Err("a point is the identity");
        }
    }
    Ok(())
}

/// Refuses challenges of less than 4 bytes. The library accepts 1 to 4 bytes, and a prover can
/// guess a shorter challenge more easily.
pub fn discrete_log_proof(proof: &DLogProof<Curve>) -> Check {
    no_identity(std::iter::once(&proof.point).chain(&proof.rand_commitments))?;
    let length = usize::from(T / 8);
    if proof
        .proofs
        .iter()
        .any(|proof| proof.challenge.len() != length)
    {
        return Err("a proof has a challenge of another length");
    }
    Ok(())
}

pub fn encryption_proof(proof: &EncProof<Curve>) -> Check {
    let points =
        |proof: &CPProof<Curve>| [proof.base_g, proof.base_h, proof.point_u, proof.point_v];
    let commitments = |both: &RandomCommitments<Curve>| [both.rc_g, both.rc_h];
    no_identity(
        points(&proof.proof0)
            .iter()
            .chain(&points(&proof.proof1))
            .chain(&commitments(&proof.commitments0))
            .chain(&commitments(&proof.commitments1)),
    )
}
