//! Key generation, `frost_core::keys::dkg`: commitments, shares, comparison. The caller must check
//! by the echo that all signers saw the same commitments, before it calls `advance` again.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use frost_core::Identifier;
use frost_core::keys::dkg::{part1, part2, part3, round1, round2};
use rand_core::OsRng;
use serde::{Deserialize, Serialize};

use super::{Suite, by_identifier, failure, identifier};
use crate::confirmation::confirm;
use crate::errors::{Failure, Result};
use crate::frost::Share;
use crate::messages::{Outgoing, Payload, Received};
use crate::protocol::Setting;
use crate::session::{Phase, Session, Step};
use crate::share::Origin;

type Check = std::result::Result<(), &'static str>;

/// Exchange 1, broadcast: commitments to a polynomial, and a proof of knowledge of its secret.
#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Suite")]
pub struct Commitments<S: Suite>(pub round1::Package<S>);

impl<S: Suite> Payload for Commitments<S> {
    const LIMIT: usize = 4 << 10;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

/// Exchange 2, private: the value of the sender's polynomial at our index.
#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Suite")]
pub struct Evaluation<S: Suite>(pub round2::Package<S>);

impl<S: Suite> Payload for Evaluation<S> {
    const LIMIT: usize = 80;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

pub fn dkg<S: Suite>(setting: Setting) -> Session {
    let beginning = Beginning::<S> {
        setting: setting.clone(),
        suite: PhantomData,
    };
    Session::new(setting, 3, &[], Box::new(beginning))
}

struct Beginning<S: Suite> {
    setting: Setting,
    suite: PhantomData<S>,
}

impl<S: Suite> Phase for Beginning<S> {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let setting = self.setting;
        let (secret, package) = part1::<S, _>(
            identifier(setting.index),
            u16::from(setting.signers),
            u16::from(setting.threshold),
            OsRng,
        )
        .map_err(|error| failure(&error))?;
        let outgoing = Outgoing::default().broadcast(&Commitments(package))?;
        Ok(Step::Send(outgoing, Box::new(Sharing { setting, secret })))
    }
}

/// Waits for the commitments.
struct Sharing<S: Suite> {
    setting: Setting,
    secret: round1::SecretPackage<S>,
}

impl<S: Suite> Phase for Sharing<S> {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let Self { setting, secret } = *self;
        let commitments = gather_commitments(&received, usize::from(setting.threshold))?;
        let (secret, packages) = part2(secret, &commitments).map_err(|error| failure(&error))?;
        let outgoing = send_evaluations(&setting, packages)?;
        let adding = Adding {
            setting,
            secret,
            commitments,
        };
        Ok(Step::Send(outgoing, Box::new(adding)))
    }
}

/// Waits for the shares.
struct Adding<S: Suite> {
    setting: Setting,
    secret: round2::SecretPackage<S>,
    commitments: BTreeMap<Identifier<S>, round1::Package<S>>,
}

impl<S: Suite> Phase for Adding<S> {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let evaluations = gather_evaluations(&received)?;
        let (key, package) = part3(&self.secret, &self.commitments, &evaluations)
            .map_err(|error| failure(&error))?;
        let origin = Origin {
            ceremony: self.setting.context,
            repaired: false,
            taproot_tweaked: S::TWEAKED_BY_DKG,
        };
        let share = Share::new(key, package, origin).map_err(Failure::of_others)?;
        confirm(S::wrap(share))
    }
}

/// Returns the commitments of each other participant, each with `coefficients` coefficients.
pub fn gather_commitments<S: Suite>(
    received: &Received<'_>,
    coefficients: usize,
) -> Result<BTreeMap<Identifier<S>, round1::Package<S>>> {
    received.no_privates()?;
    let mut packages = BTreeMap::new();
    for (sender, Commitments(package)) in received.broadcasts::<Commitments<S>>()? {
        let commitments = package
            .commitment()
            .serialize()
            .map_err(|error| Failure::by(sender, error.to_string()))?;
        if commitments.len() != coefficients {
            return Err(Failure::by(sender, "a polynomial of another degree"));
        }
        packages.insert(sender, package);
    }
    Ok(by_identifier(packages))
}

pub fn send_evaluations<S: Suite>(
    setting: &Setting,
    packages: BTreeMap<Identifier<S>, round2::Package<S>>,
) -> Result<Outgoing> {
    setting
        .others()
        .try_fold(Outgoing::default(), |outgoing, other| {
            let package = packages
                .get(&identifier(other))
                .ok_or_else(|| Failure::misuse("no share for a participant"))?;
            outgoing.private(other, &Evaluation(package.clone()))
        })
}

pub fn gather_evaluations<S: Suite>(
    received: &Received<'_>,
) -> Result<BTreeMap<Identifier<S>, round2::Package<S>>> {
    received.no_broadcasts()?;
    let evaluations = received.privates::<Evaluation<S>>()?;
    let packages = evaluations
        .into_iter()
        .map(|(sender, evaluation)| (sender, evaluation.0))
        .collect();
    Ok(by_identifier(packages))
}
