//! Refresh, `frost_core::keys::refresh`: the signers run a DKG of the secret zero, and add its
//! shares to their own.

use std::collections::BTreeMap;

use frost_core::keys::dkg::{round1, round2};
use frost_core::keys::refresh::{refresh_dkg_part1, refresh_dkg_part2, refresh_dkg_shares};
use frost_core::keys::{CoefficientCommitment, KeyPackage, PublicKeyPackage, VerifyingShare};
use frost_core::{Field, Group, Identifier};
use rand_core::OsRng;

use super::dkg::{Commitments, gather_commitments, gather_evaluations, send_evaluations};
use super::{Share, Suite, failure, identifier};
use crate::confirmation::confirm;
use crate::errors::{Failure, Result};
use crate::messages::{Outgoing, Received};
use crate::protocol::Setting;
use crate::session::{Phase, Session, Step};
use crate::share::Origin;

pub fn refresh<S: Suite>(setting: Setting, share: &Share<S>) -> Session {
    let beginning = Beginning {
        ours: Ours {
            setting: setting.clone(),
            key: share.key.clone(),
            package: share.package.clone(),
            taproot_tweaked: share.facts.origin.taproot_tweaked,
        },
    };
    Session::new(setting, 3, &[], Box::new(beginning))
}

struct Ours<S: Suite> {
    setting: Setting,
    key: KeyPackage<S>,
    package: PublicKeyPackage<S>,
    taproot_tweaked: bool,
}

struct Beginning<S: Suite> {
    ours: Ours<S>,
}

impl<S: Suite> Phase for Beginning<S> {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let ours = self.ours;
        let (secret, package) = refresh_dkg_part1::<S, _>(
            identifier(ours.setting.index),
            u16::from(ours.setting.signers),
            u16::from(ours.setting.threshold),
            OsRng,
        )
        .map_err(|error| failure(&error))?;
        let outgoing = Outgoing::default().broadcast(&Commitments(package))?;
        Ok(Step::Send(outgoing, Box::new(Sharing { ours, secret })))
    }
}

/// Waits for the commitments.
struct Sharing<S: Suite> {
    ours: Ours<S>,
    secret: round1::SecretPackage<S>,
}

impl<S: Suite> Phase for Sharing<S> {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let Self { ours, secret } = *self;
        // The message leaves out the commitment to the constant, which is zero.
        let coefficients = usize::from(ours.setting.threshold) - 1;
        let commitments = gather_commitments(&received, coefficients)?;
        let (secret, packages) =
            refresh_dkg_part2(secret, &commitments).map_err(|error| failure(&error))?;
        let outgoing = send_evaluations(&ours.setting, packages)?;
        let adding = Adding {
            ours,
            secret,
            commitments,
        };
        Ok(Step::Send(outgoing, Box::new(adding)))
    }
}

/// Waits for the shares.
struct Adding<S: Suite> {
    ours: Ours<S>,
    secret: round2::SecretPackage<S>,
    commitments: BTreeMap<Identifier<S>, round1::Package<S>>,
}

impl<S: Suite> Phase for Adding<S> {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        let ours = self.ours;
        let evaluations = gather_evaluations::<S>(&received)?;
        for other in ours.setting.others() {
            let of = identifier::<S>(other);
            if !is_on_polynomial(
                &evaluations[&of],
                &self.commitments[&of],
                ours.setting.index,
            )? {
                return Err(Failure::by(other, "a share that is not on its polynomial"));
            }
        }
        let (key, package) = refresh_dkg_shares(
            &self.secret,
            &self.commitments,
            &evaluations,
            ours.package,
            ours.key,
        )
        .map_err(|error| failure(&error))?;
        let origin = Origin {
            ceremony: ours.setting.context,
            repaired: false,
            taproot_tweaked: ours.taproot_tweaked,
        };
        let share = Share::new(key, package, origin).map_err(Failure::of_others)?;
        confirm(S::wrap(share))
    }
}

/// Returns whether a share is on the sender's polynomial. The library checks this too, but does not
/// name the sender whose share failed.
fn is_on_polynomial<S: Suite>(
    evaluation: &round2::Package<S>,
    commitments: &round1::Package<S>,
    us: u8,
) -> Result<bool> {
    let one = <<S::Group as Group>::Field as Field>::one();
    let x = (1..us).fold(one, |sum, _| sum + one);
    let mut power = one;
    let mut sum = <S::Group as Group>::identity();
    for bytes in commitments
        .commitment()
        .serialize()
        .map_err(|error| failure(&error))?
    {
        power = power * x;
        let commitment =
            CoefficientCommitment::<S>::deserialize(&bytes).map_err(|error| failure(&error))?;
        sum = sum + commitment.value() * power;
    }
    let ours = VerifyingShare::<S>::from(*evaluation.signing_share());
    Ok(ours.to_element() == sum)
}
