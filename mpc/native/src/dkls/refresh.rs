//! The complete refresh, `dkls23_core::protocols::refresh`: all n signers make new shares of the
//! same key and set up multiplication again. (The library's fast refresh would keep leaked OT
//! state.)

use std::collections::BTreeMap;
use std::sync::Arc;

use dkls23_core::protocols::dkg::{ProofCommitment, TransmitInitZeroSharePhase2to4};
use dkls23_core::protocols::{Party, PublicKeyPackage};
use dkls23_core::utilities::proofs::DLogProof;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::setup::{self, MultiplicationKept, SeedsKept, SeedsOpened};
use super::{Curve, Scalar, Share, failure, points};
use crate::confirmation::confirm;
use crate::errors::{Failure, Result};
use crate::messages::{Outgoing, Payload, Received};
use crate::protocol::Setting;
use crate::session::{Phase, Session, Step};
use crate::share::{self, Origin};

type Check = std::result::Result<(), &'static str>;

/// Exchange 2, broadcast: the commitment to the proof.
#[derive(Serialize, Deserialize)]
pub struct Commitment([u8; 32]);

impl Payload for Commitment {
    const LIMIT: usize = 40;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

/// Exchange 3, broadcast: the proof.
#[derive(Serialize, Deserialize)]
pub struct Proof(DLogProof<Curve>);

impl Payload for Proof {
    const LIMIT: usize = 8 << 10;

    fn check(&self, _: u8, _: u8) -> Check {
        points::discrete_log_proof(&self.0)
    }
}

pub fn refresh(setting: Setting, share: &Share) -> Session {
    let ours = Ours {
        us: setting.index,
        party: share.party.clone(),
        package: share.package.clone(),
        // The context depends on the ceremony's kind and the shares' generation, so no DKG has
        // the same id.
        refresh_id: setting.context,
    };
    Session::new(setting, 4, &[], Box::new(Beginning { ours }))
}

struct Ours {
    us: u8,
    party: Arc<Party<Curve>>,
    package: PublicKeyPackage<Curve>,
    refresh_id: [u8; 32],
}

struct Beginning {
    ours: Ours,
}

impl Phase for Beginning {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let ours = self.ours;
        let fragments = Zeroizing::new(ours.party.refresh_complete_phase1());
        let outgoing = setup::send_fragments(&fragments, ours.us)?;
        let own = Zeroizing::new(fragments[usize::from(ours.us) - 1]);
        Ok(Step::Send(outgoing, Box::new(Fragments { ours, own })))
    }
}

/// Waits for the fragments of the corrections.
struct Fragments {
    ours: Ours,
    own: Zeroizing<Scalar>,
}

impl Phase for Fragments {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let fragments = setup::gather_fragments(*self.own, &received)?;
        let ours = self.ours;
        let (correction, proof, seeds, seed_commitments) = ours
            .party
            .refresh_complete_phase2(&ours.refresh_id, &fragments);
        let outgoing = Outgoing::default().broadcast(&Commitment(proof.commitment))?;
        let outgoing = setup::send_seed_commitments(outgoing, seed_commitments)?;
        let waiting = Committing {
            ours,
            correction: Zeroizing::new(correction),
            proof,
            seeds: setup::seeds_kept(seeds),
        };
        Ok(Step::Send(outgoing, Box::new(waiting)))
    }
}

/// Waits for all commitments. The session sends no opening before.
struct Committing {
    ours: Ours,
    correction: Zeroizing<Scalar>,
    proof: ProofCommitment<Curve>,
    seeds: SeedsKept,
}

impl Phase for Committing {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let commitments = received.broadcasts::<Commitment>()?;
        let seed_commitments = setup::gather_seed_commitments(&received)?;
        let ours = self.ours;
        let (seeds, seeds_sent, multiplication, multiplications_sent) = ours
            .party
            .refresh_complete_phase3(&ours.refresh_id, &self.seeds);
        let outgoing = Outgoing::default().broadcast(&Proof(self.proof.proof.clone()))?;
        let outgoing = setup::send_setups(outgoing, seeds_sent, multiplications_sent)?;
        let waiting = Opening {
            ours,
            correction: self.correction,
            own_proof: self.proof,
            commitments,
            seed_commitments,
            seeds: setup::seeds_opened(seeds),
            multiplication: setup::multiplication_kept(multiplication),
        };
        Ok(Step::Send(outgoing, Box::new(waiting)))
    }
}

/// Waits for the openings.
struct Opening {
    ours: Ours,
    correction: Zeroizing<Scalar>,
    own_proof: ProofCommitment<Curve>,
    commitments: BTreeMap<u8, Commitment>,
    seed_commitments: Vec<TransmitInitZeroSharePhase2to4>,
    seeds: SeedsOpened,
    multiplication: MultiplicationKept,
}

impl Phase for Opening {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let openings = received.broadcasts::<Proof>()?;
        let (seeds_received, multiplications) = setup::gather_setups(&received)?;
        let mut proofs = vec![self.own_proof];
        proofs.extend(
            openings
                .into_iter()
                .zip(self.commitments.into_values())
                .map(|((sender, opening), commitment)| {
                    setup::with_kept_commitment(sender, opening.0, commitment.0)
                }),
        );
        let ours = self.ours;
        let party = ours
            .party
            .refresh_complete_phase4(
                &ours.refresh_id,
                &self.correction,
                &proofs,
                &self.seeds,
                &self.seed_commitments,
                &seeds_received,
                &self.multiplication,
                &multiplications,
            )
            .map_err(|abort| failure(&abort, ours.us))?;
        let package = ours
            .package
            .refresh(&ours.refresh_id, &proofs)
            .map_err(|reason| Failure::by_nobody(reason.to_string()))?;
        let origin = Origin {
            ceremony: ours.refresh_id,
            repaired: false,
            taproot_tweaked: false,
        };
        let share = Share::new(party, package, origin).map_err(Failure::of_others)?;
        confirm(share::Share::Dkls(share))
    }
}
