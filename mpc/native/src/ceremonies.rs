//! The four ceremonies of all protocols. Callers begin every ceremony here.

use crate::errors::{Failure, Result};
use crate::protocol::{Ceremony, Protocol, Setting};
use crate::session::Session;
use crate::share::Share;
use crate::{dkls, frost};

pub fn dkg(
    protocol: Protocol,
    index: u8,
    (threshold, signers): (u8, u8),
    session_id: &[u8],
) -> Result<Session> {
    let setting = Setting::new(
        (protocol, Ceremony::Dkg),
        index,
        (threshold, signers),
        (1..=signers).collect(),
        session_id,
        &[],
    )?;
    Ok(match protocol {
        Protocol::Dkls => dkls::dkg(setting)?,
        Protocol::Ed25519 => frost::dkg::<frost::Ed25519>(setting),
        Protocol::Taproot => frost::dkg::<frost::Taproot>(setting),
    })
}

/// Begins a signature. `message` is a digest of 32 bytes; for Ed25519 it is the message itself.
pub fn signing(
    share: &Share,
    participants: Vec<u8>,
    message: &[u8],
    session_id: &[u8],
    path: &[u32],
) -> Result<Session> {
    let facts = share.facts();
    if facts.origin.repaired {
        return Err(Failure::misuse(
            "a repaired share signs only once refreshed",
        ));
    }
    if participants.len() != usize::from(facts.threshold) {
        return Err(Failure::misuse("exactly threshold participants sign"));
    }
    if !path.is_empty() && facts.protocol != Protocol::Dkls {
        return Err(Failure::misuse("this protocol derives no keys"));
    }
    if facts.protocol != Protocol::Ed25519 && message.len() != 32 {
        return Err(Failure::misuse("a digest has 32 bytes"));
    }
    let steps: Vec<u8> = path.iter().flat_map(|step| step.to_be_bytes()).collect();
    let setting = Setting::new(
        (facts.protocol, Ceremony::Signing),
        facts.index,
        (facts.threshold, facts.signers),
        participants,
        session_id,
        &[&facts.transcript(), message, &steps],
    )?;
    match share {
        Share::Dkls(share) => {
            let digest = message
                .try_into()
                .map_err(|_| Failure::misuse("a digest has 32 bytes"))?;
            dkls::signing(setting, share, digest, path)
        }
        Share::Ed25519(share) => Ok(frost::signing(setting, share, message.to_vec())),
        Share::Taproot(share) => Ok(frost::signing(setting, share, message.to_vec())),
    }
}

/// Begins a refresh: all n signers of one generation make the next generation of shares.
pub fn refresh(share: &Share, session_id: &[u8]) -> Result<Session> {
    let facts = share.facts();
    let setting = Setting::new(
        (facts.protocol, Ceremony::Refresh),
        facts.index,
        (facts.threshold, facts.signers),
        (1..=facts.signers).collect(),
        session_id,
        &[&facts.transcript()],
    )?;
    Ok(match share {
        Share::Dkls(share) => dkls::refresh(setting, share),
        Share::Ed25519(share) => frost::refresh(setting, share),
        Share::Taproot(share) => frost::refresh(setting, share),
    })
}

/// Begins a repair: `helpers` (as many as the threshold) give `target` its share again.
///
/// Helpers have a `share`, and the target has none.
pub fn repair(
    protocol: Protocol,
    index: u8,
    target: u8,
    helpers: &[u8],
    share: Option<&Share>,
    session_id: &[u8],
) -> Result<Session> {
    if helpers.contains(&target) {
        return Err(Failure::misuse("the target does not help"));
    }
    if (index == target) != share.is_none() {
        return Err(Failure::misuse("exactly the helpers have a share"));
    }
    if let Some(share) = share {
        check_helper(share, protocol, index, target, helpers)?;
    }
    let mut participants = helpers.to_vec();
    participants.push(target);
    let threshold = u8::try_from(helpers.len()).unwrap_or(0);
    let setting = Setting::new(
        (protocol, Ceremony::Repair),
        index,
        // The target does not know the number of signers, and all parties need the same context.
        (threshold, crate::protocol::MAX_SIGNERS),
        participants,
        session_id,
        &[&[target]],
    )?;
    match (protocol, share) {
        (Protocol::Dkls, None) => Ok(dkls::repair(setting, target, None)),
        (Protocol::Ed25519, None) => Ok(frost::repair::<frost::Ed25519>(setting, target, None)),
        (Protocol::Taproot, None) => Ok(frost::repair::<frost::Taproot>(setting, target, None)),
        (_, Some(Share::Dkls(share))) => Ok(dkls::repair(setting, target, Some(share))),
        (_, Some(Share::Ed25519(share))) => Ok(frost::repair(setting, target, Some(share))),
        (_, Some(Share::Taproot(share))) => Ok(frost::repair(setting, target, Some(share))),
    }
}

fn check_helper(
    share: &Share,
    protocol: Protocol,
    index: u8,
    target: u8,
    helpers: &[u8],
) -> Result<()> {
    let facts = share.facts();
    if facts.protocol != protocol || facts.index != index {
        return Err(Failure::misuse("a share of another protocol or index"));
    }
    if facts.origin.repaired {
        return Err(Failure::misuse(
            "a repaired share helps only once refreshed",
        ));
    }
    if helpers.len() != usize::from(facts.threshold) {
        return Err(Failure::misuse("exactly threshold helpers repair"));
    }
    if target > facts.signers || helpers.iter().any(|helper| *helper > facts.signers) {
        return Err(Failure::misuse("a participant is not one of the signers"));
    }
    Ok(())
}
