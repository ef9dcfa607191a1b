//! Published vectors: RFC 9591, appendix E.1 (FROST with Ed25519), and BIP-340 (verification).

use std::collections::{BTreeMap, VecDeque};

use frost_core::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use frost_core::{Identifier, Signature, SigningPackage, VerifyingKey, aggregate, round1, round2};
use frost_ed25519::Ed25519Sha512 as Ed25519;
use frost_secp256k1_tr::Secp256K1Sha256TR as Taproot;
use rand_core::{CryptoRng, Error, RngCore};

/// A random generator that returns the random bytes of the test vector.
struct Recorded(VecDeque<u8>);

impl RngCore for Recorded {
    fn next_u32(&mut self) -> u32 {
        unreachable!("nonces are drawn as bytes")
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("nonces are drawn as bytes")
    }

    fn fill_bytes(&mut self, into: &mut [u8]) {
        for byte in into {
            *byte = self.0.pop_front().expect("no more was recorded");
        }
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(into);
        Ok(())
    }
}

impl CryptoRng for Recorded {}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

struct Participant {
    index: u16,
    share: &'static str,
    randomness: &'static str,
    commitments: &'static str,
    signature_share: &'static str,
}

const PUBLIC_KEY: &str = "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673";
const MESSAGE: &[u8] = b"test";
const SHARE_OF_2: &str = "a91e66e012e4364ac9aaa405fcafd370402d9859f7b6685c07eed76bf409e80d";
const SIGNATURE: &str = "154fb694ee7fcb37bf2381d94488c2a84b03b3352ad085feca81ad26d45852b7\
                         ecfe971ce4da95c4a95db93ac376b053897fca212ef85f99cf696bffeb178f07";
const SIGNERS: [Participant; 2] = [
    Participant {
        index: 1,
        share: "929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509",
        randomness: "06894e04ee4aceec8619d5f6a0a180e2f47194d2ac306cba586b555e7c48d765\
                     40d6f879ff22e22409f7d808fed81f37118e7d3e4af71c0f44c60207553bcbce",
        commitments: "9b116f12589591a7e23fe8048059ab10ab48e67739e7a2fb3890f61a7999478c\
                      c39b66b7dfccb122da24f13587f9a08c4347cae70046ca15169adf90ba65854d",
        signature_share: "60997f0142e43e8005027fe5ab7447dac00d22c2d7ddd9571a02613ba7d81c08",
    },
    Participant {
        index: 3,
        share: "d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02",
        randomness: "fa5d950626782aade9e33fa781376d4888c2d1de7c37518bc248eb818ed0cdde\
                     7459a4d14ded0e365b085271be8dc6600d5b88f3978a2174297ffa32001a5afc",
        commitments: "e679a2a971748ccfaabead4dbe8ac1def61275c186c79d471e1e45091ad1e687\
                      b2a942478453fabb6bd3181c56ba657413447b4136e1daea2484d396d1a516b3",
        signature_share: "79390e78bc59699c7af831f8f5fb478ec871a85f561a8641b5670ac4443f720f",
    },
];

fn share(hex: &str) -> SigningShare<Ed25519> {
    SigningShare::deserialize(&bytes(hex)).expect("a scalar")
}

#[test]
fn frost_with_ed25519_signs_as_in_rfc_9591() {
    let key = VerifyingKey::<Ed25519>::deserialize(&bytes(PUBLIC_KEY)).unwrap();
    let identifier = |index: u16| Identifier::<Ed25519>::try_from(index).unwrap();
    let mut nonces = BTreeMap::new();
    let mut commitments = BTreeMap::new();
    for signer in &SIGNERS {
        let mut recorded = Recorded(bytes(signer.randomness).into());
        let (kept, sent) = round1::commit(&share(signer.share), &mut recorded);
        let both = [
            sent.hiding().serialize().unwrap(),
            sent.binding().serialize().unwrap(),
        ];
        assert_eq!(both.concat(), bytes(signer.commitments));
        nonces.insert(signer.index, kept);
        commitments.insert(identifier(signer.index), sent);
    }

    let package = SigningPackage::new(commitments, MESSAGE);
    let mut signature_shares = BTreeMap::new();
    for signer in &SIGNERS {
        let own = share(signer.share);
        let us = identifier(signer.index);
        let own = KeyPackage::new(us, own, VerifyingShare::from(own), key, 2);
        let part = round2::sign(&package, &nonces[&signer.index], &own).unwrap();
        assert_eq!(part.serialize(), bytes(signer.signature_share));
        signature_shares.insert(us, part);
    }

    let verifying_shares = SIGNERS
        .iter()
        .map(|signer| (signer.index, signer.share))
        .chain([(2, SHARE_OF_2)])
        .map(|(index, hex)| (identifier(index), VerifyingShare::from(share(hex))))
        .collect();
    let group = PublicKeyPackage::new(verifying_shares, key, Some(2));
    let signature = aggregate(&package, &signature_shares, &group).unwrap();
    assert_eq!(signature.serialize().unwrap(), bytes(SIGNATURE));
}

#[test]
fn taproot_signatures_are_verified_as_in_bip_340() {
    let vectors = include_str!("../../../tests/vectors/bip340.csv");
    let mut seen = 0;
    for line in vectors.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let key = [vec![2], bytes(fields[1])].concat();
        let is_valid = || {
            let key = VerifyingKey::<Taproot>::deserialize(&key).ok()?;
            let signature = Signature::<Taproot>::deserialize(&bytes(fields[3])).ok()?;
            key.verify(&bytes(fields[2]), &signature).ok()
        };
        let expected = fields[4] == "TRUE";
        assert_eq!(is_valid().is_some(), expected, "vector {}", fields[0]);
        seen += 1;
    }
    assert_eq!(seen, 15);
}
