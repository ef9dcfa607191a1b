//! The three protocols, the four ceremonies, and the setting of one ceremony.

use sha2::{Digest, Sha256};

use crate::errors::{Failure, Result};

/// The largest number of signers of a key. It bounds the size of shares and messages.
/// `custody/wire/group_sizes.py` has the same number, and a test compares the two numbers.
pub const MAX_SIGNERS: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Protocol {
    Dkls = 1,
    Ed25519 = 2,
    Taproot = 3,
}

impl Protocol {
    pub const ALL: [Protocol; 3] = [Self::Dkls, Self::Ed25519, Self::Taproot];

    pub fn name(self) -> &'static str {
        match self {
            Self::Dkls => "dkls23-secp256k1",
            Self::Ed25519 => "frost-ed25519",
            Self::Taproot => "frost-secp256k1-tr",
        }
    }

    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| protocol.name() == name)
            .ok_or_else(|| Failure::misuse("no such protocol"))
    }

    pub fn from_byte(byte: u8) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|protocol| *protocol as u8 == byte)
            .ok_or_else(|| Failure::misuse("no such protocol"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Ceremony {
    Dkg = 1,
    Signing = 2,
    Refresh = 3,
    Repair = 4,
}

/// One participant's view of one ceremony. All its messages are bound to the ceremony's context.
#[derive(Clone, Debug)]
pub struct Setting {
    pub protocol: Protocol,
    pub ceremony: Ceremony,
    /// Our index, in 1..=signers.
    pub index: u8,
    pub threshold: u8,
    pub signers: u8,
    /// The indices of all participants, also ours; ascending, without repetitions.
    pub participants: Vec<u8>,
    /// The hash of these fields (without our index), the session id and the ceremony's own values.
    pub context: [u8; 32],
}

impl Setting {
    /// Makes a setting. `about`: the ceremony's own values, the same for all participants.
    pub fn new(
        (protocol, ceremony): (Protocol, Ceremony),
        index: u8,
        (threshold, signers): (u8, u8),
        mut participants: Vec<u8>,
        session_id: &[u8],
        about: &[&[u8]],
    ) -> Result<Self> {
        check_sizes(index, threshold, signers)?;
        if session_id.len() != 32 {
            return Err(Failure::misuse("a session id has 32 bytes"));
        }
        participants.sort_unstable();
        if participants.windows(2).any(|pair| pair[0] == pair[1])
            || participants
                .iter()
                .any(|&other| other == 0 || other > signers)
        {
            return Err(Failure::misuse("participants repeat or are out of range"));
        }
        if !participants.contains(&index) {
            return Err(Failure::misuse("this index does not take part"));
        }
        let sizes = [protocol as u8, ceremony as u8, threshold, signers];
        let mut parts: Vec<&[u8]> = vec![&sizes, &participants, session_id];
        parts.extend(about);
        let context = tagged_hash("custody-mpc-context-v1", &parts);
        Ok(Self {
            protocol,
            ceremony,
            index,
            threshold,
            signers,
            participants,
            context,
        })
    }

    pub fn others(&self) -> impl Iterator<Item = u8> + '_ {
        self.participants
            .iter()
            .copied()
            .filter(|other| *other != self.index)
    }
}

pub fn check_sizes(index: u8, threshold: u8, signers: u8) -> Result<()> {
    if threshold < 2 || threshold > signers || signers > MAX_SIGNERS {
        return Err(Failure::misuse(
            "2 <= threshold <= signers <= 16 does not hold",
        ));
    }
    if index == 0 || index > signers {
        return Err(Failure::misuse("the index is not in 1..=signers"));
    }
    Ok(())
}

/// Returns the SHA-256 of a tag and parts, each after its length (4 bytes, big endian). It is
/// `custody.wire.framing.tagged_hash`, with a domain of our own.
///
/// # Panics
/// For a part of 4 GiB or more.
pub fn tagged_hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [tag.as_bytes()].iter().chain(parts) {
        let length = u32::try_from(part.len()).expect("a part is below 4 GiB");
        hasher.update(length.to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::tagged_hash;

    /// The same vector as in tests/unit/wire/test_tagged_bytes.py.
    #[test]
    fn a_tagged_hash_is_that_of_wire_framing() {
        let hash = tagged_hash("custody-mpc-context-v1", &[&[1, 2], &[], b"abc"]);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "11cfe5a8256f0cf9c704aa464a573e621d2285506c9591f501bb8dba25c996b0"
        );
    }

    #[test]
    fn a_byte_that_moves_to_the_next_part_makes_another_hash() {
        let tag = "custody-mpc-context-v1";
        assert_ne!(
            tagged_hash(tag, &[b"ab", b"c"]),
            tagged_hash(tag, &[b"a", b"bc"])
        );
        assert_ne!(tagged_hash(tag, &[b"a"]), tagged_hash(tag, &[b"a", b""]));
    }
}
