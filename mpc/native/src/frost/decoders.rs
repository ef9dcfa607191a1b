//! The payload of each FROST message, for the properties of decoders.

use super::{Suite, dkg, repair, signing};
use crate::confirmation::Transcript;
use crate::properties::{Decoder, decoder};
use crate::protocol::Ceremony::{Dkg, Refresh, Repair, Signing};

pub fn decoders<S: Suite>() -> Vec<Decoder> {
    let (broadcast, private) = (true, false);
    vec![
        decoder::<dkg::Commitments<S>>(Dkg, 1, broadcast),
        decoder::<dkg::Evaluation<S>>(Dkg, 2, private),
        decoder::<Transcript>(Dkg, 3, broadcast),
        decoder::<signing::Nonces<S>>(Signing, 1, broadcast),
        decoder::<signing::Part<S>>(Signing, 2, broadcast),
        decoder::<dkg::Commitments<S>>(Refresh, 1, broadcast),
        decoder::<dkg::Evaluation<S>>(Refresh, 2, private),
        decoder::<Transcript>(Refresh, 3, broadcast),
        decoder::<repair::Split>(Repair, 1, private),
        decoder::<repair::Help<S>>(Repair, 2, private),
    ]
}
