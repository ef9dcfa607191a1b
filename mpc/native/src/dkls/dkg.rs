//! Key generation, `dkls23_core::protocols::dkg`: fragments, commitments, openings, comparison.

use std::collections::BTreeMap;

use dkls23_core::protocols::Parameters;
use dkls23_core::protocols::dkg::{
    BroadcastDerivationPhase2to4, BroadcastDerivationPhase3to4, ProofCommitment, SessionData,
    TransmitInitZeroSharePhase2to4, UniqueKeepDerivationPhase2to3, phase1, phase2, phase3, phase4,
};
use dkls23_core::utilities::proofs::DLogProof;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::setup::{self, MultiplicationKept, SeedsKept, SeedsOpened};
use super::{Curve, Scalar, Share, failure, no_address, party, points};
use crate::confirmation::confirm;
use crate::errors::{Failure, Result};
use crate::messages::{Outgoing, Payload, Received};
use crate::protocol::Setting;
use crate::session::{Phase, Session, Step};
use crate::share::{self, Origin};
use crate::wiped::Wiped;

type Check = std::result::Result<(), &'static str>;

/// Exchange 2, broadcast: the commitments to the proof and to the sender's part of the chain code.
#[derive(Serialize, Deserialize)]
pub struct Commitments {
    proof: [u8; 32],
    chain_code: BroadcastDerivationPhase2to4,
}

impl Payload for Commitments {
    const LIMIT: usize = 80;

    fn check(&self, sender: u8, _: u8) -> Check {
        check_sender(self.chain_code.sender_index.as_u8(), sender)
    }
}

/// Exchange 3, broadcast: the openings of the commitments of exchange 2.
#[derive(Serialize, Deserialize)]
pub struct Openings {
    proof: DLogProof<Curve>,
    chain_code: BroadcastDerivationPhase3to4,
}

impl Payload for Openings {
    const LIMIT: usize = 8 << 10;

    fn check(&self, sender: u8, _: u8) -> Check {
        check_sender(self.chain_code.sender_index.as_u8(), sender)?;
        points::discrete_log_proof(&self.proof)
    }
}

fn check_sender(named: u8, sender: u8) -> Check {
    if named != sender {
        return Err("a message names another sender within");
    }
    Ok(())
}

/// Begins a DKG: all `signers` make a key together.
pub fn dkg(setting: Setting) -> Result<Session> {
    let parameters = Parameters::new(setting.threshold, setting.signers)
        .map_err(|_| Failure::misuse("the threshold and the number of signers do not fit"))?;
    let ours = Ours {
        us: setting.index,
        data: SessionData {
            parameters,
            party_index: party(setting.index),
            // The context depends on the ceremony's kind, so no refresh has the same id.
            session_id: setting.context.to_vec(),
        },
    };
    Ok(Session::new(setting, 4, &[], Box::new(Beginning { ours })))
}

struct Ours {
    us: u8,
    data: SessionData,
}

struct Beginning {
    ours: Ours,
}

impl Phase for Beginning {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let fragments = Zeroizing::new(phase1::<Curve>(&self.ours.data));
        let outgoing = setup::send_fragments(&fragments, self.ours.us)?;
        let own = Zeroizing::new(fragments[usize::from(self.ours.us) - 1]);
        let ours = self.ours;
        Ok(Step::Send(outgoing, Box::new(Fragments { ours, own })))
    }
}

/// Waits for the fragments.
struct Fragments {
    ours: Ours,
    own: Zeroizing<Scalar>,
}

impl Phase for Fragments {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let fragments = setup::gather_fragments(*self.own, &received)?;
        let (key_share, proof, seeds, seed_commitments, chain_code_kept, chain_code) =
            phase2::<Curve>(&self.ours.data, &fragments);
        let commitments = Commitments {
            proof: proof.commitment,
            chain_code,
        };
        let outgoing = Outgoing::default().broadcast(&commitments)?;
        let outgoing = setup::send_seed_commitments(outgoing, seed_commitments)?;
        let waiting = Committing {
            ours: self.ours,
            key_share: Zeroizing::new(key_share),
            proof,
            seeds: setup::seeds_kept(seeds),
            chain_code: Wiped::new(chain_code_kept, |kept| {
                kept.aux_chain_code.zeroize();
                kept.cc_salt.zeroize();
            }),
            own_chain_code: commitments.chain_code,
        };
        Ok(Step::Send(outgoing, Box::new(waiting)))
    }
}

/// Waits for all commitments. The session sends no opening before.
struct Committing {
    ours: Ours,
    key_share: Zeroizing<Scalar>,
    proof: ProofCommitment<Curve>,
    seeds: SeedsKept,
    chain_code: Wiped<UniqueKeepDerivationPhase2to3>,
    own_chain_code: BroadcastDerivationPhase2to4,
}

impl Phase for Committing {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let commitments = received.broadcasts::<Commitments>()?;
        let seed_commitments = setup::gather_seed_commitments(&received)?;
        let (seeds, seeds_sent, multiplication, multiplications_sent, own_opening) =
            phase3::<Curve>(&self.ours.data, &self.seeds, &self.chain_code);
        let openings = Openings {
            proof: self.proof.proof.clone(),
            chain_code: own_opening.clone(),
        };
        let outgoing = Outgoing::default().broadcast(&openings)?;
        let outgoing = setup::send_setups(outgoing, seeds_sent, multiplications_sent)?;
        let waiting = Opening {
            ours: self.ours,
            key_share: self.key_share,
            own_proof: self.proof,
            own_chain_code: (self.own_chain_code, own_opening),
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
    key_share: Zeroizing<Scalar>,
    own_proof: ProofCommitment<Curve>,
    own_chain_code: (BroadcastDerivationPhase2to4, BroadcastDerivationPhase3to4),
    commitments: BTreeMap<u8, Commitments>,
    seed_commitments: Vec<TransmitInitZeroSharePhase2to4>,
    seeds: SeedsOpened,
    multiplication: MultiplicationKept,
}

impl Phase for Opening {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let openings = received.broadcasts::<Openings>()?;
        let (seeds_received, multiplications) = setup::gather_setups(&received)?;
        let us = party(self.ours.us);
        let mut proofs = vec![self.own_proof];
        let mut chain_code_commitments = BTreeMap::from([(us, self.own_chain_code.0)]);
        let mut chain_codes = BTreeMap::from([(us, self.own_chain_code.1)]);
        for ((sender, opening), commitments) in
            openings.into_iter().zip(self.commitments.into_values())
        {
            proofs.push(setup::with_kept_commitment(
                sender,
                opening.proof,
                commitments.proof,
            ));
            chain_code_commitments.insert(party(sender), commitments.chain_code);
            chain_codes.insert(party(sender), opening.chain_code);
        }
        let (party, package) = phase4::<Curve>(
            &self.ours.data,
            &self.key_share,
            &proofs,
            &self.seeds,
            &self.seed_commitments,
            &seeds_received,
            &self.multiplication,
            &multiplications,
            &chain_code_commitments,
            &chain_codes,
            no_address,
        )
        .map_err(|abort| failure(&abort, self.ours.us))?;
        let ceremony = self.ours.data.session_id[..]
            .try_into()
            .expect("a context has 32 bytes");
        let origin = Origin {
            ceremony,
            repaired: false,
            taproot_tweaked: false,
        };
        let share = Share::new(party, package, origin).map_err(Failure::of_others)?;
        confirm(share::Share::Dkls(share))
    }
}
