//! Properties of the decoders of bytes from outside: the messages of peers, and stored shares.
//!
//! The examples are the same in each run. A longer search with other examples, in this folder:
//! `PROPTEST_CASES=20000 PROPTEST_RNG_SEED=7 cargo test --release properties`

mod ceremony;
pub mod damage;
mod payloads;
mod sessions;
mod shares;

pub use ceremony::shares;
pub use payloads::{Decoder, decoder};

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};

/// Checks `property` with 256 examples divided by `divisor`.
///
/// # Panics
/// With the smallest example that has not the property.
pub fn check<S: Strategy>(divisor: u32, examples: S, property: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let default = Config::default();
    let config = Config {
        cases: default.cases.div_ceil(divisor),
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(12),
            chosen => chosen,
        },
        failure_persistence: None,
        ..default
    };
    if let Err(failed) = TestRunner::new(config).run(&examples, property) {
        panic!("{failed}");
    }
}
