//! Share repair, `dkls23_core::protocols::repair`: t helpers send the target one masked term each.
//! The repaired share has no pairwise state, so it can sign again only after a complete refresh.

use std::collections::BTreeMap;
use std::sync::Arc;

use dkls23_core::protocols::repair::{RepairTerm, repair_assemble};
use dkls23_core::protocols::{Party, PublicKeyPackage};
use k256::elliptic_curve::group::CurveAffine;
use k256::{AffinePoint, ProjectivePoint};
use serde::{Deserialize, Serialize};

use super::{Curve, Scalar, Share, no_address, party, points};
use crate::errors::{Failure, Result};
use crate::messages::{self, Outgoing, Payload, Received};
use crate::protocol::{MAX_SIGNERS, Setting};
use crate::session::{Phase, Product, Session, Step};
use crate::share::{self, Origin};

type Check = std::result::Result<(), &'static str>;

/// Exchange 1, private, helper to target: a term of the lost share, and the public keys.
#[derive(Serialize, Deserialize)]
pub struct Help {
    term: RepairTerm<Curve>,
    package: PublicKeyPackage<Curve>,
    /// The DKG or refresh that made the helper's share.
    ceremony: [u8; 32],
}

impl Payload for Help {
    const LIMIT: usize = 4 << 10;

    fn check(&self, sender: u8, us: u8) -> Check {
        if self.term.helper.as_u8() != sender || self.term.target.as_u8() != us {
            return Err("a term names another helper or target");
        }
        points::no_identity([&self.term.public_key, self.package.verifying_key()])?;
        if self.package.share_count() > MAX_SIGNERS {
            return Err("a package of too many signers");
        }
        for index in 1..=self.package.share_count() {
            let share = self.package.verifying_share(party(index));
            points::no_identity([share.ok_or("a package without all verifying shares")?])?;
        }
        Ok(())
    }
}

/// Begins a repair. `share` is the helper's own share; the target has none.
pub fn repair(setting: Setting, target: u8, share: Option<&Share>) -> Session {
    let helpers: Vec<u8> = setting
        .participants
        .iter()
        .copied()
        .filter(|index| *index != target)
        .collect();
    let repair_id = setting.context;
    let first: Box<dyn Phase> = match share {
        Some(share) => Box::new(Helping {
            helpers,
            target,
            repair_id,
            party: share.party.clone(),
            package: share.package.clone(),
            ceremony: share.facts.origin.ceremony,
        }),
        None => Box::new(Waiting { helpers, target }),
    };
    Session::new(setting, 1, &[], first)
}

struct Helping {
    helpers: Vec<u8>,
    target: u8,
    repair_id: [u8; 32],
    party: Arc<Party<Curve>>,
    package: PublicKeyPackage<Curve>,
    ceremony: [u8; 32],
}

impl Phase for Helping {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let helpers: Vec<_> = self.helpers.iter().copied().map(party).collect();
        let term = self
            .party
            .repair_term(&helpers, party(self.target), &self.repair_id)
            .map_err(|error| Failure::misuse(error.to_string()))?;
        let help = Help {
            term,
            package: self.package,
            ceremony: self.ceremony,
        };
        let outgoing = Outgoing::default().private(self.target, &help)?;
        Ok(Step::Send(outgoing, Box::new(Helped)))
    }
}

/// A helper that has sent its term. It receives nothing.
struct Helped;

impl Phase for Helped {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_broadcasts()?;
        received.no_privates()?;
        Ok(Step::Done(Product::Nothing))
    }
}

/// The target before exchange 1, at which it sends nothing.
struct Waiting {
    helpers: Vec<u8>,
    target: u8,
}

impl Phase for Waiting {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let Self { helpers, target } = *self;
        let assembling = Box::new(Assembling { helpers, target });
        Ok(Step::Send(Outgoing::default(), assembling))
    }
}

struct Assembling {
    helpers: Vec<u8>,
    target: u8,
}

impl Phase for Assembling {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_broadcasts()?;
        let help: BTreeMap<u8, Help> = received.privates_of(&self.helpers)?;
        let (package, ceremony) = agreed(&help)?;
        if usize::from(package.threshold()) != self.helpers.len()
            || self.target > package.share_count()
            || self
                .helpers
                .iter()
                .any(|&index| index > package.share_count())
        {
            return Err(Failure::by_nobody(
                "the helpers' threshold or number of signers is another",
            ));
        }
        if !is_one_polynomial(&package) {
            return Err(Failure::by_nobody(
                "the helpers' verifying shares are not those of the public key",
            ));
        }
        let terms: Vec<_> = help.into_values().map(|help| help.term).collect();
        let party_ = repair_assemble(&package, party(self.target), &terms, no_address)
            .map_err(|error| Failure::by_nobody(error.to_string()))?;
        let origin = Origin {
            ceremony,
            repaired: true,
            taproot_tweaked: false,
        };
        let share = Share::new(party_, package, origin).map_err(Failure::of_others)?;
        Ok(Step::Done(Product::Share(Box::new(share::Share::Dkls(
            share,
        )))))
    }
}

/// Returns the public data of the helpers. All helpers must send the same data.
fn agreed(help: &BTreeMap<u8, Help>) -> Result<(PublicKeyPackage<Curve>, [u8; 32])> {
    let mut views = Vec::with_capacity(help.len());
    for one in help.values() {
        let view = messages::encode(&(&one.package, &one.ceremony), Help::LIMIT)?;
        views.push(view);
    }
    if views.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(Failure::by_nobody("the helpers' public keys differ"));
    }
    let first = help
        .values()
        .next()
        .ok_or_else(|| Failure::misuse("no helpers"))?;
    Ok((first.package.clone(), first.ceremony))
}

/// Returns whether each `threshold` successive verifying shares interpolate to the public key.
fn is_one_polynomial(package: &PublicKeyPackage<Curve>) -> bool {
    let threshold = package.threshold();
    (1..=package.share_count() - threshold + 1).all(|start| {
        let window = start..start + threshold;
        let mut sum = ProjectivePoint::IDENTITY;
        for i in window.clone() {
            let Some(share) = package.verifying_share(party(i)) else {
                return false;
            };
            let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
            for j in window.clone().filter(|j| *j != i) {
                let x = Scalar::from(u64::from(j));
                numerator *= x;
                denominator *= x - Scalar::from(u64::from(i));
            }
            let Some(inverse) = Option::<Scalar>::from(denominator.invert()) else {
                return false;
            };
            sum += *share * (numerator * inverse);
        }
        AffinePoint::from(sum) == *package.verifying_key()
            && !bool::from(AffinePoint::from(sum).is_identity())
    })
}
