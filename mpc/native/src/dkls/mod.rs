//! ECDSA on secp256k1 by DKLs23. The order is that of a key's life: DKG, signing, refresh, repair.

mod dealt;
#[cfg(test)]
mod decoders;
mod dkg;
mod points;
mod refresh;
mod repair;
mod setup;
mod share;
mod signing;
#[cfg(test)]
mod tests;

pub use dealt::dealt;
#[cfg(test)]
pub use decoders::decoders;
pub use dkg::dkg;
pub use refresh::refresh;
pub use repair::repair;
pub use share::{Share, derive_public_key};
pub use signing::signing;

use dkls23_core::protocols::{Abort, AbortKind, AbortReason, PartiesMessage, PartyIndex};

use crate::errors::Failure;

type Curve = k256::Secp256k1;
type Scalar = k256::Scalar;
type Point = k256::AffinePoint;

/// Returns no address: the Python code makes addresses, because they depend on the network.
fn no_address(_: &Point) -> String {
    String::new()
}

fn party(index: u8) -> PartyIndex {
    PartyIndex::new(index).expect("indices are checked to be from 1 when a session is made")
}

/// Checks the fields of a message that repeat its sender and its recipient.
fn check_route(parties: &PartiesMessage, sender: u8, us: u8) -> Result<(), &'static str> {
    if parties.sender.as_u8() != sender || parties.receiver.as_u8() != us {
        return Err("a message names another sender or recipient within");
    }
    Ok(())
}

/// Converts the library's abort into the failure for the participant `us`.
fn failure(abort: &Abort, us: u8) -> Failure {
    if let AbortKind::BanCounterparty(culprit) = abort.kind {
        return Failure::Ban {
            culprit: culprit.as_u8(),
            reason: abort.description(),
        };
    }
    use AbortReason as R;
    let culprit = match &abort.reason {
        R::InvalidLocalState { .. } | R::MissingMulState { .. } => {
            return Failure::Misuse(abort.description());
        }
        R::UnexpectedSender { sender } | R::DuplicateSender { sender } => Some(sender),
        R::MissingMessageFromParty { party }
        | R::MissingCommittedPoint { party }
        | R::ChainCodeCommitmentFailed { party } => Some(party),
        R::SessionBindingMismatch { counterparty }
        | R::ProofVerificationFailed { counterparty }
        | R::CommitmentMismatch { counterparty }
        | R::TrivialInstancePoint { counterparty }
        | R::OtConsistencyCheckFailed { counterparty }
        | R::MultiplicationVerificationFailed { counterparty, .. }
        | R::GammaUInconsistency { counterparty }
        | R::ZeroShareDecommitFailed { counterparty } => Some(counterparty),
        _ => None,
    };
    Failure::Abort {
        culprits: culprit
            .map(|index| index.as_u8())
            .filter(|index| *index != us)
            .into_iter()
            .collect(),
        reason: abort.description(),
    }
}
