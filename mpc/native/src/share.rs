//! A key share of any protocol, and its public facts.
//!
//! At rest: version (1), protocol (1), flags (1: bit 0 repaired, bit 1 taproot-tweaked), the id of
//! the ceremony that made it (32), and the protocol's own part in postcard encoding.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::errors::{Failure, Result};
use crate::protocol::{Protocol, tagged_hash};
use crate::{dkls, frost};

const VERSION: u8 = 1;
pub const HEADER: usize = 35;
const REPAIRED: u8 = 1;
const TAPROOT_TWEAKED: u8 = 2;
/// The largest size in bytes, enough for `MAX_SIGNERS` participants.
pub const LIMIT: usize = 2 << 20;

/// The public facts of a share.
#[derive(Clone)]
pub struct Facts {
    pub protocol: Protocol,
    pub index: u8,
    pub threshold: u8,
    pub signers: u8,
    /// 33 bytes SEC1 compressed, 32 raw (Ed25519) or 32 x-only (Taproot's output key).
    pub public_key: Vec<u8>,
    /// 32 bytes, or none.
    pub chain_code: Vec<u8>,
    pub verifying_shares: BTreeMap<u8, Vec<u8>>,
    pub origin: Origin,
}

/// The origin of a share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The context of the DKG or refresh that made this generation of shares, or the hash of the
    /// dealings.
    pub ceremony: [u8; 32],
    /// A repair or dealings made the share. It can take part in a refresh, and cannot sign before.
    pub repaired: bool,
    /// The DKG tweaked the key (BIP-341). The key must not be tweaked again.
    pub taproot_tweaked: bool,
}

impl Facts {
    /// Returns the hash of the facts that all holders of one generation must have in common.
    pub fn transcript(&self) -> [u8; 32] {
        let sizes = [
            self.protocol as u8,
            self.threshold,
            self.signers,
            u8::from(self.origin.taproot_tweaked),
        ];
        let shares: Vec<u8> = self
            .verifying_shares
            .iter()
            .flat_map(|(index, share)| std::iter::once(*index).chain(share.iter().copied()))
            .collect();
        tagged_hash(
            "custody-mpc-transcript-v1",
            &[
                &sizes,
                &self.public_key,
                &self.chain_code,
                &shares,
                &self.origin.ceremony,
            ],
        )
    }
}

pub enum Share {
    Dkls(dkls::Share),
    Ed25519(frost::Share<frost::Ed25519>),
    Taproot(frost::Share<frost::Taproot>),
}

impl Share {
    pub fn facts(&self) -> &Facts {
        match self {
            Self::Dkls(share) => &share.facts,
            Self::Ed25519(share) => &share.facts,
            Self::Taproot(share) => &share.facts,
        }
    }

    /// Returns the secret share: the value at `index` of the polynomial whose value at 0 is the
    /// private key. An integer below the group's order, most significant byte first on all curves.
    /// A BIP-340 key's private key may be the negative of that value.
    pub fn secret_share(&self) -> Zeroizing<[u8; 32]> {
        match self {
            Self::Dkls(share) => share.secret_share(),
            Self::Ed25519(share) => share.secret_share(),
            Self::Taproot(share) => share.secret_share(),
        }
    }

    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        let own = match self {
            Self::Dkls(share) => share.to_bytes(),
            Self::Ed25519(share) => share.to_bytes(),
            Self::Taproot(share) => share.to_bytes(),
        }?;
        let facts = self.facts();
        let flags = u8::from(facts.origin.repaired) * REPAIRED
            + u8::from(facts.origin.taproot_tweaked) * TAPROOT_TWEAKED;
        let mut bytes = Zeroizing::new(Vec::with_capacity(HEADER + own.len()));
        bytes.extend_from_slice(&[VERSION, facts.protocol as u8, flags]);
        bytes.extend_from_slice(&facts.origin.ceremony);
        bytes.extend_from_slice(&own);
        Ok(bytes)
    }

    /// # Errors
    /// `Misuse` unless the bytes are a complete share without contradictions.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < HEADER || bytes.len() > LIMIT {
            return Err(Failure::misuse("not a share: its size is wrong"));
        }
        if bytes[0] != VERSION {
            return Err(Failure::misuse("a share of an unknown version"));
        }
        let flags = bytes[2];
        if flags & !(REPAIRED | TAPROOT_TWEAKED) != 0 {
            return Err(Failure::misuse("a share with unknown flags"));
        }
        let origin = Origin {
            ceremony: bytes[3..HEADER].try_into().expect("32 bytes"),
            repaired: flags & REPAIRED != 0,
            taproot_tweaked: flags & TAPROOT_TWEAKED != 0,
        };
        let own = &bytes[HEADER..];
        Ok(match Protocol::from_byte(bytes[1])? {
            Protocol::Dkls => Self::Dkls(dkls::Share::from_bytes(own, origin)?),
            Protocol::Ed25519 => Self::Ed25519(frost::Share::from_bytes(own, origin)?),
            Protocol::Taproot => Self::Taproot(frost::Share::from_bytes(own, origin)?),
        })
    }
}
