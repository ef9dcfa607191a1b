//! The common parts of a DKG and a complete refresh: polynomial fragments, and the pairwise set-up
//! of zero shares and multiplication. The phases are those of `dkls23_core::protocols::dkg`.

use std::collections::BTreeMap;

use dkls23_core::protocols::PartyIndex;
use dkls23_core::protocols::dkg::{
    KeepInitMulPhase3to4, KeepInitZeroSharePhase2to3, KeepInitZeroSharePhase3to4, ProofCommitment,
    TransmitInitMulPhase3to4, TransmitInitZeroSharePhase2to4, TransmitInitZeroSharePhase3to4,
};
use dkls23_core::utilities::proofs::DLogProof;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{Curve, Scalar, check_route, party, points};
use crate::errors::Result;
use crate::messages::{Outgoing, Payload, Received};
use crate::wiped::Wiped;

type Check = std::result::Result<(), &'static str>;

pub type SeedsKept = Wiped<BTreeMap<PartyIndex, KeepInitZeroSharePhase2to3>>;
pub type SeedsOpened = Wiped<BTreeMap<PartyIndex, KeepInitZeroSharePhase3to4>>;
pub type MultiplicationKept = Wiped<BTreeMap<PartyIndex, KeepInitMulPhase3to4<Curve>>>;
pub type SeedsReceived = Wiped<Vec<TransmitInitZeroSharePhase3to4>>;

pub fn seeds_kept(kept: BTreeMap<PartyIndex, KeepInitZeroSharePhase2to3>) -> SeedsKept {
    Wiped::new(kept, |kept| {
        for seed in kept.values_mut() {
            seed.seed.zeroize();
            seed.salt.zeroize();
        }
    })
}

pub fn seeds_opened(kept: BTreeMap<PartyIndex, KeepInitZeroSharePhase3to4>) -> SeedsOpened {
    Wiped::new(kept, |kept| {
        for seed in kept.values_mut() {
            seed.seed.zeroize();
        }
    })
}

pub fn multiplication_kept(
    kept: BTreeMap<PartyIndex, KeepInitMulPhase3to4<Curve>>,
) -> MultiplicationKept {
    Wiped::new(kept, |kept| {
        for keep in kept.values_mut() {
            keep.ot_sender.s.zeroize();
            keep.ot_receiver.seed.zeroize();
            keep.nonce.zeroize();
            keep.correlation.zeroize();
            keep.vec_r.zeroize();
        }
    })
}

fn seeds_in_transit(seeds: Vec<TransmitInitZeroSharePhase3to4>) -> SeedsReceived {
    Wiped::new(seeds, |seeds| {
        for seed in seeds.iter_mut() {
            seed.seed.zeroize();
            seed.salt.zeroize();
        }
    })
}

/// Exchange 1, private: the value of the sender's polynomial at our index.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
pub struct Fragment(Scalar);

impl Payload for Fragment {
    const LIMIT: usize = 40;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

/// Sends each other participant its fragment. Our own fragment is `fragments[us - 1]`.
pub fn send_fragments(fragments: &[Scalar], us: u8) -> Result<Outgoing> {
    (1..)
        .zip(fragments)
        .filter(|(index, _)| *index != us)
        .try_fold(Outgoing::default(), |outgoing, (index, fragment)| {
            outgoing.private(index, &Fragment(*fragment))
        })
}

/// Returns our fragment and exactly one of each other participant: the library does not count the
/// fragments that it sums.
pub fn gather_fragments(own: Scalar, received: &Received<'_>) -> Result<Zeroizing<Vec<Scalar>>> {
    received.no_broadcasts()?;
    let others = received.privates::<Fragment>()?;
    let mut fragments = Zeroizing::new(Vec::with_capacity(others.len() + 1));
    fragments.push(own);
    fragments.extend(others.values().map(|fragment| fragment.0));
    Ok(fragments)
}

/// Exchange 2, private: the commitment to a zero-share seed.
#[derive(Serialize, Deserialize)]
pub struct SeedCommitment(pub TransmitInitZeroSharePhase2to4);

impl Payload for SeedCommitment {
    const LIMIT: usize = 40;

    fn check(&self, sender: u8, us: u8) -> Check {
        check_route(&self.0.parties, sender, us)
    }
}

pub fn send_seed_commitments(
    outgoing: Outgoing,
    commitments: Vec<TransmitInitZeroSharePhase2to4>,
) -> Result<Outgoing> {
    commitments
        .into_iter()
        .try_fold(outgoing, |outgoing, commitment| {
            let recipient = commitment.parties.receiver.as_u8();
            outgoing.private(recipient, &SeedCommitment(commitment))
        })
}

pub fn gather_seed_commitments(
    received: &Received<'_>,
) -> Result<Vec<TransmitInitZeroSharePhase2to4>> {
    let commitments = received.privates::<SeedCommitment>()?;
    Ok(commitments.into_values().map(|message| message.0).collect())
}

/// Exchange 3, private: the opened seed, and the set-up of multiplication in both directions.
#[derive(Serialize, Deserialize)]
pub struct PairSetup {
    pub seed: TransmitInitZeroSharePhase3to4,
    pub multiplication: TransmitInitMulPhase3to4<Curve>,
}

impl Payload for PairSetup {
    const LIMIT: usize = 256 << 10;

    fn check(&self, sender: u8, us: u8) -> Check {
        check_route(&self.seed.parties, sender, us)?;
        check_route(&self.multiplication.parties, sender, us)?;
        points::discrete_log_proof(&self.multiplication.dlog_proof)?;
        self.multiplication
            .enc_proofs
            .iter()
            .try_for_each(points::encryption_proof)
    }
}

pub fn send_setups(
    outgoing: Outgoing,
    seeds: Vec<TransmitInitZeroSharePhase3to4>,
    multiplications: Vec<TransmitInitMulPhase3to4<Curve>>,
) -> Result<Outgoing> {
    let seeds = seeds_in_transit(seeds);
    seeds
        .iter()
        .zip(multiplications)
        .try_fold(outgoing, |outgoing, (seed, multiplication)| {
            let recipient = seed.parties.receiver.as_u8();
            let mut setup = PairSetup {
                seed: seed.clone(),
                multiplication,
            };
            let outgoing = outgoing.private(recipient, &setup);
            setup.seed.seed.zeroize();
            setup.seed.salt.zeroize();
            setup.multiplication.seed.zeroize();
            outgoing
        })
}

pub fn gather_setups(
    received: &Received<'_>,
) -> Result<(SeedsReceived, Vec<TransmitInitMulPhase3to4<Curve>>)> {
    let setups = received.privates::<PairSetup>()?;
    let mut seeds = seeds_in_transit(Vec::with_capacity(setups.len()));
    let mut multiplications = Vec::with_capacity(setups.len());
    for setup in setups.into_values() {
        seeds.push(setup.seed);
        multiplications.push(setup.multiplication);
    }
    Ok((seeds, multiplications))
}

/// Combines a proof with the commitment of the exchange before.
///
/// The library has both in one struct. A sender that could choose both at the same time would not
/// be bound by its commitment.
pub fn with_kept_commitment(
    sender: u8,
    proof: DLogProof<Curve>,
    kept: [u8; 32],
) -> ProofCommitment<Curve> {
    ProofCommitment {
        index: party(sender),
        proof,
        commitment: kept,
    }
}

#[cfg(test)]
mod tests {
    use dkls23_core::protocols::Parameters;
    use dkls23_core::protocols::dkg::{SessionData, phase1, phase2, phase3};

    use super::{Curve, Scalar, multiplication_kept, party, seeds_in_transit, seeds_kept};
    use super::{PairSetup, seeds_opened};

    #[test]
    fn what_is_kept_of_the_set_up_leaves_no_secret_when_it_is_dropped() {
        let data = SessionData {
            parameters: Parameters::new(2, 2).unwrap(),
            party_index: party(1),
            session_id: vec![9; 32],
        };
        let fragments = phase1::<Curve>(&data);
        let (_, _, seeds, _, chain_code, _) = phase2::<Curve>(&data, &fragments);
        let (opened, sent, multiplication, messages, _) =
            phase3::<Curve>(&data, &seeds, &chain_code);

        for left in seeds_kept(seeds).wiped().values() {
            assert!(is_zero(&left.seed) && is_zero(&left.salt));
        }
        for left in seeds_opened(opened).wiped().values() {
            assert!(is_zero(&left.seed));
        }
        let setup = PairSetup {
            seed: sent[0].clone(),
            multiplication: messages.into_iter().next().unwrap(),
        };
        assert!(!is_zero(&setup.seed.seed));
        for left in seeds_in_transit(vec![setup.seed]).wiped() {
            assert!(is_zero(&left.seed) && is_zero(&left.salt));
        }
        for left in multiplication_kept(multiplication).wiped().values() {
            assert_eq!(left.nonce, Scalar::ZERO);
            assert!(left.vec_r.is_empty() && left.correlation.is_empty());
            assert_eq!(left.ot_sender.s, Scalar::ZERO);
            assert!(is_zero(&left.ot_receiver.seed));
        }
    }

    fn is_zero(bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| *byte == 0)
    }
}
