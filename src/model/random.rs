//! Randomness for jitter.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A number between 0 and 1, for jitter. Not for anything that must not be guessed.
pub(crate) fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    let fraction = bits as f64 / (1_u64 << 53) as f64;
    fraction
}
