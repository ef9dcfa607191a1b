//! Signing, RFC 9591 section 5: nonce commitments, then signature shares. Every participant adds
//! the shares.

use std::collections::BTreeMap;

use frost_core::keys::{KeyPackage, PublicKeyPackage};
use frost_core::round1::{SigningCommitments, SigningNonces, commit};
use frost_core::round2::{self, SignatureShare};
use frost_core::{CheaterDetection, Identifier, SigningPackage, aggregate_custom};
use rand_core::OsRng;
use serde::{Deserialize, Serialize};

use super::{Share, Suite, by_identifier, failure, identifier};
use crate::errors::Result;
use crate::messages::{Outgoing, Payload, Received};
use crate::protocol::Setting;
use crate::session::{Phase, Product, Session, Step};
use crate::verified::Verified;

type Check = std::result::Result<(), &'static str>;

/// Exchange 1, broadcast: the commitments to the sender's two nonces.
#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Suite")]
pub struct Nonces<S: Suite>(SigningCommitments<S>);

impl<S: Suite> Payload for Nonces<S> {
    const LIMIT: usize = 128;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

/// Exchange 2, broadcast: the sender's share of the signature.
#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Suite")]
pub struct Part<S: Suite>(SignatureShare<S>);

impl<S: Suite> Payload for Part<S> {
    const LIMIT: usize = 80;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

pub fn signing<S: Suite>(setting: Setting, share: &Share<S>, message: Vec<u8>) -> Session {
    let ours = Ours {
        us: identifier(setting.index),
        key: share.key.clone(),
        package: share.package.clone(),
        message,
    };
    Session::new(setting, 2, &[], Box::new(Beginning { ours }))
}

struct Ours<S: Suite> {
    us: Identifier<S>,
    key: KeyPackage<S>,
    package: PublicKeyPackage<S>,
    message: Vec<u8>,
}

struct Beginning<S: Suite> {
    ours: Ours<S>,
}

impl<S: Suite> Phase for Beginning<S> {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let ours = self.ours;
        let (nonces, commitments) = commit(ours.key.signing_share(), &mut OsRng);
        let outgoing = Outgoing::default().broadcast(&Nonces(commitments))?;
        let committing = Committing {
            ours,
            nonces,
            commitments,
        };
        Ok(Step::Send(outgoing, Box::new(committing)))
    }
}

/// Waits for the nonce commitments. The nonces make one signature share; then they are wiped.
struct Committing<S: Suite> {
    ours: Ours<S>,
    nonces: SigningNonces<S>,
    commitments: SigningCommitments<S>,
}

impl<S: Suite> Phase for Committing<S> {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_privates()?;
        let Self {
            ours,
            nonces,
            commitments,
        } = *self;
        let others = received.broadcasts::<Nonces<S>>()?;
        let others = others.into_iter().map(|(sender, other)| (sender, other.0));
        let mut all = by_identifier(others.collect());
        all.insert(ours.us, commitments);
        let package = SigningPackage::new(all, &ours.message);
        let part = round2::sign(&package, &nonces, &ours.key).map_err(|error| failure(&error))?;
        let outgoing = Outgoing::default().broadcast(&Part(part))?;
        let adding = Adding {
            ours,
            package,
            part,
        };
        Ok(Step::Send(outgoing, Box::new(adding)))
    }
}

/// Waits for the other shares of the signature.
struct Adding<S: Suite> {
    ours: Ours<S>,
    package: SigningPackage<S>,
    part: SignatureShare<S>,
}

impl<S: Suite> Phase for Adding<S> {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_privates()?;
        let others = received.broadcasts::<Part<S>>()?;
        let mut parts: BTreeMap<_, _> =
            by_identifier(others.into_iter().map(|(i, part)| (i, part.0)).collect());
        parts.insert(self.ours.us, self.part);
        let signature = aggregate_custom(
            &self.package,
            &parts,
            &self.ours.package,
            CheaterDetection::AllCheaters,
        )
        .map_err(|error| failure(&error))?;
        let key = self.ours.package.verifying_key();
        let signature = Verified::frost(key, &self.ours.message, &signature)?;
        Ok(Step::Done(Product::Signature(signature)))
    }
}
