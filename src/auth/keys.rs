//! Our own signing keys: Ed25519 (RFC 8037). One signs; a second one may still verify, so that keys can rotate.

use std::fmt;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;

use super::token::Verifier;
use crate::kernel::Problem;
use crate::kernel::secret::Secret;

/// The type of access tokens (RFC 9068, 2.1).
pub const ACCESS: &str = "at+jwt";

/// One key pair.
pub struct SigningKey {
    /// The key's id: its thumbprint (RFC 7638), so that it is the same on every instance.
    pub kid: String,
    x: String,
    signer: EncodingKey,
    verifier: Verifier,
    /// For keys that are derived from this one.
    seed: Secret<Vec<u8>>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Reads a private key in PKCS #8 PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// A sentence that says what it should be; never the key.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        const EXPECTED: &str =
            "should be an Ed25519 private key in PKCS #8 PEM, as `openssl genpkey -algorithm ed25519` writes it";
        let base64: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
        if !pem.trim_start().starts_with("-----BEGIN PRIVATE KEY-----") {
            return Err(EXPECTED.into());
        }
        let der = STANDARD.decode(base64).map_err(|_| EXPECTED)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| EXPECTED)?;
        let public = pair.public_key().as_ref().to_vec();
        let x = URL_SAFE_NO_PAD.encode(&public);
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, thumbprint.as_bytes()));
        let verifier = DecodingKey::from_ed_der(&public).into();
        Ok(Self { kid, x, signer: EncodingKey::from_ed_der(&der), verifier, seed: Secret::new(der) })
    }

    /// A new private key, as PEM.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate_pem() -> Result<Secret<String>, Problem> {
        let pair = Ed25519KeyPair::generate().map_err(|_| Problem::internal("no randomness"))?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| Problem::internal("no PKCS #8 form"))?;
        Ok(Secret::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(der.as_ref())
        )))
    }

    /// Reads the key beside a SQLite file; makes it, mode 0600, if there is none. Several processes may start at once:
    /// the key appears whole or not at all, and the first one stays.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is not such a key.
    pub fn beside_database(path: &Path) -> Result<Self, String> {
        let say = |error: std::io::Error| format!("{}: {error}", path.display());
        if !path.exists() {
            let draft = path.with_extension(format!("{}.tmp", std::process::id()));
            let pem = Self::generate_pem().map_err(|e| e.to_string())?;
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&draft).map_err(say)?;
            file.write_all(pem.reveal().as_bytes()).and_then(|()| file.sync_all()).map_err(say)?;
            let linked = std::fs::hard_link(&draft, path);
            std::fs::remove_file(&draft).map_err(say)?;
            match linked {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(say(error)),
                _ => {}
            }
        }
        Self::read(path)
    }

    /// Reads the key in a file that is there.
    ///
    /// # Errors
    /// When the file cannot be read, or is not such a key.
    pub fn read(path: &Path) -> Result<Self, String> {
        let pem = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::from_pem(&pem).map_err(|e| format!("{} {e}", path.display()))
    }

    /// The private part, for deriving keys of other purposes from it.
    pub fn seed(&self) -> &[u8] {
        self.seed.reveal()
    }
}

/// The keys of this service: the first signs, all verify.
#[derive(Debug)]
pub struct SigningKeys(Vec<SigningKey>);

impl SigningKeys {
    /// `signer` signs; tokens of `previous` are still good.
    pub fn new(signer: SigningKey, previous: Option<SigningKey>) -> Self {
        Self(std::iter::once(signer).chain(previous).collect())
    }

    /// The key that signs.
    pub fn signer(&self) -> &SigningKey {
        &self.0[0]
    }

    /// All keys, the signing one first.
    pub fn all(&self) -> &[SigningKey] {
        &self.0
    }

    /// The public key of `kid`.
    pub fn verifier(&self, kid: &str) -> Option<&Verifier> {
        self.0.iter().find(|key| key.kid == kid).map(|key| &key.verifier)
    }

    /// A signed token (RFC 7515) of the type `at+jwt` (RFC 9068).
    ///
    /// # Errors
    /// When the claims cannot be written as JSON.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, Problem> {
        let key = self.signer();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(ACCESS.into());
        header.kid = Some(key.kid.clone());
        jsonwebtoken::encode(&header, claims, &key.signer).map_err(Problem::internal)
    }

    /// The public keys as a JWK set (RFC 7517).
    pub fn jwks(&self) -> serde_json::Value {
        let keys = self.0.iter().map(|key| {
            serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.kid, "x": key.x })
        });
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() })
    }
}
