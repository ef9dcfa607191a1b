//! The ways in which an encoding can be damaged.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// One damage. An index is a place in the encoding, whatever its length is.
#[derive(Clone, Debug)]
pub enum Damage {
    /// Other bytes after the header.
    Replaced(Vec<u8>),
    Truncated(Index),
    Extended(Vec<u8>),
    Flipped(Index, u8),
    Byte(Index, u8),
    /// A number in postcard's form gets a second byte, which adds nothing to the number.
    Stretched(Index),
}

pub fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(Damage::Replaced),
        any::<Index>().prop_map(Damage::Truncated),
        vec(any::<u8>(), 1..40).prop_map(Damage::Extended),
        (any::<Index>(), 0..8u8).prop_map(|(place, bit)| Damage::Flipped(place, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Damage::Byte(place, byte)),
        any::<Index>().prop_map(Damage::Stretched),
    ]
}

impl Damage {
    /// Returns `valid` with this damage. The result can be equal to `valid`.
    pub fn of(&self, valid: &[u8], header: usize) -> Vec<u8> {
        let mut bytes = valid.to_vec();
        match self {
            Self::Replaced(others) => {
                bytes.truncate(header);
                bytes.extend(others);
            }
            Self::Truncated(place) => bytes.truncate(place.index(valid.len())),
            Self::Extended(more) => bytes.extend(more),
            Self::Flipped(place, bit) => bytes[place.index(valid.len())] ^= 1 << bit,
            Self::Byte(place, byte) => bytes[place.index(valid.len())] = *byte,
            Self::Stretched(place) => {
                let place = place.index(valid.len());
                bytes[place] |= 0x80;
                bytes.insert(place + 1, 0);
            }
        }
        bytes
    }

    pub fn changes_length(&self) -> bool {
        matches!(self, Self::Truncated(_) | Self::Extended(_))
    }
}
