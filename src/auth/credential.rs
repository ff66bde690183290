//! Machine-made credentials: secrets of service accounts and refresh tokens. They have 256 bits of entropy, so a plain
//! hash keeps them safe; what people choose is hashed by argon2id instead.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::kernel::Problem;
use crate::kernel::secret::Secret;

/// A new random credential with a prefix that tells what it is when it turns up somewhere.
///
/// # Errors
/// When the system has no randomness.
pub fn generate(prefix: &str) -> Result<Secret<String>, Problem> {
    let mut bytes = [0u8; 32];
    rand::fill(&mut bytes).map_err(|_| Problem::internal("no randomness"))?;
    Ok(Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// What is stored of a credential.
pub fn fingerprint(credential: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, credential.as_bytes()))
}

/// Whether `credential` is the one that `stored` is of, in constant time.
pub fn matches(credential: &str, stored: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(fingerprint(credential).as_bytes(), stored.as_bytes()).is_ok()
}
