//! Keeps stored answers and the secrets of webhooks from whoever reads the database: an answer may show a secret that
//! is nowhere else in clear.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::kernel::Problem;

/// How many bytes the signature of a link has.
const SIGNATURE_B: usize = 32;

/// The keys for stored answers: the first seals, all open, so that the keys they come from can rotate.
pub struct Sealer(Vec<SealKeys>);

struct SealKeys {
    body: RandomizedNonceKey,
    cursor: RandomizedNonceKey,
    webhook: RandomizedNonceKey,
    fingerprint: hmac::Key,
    link: hmac::Key,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.0.len()).finish()
    }
}

impl Sealer {
    /// A sealer whose keys are derived (HKDF-SHA256, RFC 5869) from `seeds`, the first of which seals.
    ///
    /// # Errors
    /// When there is no seed.
    pub fn new<'a>(seeds: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, Problem> {
        let keys = seeds.into_iter().map(SealKeys::derive).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(Problem::internal("no seed to seal with")) } else { Ok(Self(keys)) }
    }

    /// `text`, sealed: to be opened by the same `owner` alone.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal(&self, owner: &str, text: &str) -> Result<String, Problem> {
        self.seal_with(|keys| &keys.body, owner, text)
    }

    /// What was sealed for `owner`, or nothing when none of the keys opens it.
    pub fn open(&self, owner: &str, sealed: &str) -> Option<String> {
        self.open_with(|keys| &keys.body, owner, sealed).map(|(_, text)| text)
    }

    /// The secret of a webhook, sealed: to be opened for the same webhook alone.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal_secret(&self, webhook: &str, secret: &str) -> Result<String, Problem> {
        self.seal_with(|keys| &keys.webhook, webhook, secret)
    }

    /// The secret of a webhook, or nothing when none of the keys opens it; and whether the key that seals now does.
    pub fn open_secret(&self, webhook: &str, sealed: &str) -> Option<(String, bool)> {
        self.open_with(|keys| &keys.webhook, webhook, sealed).map(|(nth, secret)| (secret, nth == 0))
    }

    fn seal_with(
        &self,
        key: impl Fn(&SealKeys) -> &RandomizedNonceKey,
        owner: &str,
        text: &str,
    ) -> Result<String, Problem> {
        let Some(keys) = self.0.first() else { return Err(Problem::internal("no key to seal with")) };
        let mut sealed = text.as_bytes().to_vec();
        let nonce = key(keys)
            .seal_in_place_append_tag(Aad::from(owner.as_bytes()), &mut sealed)
            .map_err(|_| Problem::internal("cannot seal"))?;
        let mut all = nonce.as_ref().to_vec();
        all.append(&mut sealed);
        Ok(STANDARD_NO_PAD.encode(all))
    }

    /// Also gives the place of the key that opens it.
    fn open_with(
        &self,
        key: impl Fn(&SealKeys) -> &RandomizedNonceKey,
        owner: &str,
        sealed: &str,
    ) -> Option<(usize, String)> {
        let all = STANDARD_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = all.split_at_checked(NONCE_LEN)?;
        self.0.iter().enumerate().find_map(|(nth, keys)| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut text = sealed.to_vec();
            let text = key(keys).open_in_place(nonce, Aad::from(owner.as_bytes()), &mut text).ok()?;
            String::from_utf8(text.to_vec()).ok().map(|text| (nth, text))
        })
    }

    /// `place`, sealed for a URL: another text each time, that tells nothing but its length. It is opened for the same
    /// `owner` alone.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn seal_cursor(&self, owner: &[u8], place: &[u8]) -> Result<String, Problem> {
        let Some(keys) = self.0.first() else { return Err(Problem::internal("no key to seal with")) };
        let mut sealed = place.to_vec();
        let nonce = keys
            .cursor
            .seal_in_place_append_tag(Aad::from(owner), &mut sealed)
            .map_err(|_| Problem::internal("cannot seal"))?;
        Ok(URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat()))
    }

    /// The place that was sealed for `owner`, or nothing when none of the keys opens it.
    pub fn open_cursor(&self, owner: &[u8], sealed: &str) -> Option<Vec<u8>> {
        let all = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = all.split_at_checked(NONCE_LEN)?;
        self.0.iter().find_map(|keys| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut place = sealed.to_vec();
            keys.cursor.open_in_place(nonce, Aad::from(owner), &mut place).ok().map(|place| place.to_vec())
        })
    }

    /// `grant` with a signature, for a URL: whoever has it has what it says.
    ///
    /// # Errors
    /// When there is no key.
    pub fn sign_link(&self, grant: &[u8]) -> Result<String, Problem> {
        let Some(keys) = self.0.first() else { return Err(Problem::internal("no key to sign with")) };
        Ok(URL_SAFE_NO_PAD.encode([grant, hmac::sign(&keys.link, grant).as_ref()].concat()))
    }

    /// What was granted by a link, or nothing when none of the keys has signed it.
    pub fn open_link(&self, link: &str) -> Option<Vec<u8>> {
        let all = URL_SAFE_NO_PAD.decode(link).ok()?;
        let (grant, signature) = all.split_at_checked(all.len().checked_sub(SIGNATURE_B)?)?;
        let is_good = self.0.iter().any(|keys| hmac::verify(&keys.link, grant, signature).is_ok());
        is_good.then(|| grant.to_vec())
    }

    /// The fingerprints of `request`, one by each key, the sealing one's first. They are keyed, since a plain hash of a
    /// request with a password in it would let the password be guessed.
    pub fn fingerprints(&self, request: &[u8]) -> Vec<String> {
        self.0.iter().map(|keys| URL_SAFE_NO_PAD.encode(hmac::sign(&keys.fingerprint, request))).collect()
    }
}

impl SealKeys {
    fn derive(seed: &[u8]) -> Result<Self, Problem> {
        let all = hkdf::Salt::none(hkdf::HKDF_SHA256).extract(seed);
        let key = |info: &[u8]| {
            let mut key = [0u8; 32];
            all.expand(&[info], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).map(|()| key)
        };
        let keys = || {
            let body = RandomizedNonceKey::new(&AES_256_GCM, &key(b"skranke idempotency v1")?)?;
            let cursor = RandomizedNonceKey::new(&AES_256_GCM, &key(b"skranke cursor v1")?)?;
            let webhook = RandomizedNonceKey::new(&AES_256_GCM, &key(b"skranke webhook v1")?)?;
            let fingerprint = hmac::Key::new(hmac::HMAC_SHA256, &key(b"skranke idempotency v1 fingerprint")?);
            let link = hmac::Key::new(hmac::HMAC_SHA256, &key(b"skranke file link v1")?);
            Ok(Self { body, cursor, webhook, fingerprint, link })
        };
        keys().map_err(|_: aws_lc_rs::error::Unspecified| Problem::internal("cannot derive a key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealer(seeds: &[&'static [u8]]) -> Sealer {
        Sealer::new(seeds.iter().copied()).expect("there is a seed")
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_for_its_owner_alone(text: String, owner: String) {
            let sealer = sealer(&[b"one"]);
            let sealed = sealer.seal(&owner, &text).expect("randomness");
            prop_assert_eq!(sealer.open(&owner, &sealed), Some(text));
            prop_assert_eq!(sealer.open(&format!("{owner}!"), &sealed), None);
        }

        #[test]
        fn a_cursor_opens_for_its_owner_alone_and_never_looks_alike(place: [u8; 16], owner: Vec<u8>) {
            let sealer = sealer(&[b"one"]);
            let seal = || sealer.seal_cursor(&owner, &place).expect("randomness");
            let (one, other) = (seal(), seal());
            prop_assert!(one != other && one.len() == other.len());
            prop_assert_eq!(sealer.open_cursor(&owner, &one), Some(place.to_vec()));
            prop_assert_eq!(sealer.open_cursor(&[&owner[..], b"!"].concat(), &one), None);
        }

        #[test]
        fn nonsense_never_opens(sealed: String) {
            prop_assert_eq!(sealer(&[b"one"]).open("me", &sealed), None);
            prop_assert_eq!(sealer(&[b"one"]).open_cursor(b"me", &sealed), None);
        }
    }

    #[test]
    fn a_link_is_good_as_it_was_signed_and_by_either_key() {
        let (old, both, new) = (sealer(&[b"old"]), sealer(&[b"new", b"old"]), sealer(&[b"new"]));
        let link = old.sign_link(b"this file").expect("a key");
        assert_eq!(old.open_link(&link).as_deref(), Some(&b"this file"[..]));
        assert_eq!(both.open_link(&link).as_deref(), Some(&b"this file"[..]));
        assert_eq!(new.open_link(&link), None);
        let mut altered = URL_SAFE_NO_PAD.decode(&link).expect("base64");
        for at in 0..altered.len() {
            altered[at] ^= 1;
            assert_eq!(old.open_link(&URL_SAFE_NO_PAD.encode(&altered)), None);
            altered[at] ^= 1;
        }
        for other in ["", "x", "AAAA", &link[1..], &link[..link.len() - 1], &format!("{link}A")] {
            assert_eq!(old.open_link(other), None, "{other}");
        }
    }

    #[test]
    fn keys_rotate() {
        let (old, both, new) = (sealer(&[b"old"]), sealer(&[b"new", b"old"]), sealer(&[b"new"]));
        let sealed = old.seal("me", "secret").expect("randomness");
        assert!(!sealed.contains("secret"));
        assert_eq!(both.open("me", &sealed).as_deref(), Some("secret"));
        assert_eq!(new.open("me", &sealed), None);
        let secret = old.seal_secret("w", "whsec").expect("randomness");
        assert_eq!(both.open_secret("w", &secret), Some(("whsec".to_owned(), false)));
        assert_eq!(
            both.open_secret("w", &both.seal_secret("w", "x").expect("randomness")),
            Some(("x".to_owned(), true))
        );
        assert_eq!(
            (new.open_secret("w", &secret), old.open_secret("v", &secret), old.open("w", &secret)),
            (None, None, None)
        );
        assert!(both.fingerprints(b"request").contains(&old.fingerprints(b"request")[0]));
        assert!(!new.fingerprints(b"request").contains(&old.fingerprints(b"request")[0]));
        assert!(Sealer::new([]).is_err());
    }
}
