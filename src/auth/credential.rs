//! Machine-made credentials: secrets of service accounts and refresh tokens. They have 256 bits of entropy, so a plain
//! hash keeps them safe; what people choose is hashed by argon2id instead.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::limits::Attempt;
use crate::kernel::Problem;
use crate::kernel::secret::Secret;

/// A new credential, and what is stored of it.
#[derive(Debug)]
pub struct Made {
    /// The credential itself, which is shown once.
    pub secret: Secret<String>,
    /// What is stored.
    pub fingerprint: String,
}

/// A new random credential with a prefix that tells what it is when it turns up somewhere.
///
/// # Errors
/// When the system has no randomness.
pub fn generate(prefix: &str) -> Result<Made, Problem> {
    let mut bytes = [0u8; 32];
    rand::fill(&mut bytes).map_err(|_| Problem::internal("no randomness"))?;
    let secret = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes));
    Ok(Made { fingerprint: fingerprint(&secret), secret: Secret::new(secret) })
}

/// The fingerprint of a credential that somebody has shown. There is none without an attempt that counts.
#[derive(Debug, Clone)]
pub struct Shown(String);

impl Shown {
    /// What is shown in this attempt.
    pub fn of(_counted: &Attempt<'_>, credential: &Secret<String>) -> Self {
        Self(fingerprint(credential.reveal()))
    }

    /// Whether it is the credential that `stored` is of, in constant time.
    pub fn is(&self, stored: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), stored.as_bytes()).is_ok()
    }

    /// What would be stored of it.
    pub fn fingerprint(&self) -> &str {
        &self.0
    }
}

fn fingerprint(credential: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, credential.as_bytes()))
}
