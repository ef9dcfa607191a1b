//! Share repair, `frost_core::keys::repairable`: the helpers split their terms among themselves.
//! Then each helper sends the target one sum.

use std::collections::BTreeMap;

use frost_core::keys::repairable::{
    Delta, Sigma, repair_share_part1, repair_share_part2, repair_share_part3,
};
use frost_core::keys::{KeyPackage, PublicKeyPackage};
use frost_core::{Field, Group};
use rand_core::OsRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::{Share, Suite, failure, identifier};
use crate::errors::{Failure, Result};
use crate::messages::{Outgoing, Payload, Received};
use crate::protocol::{MAX_SIGNERS, Setting};
use crate::session::{Phase, Product, Session, Step};
use crate::share::Origin;
use crate::wiped::Wiped;

type Check = std::result::Result<(), &'static str>;

/// Exchange 1, private, helper to helper: a part of the sender's term, a scalar.
#[derive(Serialize, Deserialize, Zeroize)]
#[zeroize(drop)]
pub struct Split([u8; 32]);

impl Payload for Split {
    const LIMIT: usize = 32;

    fn check(&self, _: u8, _: u8) -> Check {
        Ok(())
    }
}

/// Exchange 2, private, helper to target: the sum of the received parts, and the public keys.
#[derive(Serialize, Deserialize)]
#[serde(bound = "S: Suite")]
pub struct Help<S: Suite> {
    sum: Split,
    package: PublicKeyPackage<S>,
    /// The DKG or refresh that made the helper's share.
    ceremony: [u8; 32],
    taproot_tweaked: bool,
}

impl<S: Suite> Payload for Help<S> {
    const LIMIT: usize = 4 << 10;

    fn check(&self, _: u8, _: u8) -> Check {
        let signers = self.package.verifying_shares().len();
        if signers > usize::from(MAX_SIGNERS) {
            return Err("a package of too many signers");
        }
        let known = |index| {
            self.package
                .verifying_shares()
                .contains_key(&identifier(index))
        };
        if !(1..=signers as u8).all(known) {
            return Err("a package without all verifying shares");
        }
        Ok(())
    }
}

/// Begins a repair. `share` is the helper's own share; the target has none.
pub fn repair<S: Suite>(setting: Setting, target: u8, share: Option<&Share<S>>) -> Session {
    let helpers: Vec<u8> = setting
        .participants
        .iter()
        .copied()
        .filter(|index| *index != target)
        .collect();
    let first: Box<dyn Phase> = match share {
        Some(share) => Box::new(Splitting {
            ours: Ours {
                us: setting.index,
                helpers,
                target,
                key: share.key.clone(),
                package: share.package.clone(),
                origin: share.facts.origin,
            },
        }),
        None => Box::new(Quiet::<S> {
            helpers,
            target,
            behind: 0,
            suite: std::marker::PhantomData,
        }),
    };
    Session::new(setting, 2, &[], first)
}

struct Ours<S: Suite> {
    us: u8,
    helpers: Vec<u8>,
    target: u8,
    key: KeyPackage<S>,
    package: PublicKeyPackage<S>,
    origin: Origin,
}

/// A helper before exchange 1.
struct Splitting<S: Suite> {
    ours: Ours<S>,
}

impl<S: Suite> Phase for Splitting<S> {
    fn advance(self: Box<Self>, _: Received<'_>) -> Result<Step> {
        let ours = self.ours;
        let helpers: Vec<_> = ours.helpers.iter().copied().map(identifier).collect();
        let target = identifier(ours.target);
        let deltas = repair_share_part1::<S, _>(&helpers, &ours.key, &mut OsRng, target)
            .map_err(|error| failure(&error))?;
        let deltas = Wiped::new(deltas, |deltas| deltas.values_mut().for_each(forget_delta));
        let mut outgoing = Outgoing::default();
        let mut own = None;
        for &helper in &ours.helpers {
            let split = Split(to_array(deltas[&identifier(helper)].serialize())?);
            if helper == ours.us {
                own = Some(split);
            } else {
                outgoing = outgoing.private(helper, &split)?;
            }
        }
        let own = own.ok_or_else(|| Failure::misuse("not a helper"))?;
        Ok(Step::Send(outgoing, Box::new(Summing { ours, own })))
    }
}

/// A helper that waits for the other helpers' parts.
struct Summing<S: Suite> {
    ours: Ours<S>,
    own: Split,
}

impl<S: Suite> Phase for Summing<S> {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_broadcasts()?;
        let Self { ours, own } = *self;
        let others: Vec<u8> = ours
            .helpers
            .iter()
            .copied()
            .filter(|helper| *helper != ours.us)
            .collect();
        let mut splits = received.privates_of::<Split>(&others)?;
        splits.insert(ours.us, own);
        let mut deltas = Wiped::new(Vec::with_capacity(splits.len()), |deltas| {
            deltas.iter_mut().for_each(forget_delta);
        });
        for (&sender, split) in &splits {
            let delta = Delta::<S>::deserialize(&split.0)
                .map_err(|error| Failure::by(sender, error.to_string()))?;
            deltas.push(delta);
        }
        let help = Help {
            sum: Split(to_array(repair_share_part2(&deltas).serialize())?),
            package: ours.package,
            ceremony: ours.origin.ceremony,
            taproot_tweaked: ours.origin.taproot_tweaked,
        };
        let outgoing = Outgoing::default().private(ours.target, &help)?;
        Ok(Step::Send(outgoing, Box::new(Helped)))
    }
}

/// A helper that has sent its sum. It receives nothing.
struct Helped;

impl Phase for Helped {
    fn advance(self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_broadcasts()?;
        received.no_privates()?;
        Ok(Step::Done(Product::Nothing))
    }
}

/// The target, which sends nothing.
struct Quiet<S: Suite> {
    helpers: Vec<u8>,
    target: u8,
    /// The number of calls of `advance` so far: at the start, after exchange 1, after exchange 2.
    behind: u8,
    suite: std::marker::PhantomData<S>,
}

impl<S: Suite> Phase for Quiet<S> {
    fn advance(mut self: Box<Self>, received: Received<'_>) -> Result<Step> {
        received.no_broadcasts()?;
        if self.behind < 2 {
            received.no_privates()?;
            self.behind += 1;
            return Ok(Step::Send(Outgoing::default(), self));
        }
        let help: BTreeMap<u8, Help<S>> = received.privates_of(&self.helpers)?;
        let share = self.assemble(help)?;
        Ok(Step::Done(Product::Share(Box::new(S::wrap(share)))))
    }
}

impl<S: Suite> Quiet<S> {
    fn assemble(&self, help: BTreeMap<u8, Help<S>>) -> Result<Share<S>> {
        let (package, origin) = agreed(&help)?;
        let threshold = package.min_signers().unwrap_or(0);
        if usize::from(threshold) != self.helpers.len()
            || !is_one_polynomial(&package, self.helpers.len())
        {
            return Err(Failure::by_nobody(
                "the helpers' threshold or verifying shares are not those of the public key",
            ));
        }
        let mut sigmas = Vec::with_capacity(help.len());
        for (&sender, help) in &help {
            let sigma = Sigma::<S>::deserialize(&help.sum.0)
                .map_err(|error| Failure::by(sender, error.to_string()))?;
            sigmas.push(sigma);
        }
        let key = repair_share_part3(&sigmas, identifier(self.target), &package)
            .map_err(|error| failure(&error))?;
        // The library does not check that the result is the lost share.
        if package.verifying_shares().get(key.identifier()) != Some(key.verifying_share()) {
            return Err(Failure::by_nobody(
                "the repaired share is not that of its verifying share",
            ));
        }
        Share::new(key, package, origin).map_err(Failure::of_others)
    }
}

/// Returns the public data of the helpers. All helpers must send the same data.
fn agreed<S: Suite>(help: &BTreeMap<u8, Help<S>>) -> Result<(PublicKeyPackage<S>, Origin)> {
    let first = help
        .values()
        .next()
        .ok_or_else(|| Failure::misuse("no helpers"))?;
    if help.values().any(|one| {
        one.package != first.package
            || one.ceremony != first.ceremony
            || one.taproot_tweaked != first.taproot_tweaked
    }) {
        return Err(Failure::by_nobody("the helpers' public keys differ"));
    }
    let origin = Origin {
        ceremony: first.ceremony,
        repaired: true,
        taproot_tweaked: first.taproot_tweaked,
    };
    Ok((first.package.clone(), origin))
}

/// Returns whether each `threshold` successive verifying shares interpolate to the public key.
fn is_one_polynomial<S: Suite>(package: &PublicKeyPackage<S>, threshold: usize) -> bool {
    type F<S> = <<S as frost_core::Ciphersuite>::Group as Group>::Field;
    let one = <F<S> as Field>::one();
    let shares: Vec<_> = package.verifying_shares().values().collect();
    let scalars: Vec<_> = std::iter::successors(Some(one), |x| Some(*x + one))
        .take(shares.len())
        .collect();
    if threshold < 2 || shares.len() < threshold {
        return false;
    }
    (0..=shares.len() - threshold).all(|start| {
        let window = start..start + threshold;
        let mut sum = <S::Group as Group>::identity();
        for i in window.clone() {
            let (mut numerator, mut denominator) = (one, one);
            for j in window.clone().filter(|j| *j != i) {
                numerator = numerator * scalars[j];
                denominator = denominator * (scalars[j] - scalars[i]);
            }
            let Ok(inverse) = <F<S> as Field>::invert(&denominator) else {
                return false;
            };
            sum = sum + shares[i].to_element() * (numerator * inverse);
        }
        sum == package.verifying_key().to_element()
    })
}

/// Wipes a delta, which the library does not wipe.
fn forget_delta<S: Suite>(delta: &mut Delta<S>) {
    if let Ok(zero) = Delta::deserialize(&[0; 32]) {
        *std::hint::black_box(delta) = zero;
    }
}

fn to_array(bytes: Vec<u8>) -> Result<[u8; 32]> {
    let bytes = zeroize::Zeroizing::new(bytes);
    bytes[..]
        .try_into()
        .map_err(|_| Failure::misuse("a scalar has 32 bytes"))
}
