//! What is sent: a body that is never too large, and its signature (Standard Webhooks).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kernel::secret::Secret;
use crate::kernel::{Instant, Problem};

/// What secrets begin with, so that they are known where they turn up.
pub const SECRET_PREFIX: &str = "whsec_";

/// How large a body is at most, in bytes.
pub const LARGEST_BODY_B: usize = 20 << 10;

/// How many bytes of a text are sent at most; fewer, where the whole is still too large.
const LONGEST_TEXTS_B: [usize; 4] = [8 << 10, 2 << 10, 512, 64];

/// The body of a message of this type: `data`, with its long texts cut. What was cut, or left out, is named.
pub fn body(kind: &str, at: Instant, mut data: Value) -> Vec<u8> {
    let whole = |data: &Value, cut: &[String]| {
        let mut data = data.clone();
        data["truncated"] = json!(cut);
        json!({ "type": kind, "timestamp": at, "data": data }).to_string().into_bytes()
    };
    let mut cut = Vec::new();
    for most in LONGEST_TEXTS_B {
        shorten(&mut data, most, &mut String::new(), &mut cut);
        let body = whole(&data, &cut);
        if body.len() <= LARGEST_BODY_B {
            return body;
        }
    }
    // What is many short things is left out, the ticket first: it can be read.
    if !data["snapshot"].is_null() {
        data["snapshot"] = Value::Null;
        cut.retain(|place| !place.starts_with("/snapshot"));
        cut.push("/snapshot".to_owned());
        let body = whole(&data, &cut);
        if body.len() <= LARGEST_BODY_B {
            return body;
        }
    }
    cut.retain(|place| !place.starts_with("/changes"));
    for (nth, change) in data["changes"].as_array_mut().into_iter().flatten().enumerate() {
        for part in ["before", "after"] {
            if !change[part].is_null() {
                change[part] = Value::Null;
                cut.push(format!("/changes/{nth}/{part}"));
            }
        }
    }
    whole(&data, &cut)
}

/// Cuts all texts within `value` that have more than `most` bytes, and adds where they are to `cut`.
fn shorten(value: &mut Value, most: usize, place: &mut String, cut: &mut Vec<String>) {
    let here = place.len();
    match value {
        Value::String(text) if text.len() > most => {
            let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            if !cut.contains(place) {
                cut.push(place.clone());
            }
        }
        Value::Array(items) => {
            for (nth, item) in items.iter_mut().enumerate() {
                place.push_str(&format!("/{nth}"));
                shorten(item, most, place, cut);
                place.truncate(here);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                place.push('/');
                place.push_str(&name.replace('~', "~0").replace('/', "~1"));
                shorten(field, most, place, cut);
                place.truncate(here);
            }
        }
        _ => {}
    }
}

/// What a message is signed with.
#[derive(Debug, Clone)]
pub struct SigningSecret(Secret<Vec<u8>>);

impl SigningSecret {
    /// The secret as it was shown.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(shown: &str) -> Result<Self, Problem> {
        let bytes = shown.strip_prefix(SECRET_PREFIX).and_then(|rest| STANDARD.decode(rest).ok());
        bytes.map(|bytes| Self(Secret::new(bytes))).ok_or_else(|| Problem::internal("not the secret of a webhook"))
    }

    /// As it is shown.
    pub fn shown(bytes: &[u8; 32]) -> Secret<String> {
        Secret::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)))
    }

    fn sign(&self, signed: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.reveal());
        format!("v1,{}", STANDARD.encode(hmac::sign(&key, signed)))
    }
}

/// The value of `webhook-signature` for a message: a signature by each secret.
pub fn signatures(secrets: &[SigningSecret], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let signed = [format!("{id}.{timestamp_s}.").as_bytes(), body].concat();
    secrets.iter().map(|secret| secret.sign(&signed)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_body_is_never_too_large_and_names_what_it_lacks(
            texts in prop::collection::vec(("[a-c~/]{1,9}", "\\PC{0,99}", 1usize..900), 0..40), has_snapshot: bool,
        ) {
            let changes: Vec<Value> = texts.iter()
                .map(|(field, text, times)| json!({ "field": field, "before": null, "after": { field.as_str(): text.repeat(*times) } })).collect();
            let snapshot = if has_snapshot { json!({ "description": "x".repeat(60_000), "tags": ["a"] }) } else { Value::Null };
            let data = json!({ "id": "i", "changes": changes, "snapshot": snapshot });
            let bytes = body("ticket.updated", Instant::EPOCH, data.clone());
            prop_assert!(bytes.len() <= LARGEST_BODY_B, "{}", bytes.len());
            let sent: Value = serde_json::from_slice(&bytes).expect("JSON");
            prop_assert_eq!((&sent["type"], &sent["data"]["id"]), (&json!("ticket.updated"), &json!("i")));
            let cut: Vec<&str> = sent["data"]["truncated"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            let mut rest = sent["data"].clone();
            rest.as_object_mut().expect("an object").remove("truncated");
            prop_assert_eq!(rest == data, cut.is_empty());
            for place in cut {
                prop_assert!(data.pointer(place).is_some(), "{}", place);
            }
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let data = json!({ "snapshot": null, "changes": [{ "after": "ø".repeat(5_000) }] });
        let sent: Value = serde_json::from_slice(&body("t", Instant::EPOCH, data)).expect("JSON");
        assert_eq!(sent["data"]["changes"][0]["after"].as_str().map(str::len), Some(8 << 10));
        assert_eq!(sent["data"]["truncated"], json!(["/changes/0/after"]));
    }

    /// The example of the specification's own test vectors.
    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
        let signature =
            signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(SigningSecret::parse("sks_x").is_err());
    }
}
