//! Signing, `dkls23_core::protocols::signing`: three exchanges. A cheating counterparty can learn
//! key bits from our answer to the first exchange, so that answer runs under the ban locks.

use std::collections::BTreeMap;
use std::sync::Arc;

use dkls23_core::protocols::signing::{
    Broadcast3to4, KeepPhase1to2, KeepPhase2to3, SignData, TransmitPhase1to2, TransmitPhase2to3,
    UniqueKeep1to2, UniqueKeep2to3,
};
use dkls23_core::protocols::{Party, PartyIndex};
use serde::{Deserialize, Serialize};

use super::{Curve, Share, check_route, failure, no_address, party, points};
use crate::errors::{Failure, Result};
use crate::messages::{Outgoing, Payload, Received};
use crate::protocol::Setting;
use crate::session::{Phase, Product, Session, Step};
use crate::verified::Verified;

type Check = std::result::Result<(), &'static str>;

/// Exchange 1, private: a commitment to the nonce point, and the OT extension's message.
#[derive(Serialize, Deserialize)]
pub struct First(TransmitPhase1to2);

impl Payload for First {
    const LIMIT: usize = 128 << 10;

    fn check(&self, sender: u8, us: u8) -> Check {
        check_route(&self.0.parties, sender, us)
    }
}

/// Exchange 2, private: the opening, and the multiplication's answer.
#[derive(Serialize, Deserialize)]
pub struct Second(pub TransmitPhase2to3<Curve>);

impl Payload for Second {
    const LIMIT: usize = 128 << 10;

    fn check(&self, sender: u8, us: u8) -> Check {
        check_route(&self.0.parties, sender, us)?;
        points::no_identity([
            &self.0.gamma_u,
            &self.0.gamma_v,
            &self.0.public_share,
            &self.0.instance_point,
        ])
    }
}

/// Exchange 3, broadcast: the sender's part of the signature.
#[derive(Serialize, Deserialize)]
pub struct Third(Broadcast3to4<Curve>);

impl Payload for Third {
    const LIMIT: usize = 80;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

/// Begins a signature of `digest` by exactly `threshold` participants, with the key itself or its
/// child at `path`.
pub fn signing(setting: Setting, share: &Share, digest: [u8; 32], path: &[u32]) -> Result<Session> {
    let mut party_ = share.party.clone();
    for step in path {
        let child = party_
            .derive_child(*step, no_address)
            .map_err(|error| Failure::misuse(error.description))?;
        party_ = Arc::new(child);
    }
    let data = SignData {
        sign_id: setting.context.to_vec(),
        counterparties: setting.others().map(party).collect(),
        message_hash: digest,
    };
    let beginning = Beginning {
        ours: Ours {
            us: setting.index,
            party: party_,
            data,
        },
    };
    Ok(Session::new(setting, 3, &[1], Box::new(beginning)))
}

struct Ours {
    us: u8,
    party: Arc<Party<Curve>>,
    data: SignData,
}

struct Beginning {
    ours: Ours,
}

impl Phase for Beginning {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let ours = self.ours;
        let (unique, kept, messages) = ours
            .party
            .sign_phase1(&ours.data)
            .map_err(|abort| failure(&abort, ours.us))?;
        let outgoing =
            messages
                .into_iter()
                .try_fold(Outgoing::default(), |outgoing, message| {
                    let recipient = message.parties.receiver.as_u8();
                    outgoing.private(recipient, &First(message))
                })?;
        Ok(Step::Send(
            outgoing,
            Box::new(Answering { ours, unique, kept }),
        ))
    }
}

/// Waits for the first messages, and answers them.
struct Answering {
    ours: Ours,
    unique: UniqueKeep1to2<Curve>,
    kept: BTreeMap<PartyIndex, KeepPhase1to2<Curve>>,
}

impl Phase for Answering {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_broadcasts()?;
        let firsts: Vec<_> = received.privates::<First>()?.into_values().collect();
        let firsts: Vec<_> = firsts.into_iter().map(|message| message.0).collect();
        let ours = self.ours;
        let (unique, kept, messages) = ours
            .party
            .sign_phase2(&ours.data, self.unique, self.kept, &firsts)
            .map_err(|abort| failure(&abort, ours.us))?;
        let outgoing =
            messages
                .into_iter()
                .try_fold(Outgoing::default(), |outgoing, message| {
                    let recipient = message.parties.receiver.as_u8();
                    outgoing.private(recipient, &Second(message))
                })?;
        Ok(Step::Send(
            outgoing,
            Box::new(Checking { ours, unique, kept }),
        ))
    }
}

/// Waits for the answers, and checks them against the commitments.
struct Checking {
    ours: Ours,
    unique: UniqueKeep2to3<Curve>,
    kept: BTreeMap<PartyIndex, KeepPhase2to3<Curve>>,
}

impl Phase for Checking {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_broadcasts()?;
        let seconds = received.privates::<Second>()?;
        let seconds: Vec<_> = seconds.into_values().map(|message| message.0).collect();
        let ours = self.ours;
        let (r, part) = ours
            .party
            .sign_phase3(&ours.data, self.unique, self.kept, &seconds)
            .map_err(|abort| failure(&abort, ours.us))?;
        let part = Third(part);
        let outgoing = Outgoing::default().broadcast(&part)?;
        Ok(Step::Send(outgoing, Box::new(Adding { ours, r, part })))
    }
}

/// Waits for one part of the signature from each participant, and adds the parts. The library does
/// not count the parts.
struct Adding {
    ours: Ours,
    r: String,
    part: Third,
}

impl Phase for Adding {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_privates()?;
        let thirds = received.broadcasts::<Third>()?;
        let parts: Vec<_> = std::iter::once(self.part)
            .chain(thirds.into_values())
            .map(|message| message.0)
            .collect();
        let ours = self.ours;
        let (s, recovery_id) = ours
            .party
            .sign_phase4(&ours.data, &self.r, &parts, true)
            .map_err(|abort| failure(&abort, ours.us))?;
        let digest = &ours.data.message_hash;
        let signature = Verified::ecdsa(ours.party.pk, digest, (&self.r, &s), recovery_id)?;
        Ok(Step::Done(Product::Signature(signature)))
    }
}
