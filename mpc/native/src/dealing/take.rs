//! A new signer's part: it checks each dealing, and adds up the sub-shares.

use std::collections::BTreeMap;

use frost_core::keys::{
    PublicKeyPackage, SecretShare, SigningShare, VerifiableSecretSharingCommitment,
};
use frost_core::{Element, Field, Group, Scalar};
use zeroize::Zeroizing;

use super::Secp256k1;
use super::group::{FieldOf, decode_point, decode_scalar, encode_point, encode_scalar};
use crate::errors::{Failure, Result};
use crate::frost::{self, Ed25519, Suite, Taproot, identifier};
use crate::protocol::{Protocol, check_sizes, tagged_hash};
use crate::share::{Origin, Share};
use crate::{dkls, wiped::Wiped};

type Check<T> = std::result::Result<T, &'static str>;

/// One dealing as one signer received it.
pub struct Received<'a> {
    /// The commitment to the constant that the dealer must have made. See `dealt_constant`.
    pub expected: Option<&'a [u8]>,
    pub commitments: Vec<&'a [u8]>,
    pub sub_share: &'a [u8],
}

/// The key, and the share of it that a signer is to get.
pub struct Target<'a> {
    pub protocol: Protocol,
    pub index: u8,
    pub threshold: u8,
    pub signers: u8,
    /// As in `Facts`.
    pub public_key: &'a [u8],
    /// 32 bytes for DKLs23; empty for the other protocols.
    pub chain_code: &'a [u8],
    /// The ceremony's session id, 32 bytes, the same for all new signers.
    pub session_id: &'a [u8],
}

/// One dealing that passed all checks.
struct Checked<S: Suite> {
    value: Wiped<Scalar<S>>,
    commitments: Vec<Element<S>>,
}

/// The sum of all dealings.
pub struct Combined<S: Suite> {
    pub package: PublicKeyPackage<S>,
    /// An integer, as `Share::secret_share`.
    pub secret: Zeroizing<[u8; 32]>,
}

/// Checks the dealings (by dealer), and returns the hollow share that they give signer `index`.
///
/// # Errors
/// `Abort` whose culprits are *dealers*: each dealer whose dealing fails a check. If all dealings
/// are valid, but are not dealings of `public_key`, the culprit is the dealer if there is only one
/// dealer, and nobody otherwise. `Misuse` for a target that no share can have.
pub fn dealt_share(target: &Target<'_>, dealings: &BTreeMap<u8, Received<'_>>) -> Result<Share> {
    check_target(target)?;
    if dealings.is_empty() {
        return Err(Failure::misuse("a share of no dealings"));
    }
    match target.protocol {
        Protocol::Dkls => {
            let combined = combine::<Secp256k1>(target, dealings)?;
            check_public_key(target, dealings, &frost::encoded_key(&combined.package)?)?;
            let origin = origin(target, dealings, false);
            dkls::dealt(target, &combined, origin).map(Share::Dkls)
        }
        Protocol::Ed25519 => frost_share::<Ed25519>(target, dealings).map(Share::Ed25519),
        Protocol::Taproot => frost_share::<Taproot>(target, dealings).map(Share::Taproot),
    }
}

fn frost_share<S: Suite>(
    target: &Target<'_>,
    dealings: &BTreeMap<u8, Received<'_>>,
) -> Result<frost::Share<S>> {
    let combined = combine::<S>(target, dealings)?;
    let public_key = S::public_key(combined.package.verifying_key())?;
    check_public_key(target, dealings, &public_key)?;
    let origin = origin(target, dealings, S::TWEAKED_BY_DKG);
    frost::dealt(target.index, combined, origin)
}

fn check_target(target: &Target<'_>) -> Result<()> {
    check_sizes(target.index, target.threshold, target.signers)?;
    let has_chain_code = target.protocol == Protocol::Dkls;
    if target.chain_code.len() != usize::from(has_chain_code) * 32 {
        return Err(Failure::misuse(
            "a chain code has 32 bytes, and only dkls23 keys have one",
        ));
    }
    if target.session_id.len() != 32 {
        return Err(Failure::misuse("a session id has 32 bytes"));
    }
    Ok(())
}

fn combine<S: Suite>(
    target: &Target<'_>,
    dealings: &BTreeMap<u8, Received<'_>>,
) -> Result<Combined<S>> {
    let mut refused = BTreeMap::new();
    let mut checked = Vec::new();
    for (&dealer, dealing) in dealings {
        match check(target, dealing) {
            Ok(share) => checked.push(share),
            Err(reason) => drop(refused.insert(dealer, reason)),
        }
    }
    if !refused.is_empty() {
        let reasons: Vec<String> = refused
            .iter()
            .map(|(dealer, reason)| format!("the dealing of {dealer}: {reason}"))
            .collect();
        return Err(Failure::Abort {
            culprits: refused.into_keys().collect(),
            reason: reasons.join("; "),
        });
    }
    add_up(target, &checked)
}

/// Verifies one dealing: `vss_verify` of RFC 9591, appendix C.2; REDIST's condition
/// SUBSHARES-VALID. With the expected constant, it is the condition SHARES-VALID as well.
fn check<S: Suite>(target: &Target<'_>, dealing: &Received<'_>) -> Check<Checked<S>> {
    if dealing.commitments.len() != usize::from(target.threshold) {
        return Err("a polynomial of another degree");
    }
    let no_point = "a commitment is not a point of the group, or is the identity";
    let commitments = dealing
        .commitments
        .iter()
        .map(|bytes| decode_point::<S>(bytes));
    let commitments: Vec<_> = commitments.collect::<Option<_>>().ok_or(no_point)?;
    if let Some(expected) = dealing.expected
        && expected != dealing.commitments[0]
    {
        return Err("the commitment to the constant is not that of the dealer's share");
    }
    let value = decode_scalar::<S>(dealing.sub_share).ok_or("the sub-share is not a scalar")?;
    let value = Wiped::new(value, forget::<S>);
    let share = SecretShare::new(
        identifier::<S>(target.index),
        signing_share::<S>(&value),
        VerifiableSecretSharingCommitment::deserialize(&dealing.commitments)
            .map_err(|_| no_point)?,
    );
    share
        .verify()
        .map_err(|_| "the sub-share is not on the polynomial that the dealer committed to")?;
    Ok(Checked { value, commitments })
}

/// Adds the sub-shares (the last step of REDIST), and the commitments coefficient by coefficient.
/// The sums of the commitments determine the verifying shares of all signers.
fn add_up<S: Suite>(target: &Target<'_>, dealings: &[Checked<S>]) -> Result<Combined<S>> {
    let mut secret = Wiped::new(FieldOf::<S>::zero(), forget::<S>);
    let mut sums = vec![S::Group::identity(); usize::from(target.threshold)];
    for dealing in dealings {
        *secret = *secret + *dealing.value;
        for (sum, commitment) in sums.iter_mut().zip(&dealing.commitments) {
            *sum = *sum + *commitment;
        }
    }
    let sums: Option<Vec<_>> = sums.iter().map(encode_point::<S>).collect();
    let sums = sums.ok_or_else(|| Failure::by_nobody("the commitments add up to the identity"))?;
    let signers = (1..=target.signers).map(identifier).collect();
    let package = VerifiableSecretSharingCommitment::deserialize(sums)
        .and_then(|sum| PublicKeyPackage::from_commitment(&signers, &sum))
        .map_err(|error| frost::failure(&error))?;
    Ok(Combined {
        package,
        secret: encode_scalar::<S>(&secret),
    })
}

fn check_public_key(
    target: &Target<'_>,
    dealings: &BTreeMap<u8, Received<'_>>,
    dealt: &[u8],
) -> Result<()> {
    if dealt == target.public_key {
        return Ok(());
    }
    let only = dealings.keys().copied().filter(|_| dealings.len() == 1);
    Err(Failure::Abort {
        culprits: only.collect(),
        reason: "the dealings are not dealings of the public key".to_owned(),
    })
}

/// Returns the origin of a hollow share. The ceremony's id covers all that the dealers broadcast,
/// so signers that received different dealings do not understand each other in the refresh.
fn origin(
    target: &Target<'_>,
    dealings: &BTreeMap<u8, Received<'_>>,
    taproot_tweaked: bool,
) -> Origin {
    let dealers: Vec<u8> = dealings.keys().copied().collect();
    let mut parts = vec![target.session_id, &dealers];
    for dealing in dealings.values() {
        parts.extend(&dealing.commitments);
    }
    Origin {
        ceremony: tagged_hash("custody-mpc-dealt-v1", &parts),
        repaired: true,
        taproot_tweaked,
    }
}

fn signing_share<S: Suite>(value: &Scalar<S>) -> SigningShare<S> {
    let encoded = FieldOf::<S>::serialize(value);
    SigningShare::deserialize(encoded.as_ref()).expect("an encoded scalar is one")
}

fn forget<S: Suite>(scalar: &mut Scalar<S>) {
    *std::hint::black_box(scalar) = FieldOf::<S>::zero();
}
