//! The transcript: the facts that all holders of one generation of shares must have in common.

use std::collections::BTreeMap;

use mpc_native::protocol::Protocol;
use mpc_native::share::{Facts, Origin};

fn facts() -> Facts {
    Facts {
        protocol: Protocol::Dkls,
        index: 1,
        threshold: 2,
        signers: 3,
        public_key: vec![2; 33],
        chain_code: vec![3; 32],
        verifying_shares: BTreeMap::from([(1, vec![4; 33]), (2, vec![5; 33]), (3, vec![6; 33])]),
        origin: Origin {
            ceremony: [7; 32],
            repaired: false,
            taproot_tweaked: false,
        },
    }
}

#[test]
fn every_common_fact_changes_the_transcript() {
    type Change = fn(&mut Facts);
    let changes: &[(&str, Change)] = &[
        ("protocol", |facts| facts.protocol = Protocol::Taproot),
        ("threshold", |facts| facts.threshold = 3),
        ("number of signers", |facts| facts.signers = 4),
        ("public key", |facts| facts.public_key[32] ^= 1),
        ("chain code", |facts| facts.chain_code[31] ^= 1),
        ("no chain code", |facts| facts.chain_code.clear()),
        ("a verifying share", |facts| {
            facts.verifying_shares.get_mut(&2).unwrap()[32] ^= 1;
        }),
        ("whose verifying share it is", |facts| {
            let share = facts.verifying_shares.remove(&3).unwrap();
            facts.verifying_shares.insert(4, share);
        }),
        ("ceremony", |facts| facts.origin.ceremony[0] ^= 1),
        ("tweak", |facts| facts.origin.taproot_tweaked = true),
    ];
    for (what, change) in changes {
        let mut other = facts();
        change(&mut other);
        assert_ne!(other.transcript(), facts().transcript(), "{what}");
    }
}

#[test]
fn what_is_one_holders_own_does_not_change_the_transcript() {
    let mut other = facts();
    other.index = 2;
    other.origin.repaired = true;
    assert_eq!(other.transcript(), facts().transcript());
}
