//! The payload of each DKLs23 message, for the properties of decoders.

use super::{dkg, refresh, repair, setup, signing};
use crate::confirmation::Transcript;
use crate::properties::{Decoder, decoder};
use crate::protocol::Ceremony::{Dkg, Refresh, Repair, Signing};

pub fn decoders() -> Vec<Decoder> {
    let (broadcast, private) = (true, false);
    vec![
        decoder::<setup::Fragment>(Dkg, 1, private),
        decoder::<dkg::Commitments>(Dkg, 2, broadcast),
        decoder::<setup::SeedCommitment>(Dkg, 2, private),
        decoder::<dkg::Openings>(Dkg, 3, broadcast),
        decoder::<setup::PairSetup>(Dkg, 3, private),
        decoder::<Transcript>(Dkg, 4, broadcast),
        decoder::<signing::First>(Signing, 1, private),
        decoder::<signing::Second>(Signing, 2, private),
        decoder::<signing::Third>(Signing, 3, broadcast),
        decoder::<setup::Fragment>(Refresh, 1, private),
        decoder::<refresh::Commitment>(Refresh, 2, broadcast),
        decoder::<setup::SeedCommitment>(Refresh, 2, private),
        decoder::<refresh::Proof>(Refresh, 3, broadcast),
        decoder::<setup::PairSetup>(Refresh, 3, private),
        decoder::<Transcript>(Refresh, 4, broadcast),
        decoder::<repair::Help>(Repair, 1, private),
    ]
}
