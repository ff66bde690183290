//! What the headers say of a file that is sent, and how they say it of one that is got.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How many characters a name has at most.
pub const LONGEST_NAME: usize = 255;

/// How many characters a media type has at most.
const LONGEST_TYPE: usize = 127;

/// What a file is of which nothing is said.
pub const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Characters that turn the direction of what is around them (Unicode, `Bidi_Control`): with them a name looks like
/// another one, which ends otherwise.
const TURNING: [char; 12] = [
    '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}',
    '\u{2067}', '\u{2068}', '\u{2069}',
];

/// Takes `name` if it is one: a single part of a path, with nothing in it that does not show.
///
/// # Errors
/// What is wrong with it.
pub fn name(name: &str) -> Result<String, String> {
    let refuse = |what: &str| Err(format!("The name of a file {what}."));
    if name.trim().is_empty() || matches!(name, "." | "..") {
        return refuse("must not be blank, `.` or `..`");
    }
    if name.chars().count() > LONGEST_NAME {
        return refuse(&format!("has at most {LONGEST_NAME} characters"));
    }
    if name.contains(['/', '\\']) {
        return refuse("must be its last part alone, without / and \\");
    }
    if name.contains(|c: char| c.is_control() || TURNING.contains(&c) || matches!(c, '\u{2028}' | '\u{2029}')) {
        return refuse("must have no control characters, and none that turn the direction of text");
    }
    Ok(name.to_owned())
}

/// Takes a media type: `type/subtype`, with parameters or without (RFC 9110, 8.3.1).
///
/// # Errors
/// What is wrong with it.
pub fn media_type(text: &str) -> Result<String, String> {
    let is_token = |part: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !part.is_empty() && part.bytes().all(fine)
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_type = essence.split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub));
    if is_type && text.len() <= LONGEST_TYPE && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(text.trim().to_owned());
    }
    Err(format!("Content-Type takes a media type of at most {LONGEST_TYPE} characters, such as image/png."))
}

/// The SHA-256 in a `Content-Digest` (RFC 9530), if there is one; digests of other kinds are passed over.
///
/// # Errors
/// What is wrong with it.
pub fn sha256(content_digest: &str) -> Result<Option<Vec<u8>>, String> {
    let members = content_digest.split(',').filter_map(|member| member.trim().split_once('='));
    let Some((_, value)) = members.into_iter().find(|(kind, _)| *kind == "sha-256") else { return Ok(None) };
    let text = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
    let digest = text.and_then(|text| STANDARD.decode(text).ok()).filter(|digest| digest.len() == 32);
    digest.map(Some).ok_or_else(|| "Content-Digest takes sha-256=:BASE64:, of 32 bytes.".to_owned())
}

/// A `Content-Digest` with this SHA-256.
pub fn content_digest(sha256: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(sha256))
}

/// A `Content-Disposition` (RFC 6266) with this name, in letters of old and as it is.
pub fn disposition(kind: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
    let fallback: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let exact: String = name.bytes().map(percent).collect();
    format!("{kind}; filename=\"{fallback}\"; filename*=UTF-8''{exact}")
}

/// A byte as an `attr-char` (RFC 8187, 3.2.1).
fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{ContentDisposition, HeaderValue};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_that_is_taken_is_told_as_it_is(text in "\\PC{0,40}|[a-z. /\\\\]{0,8}") {
            if let Ok(taken) = name(&text) {
                let header = HeaderValue::from_str(&disposition("attachment", &taken)).expect("a header");
                let read = ContentDisposition::from_raw(&header).expect("a disposition");
                let told = read.get_filename_ext().expect("a name");
                prop_assert_eq!(String::from_utf8(told.value.clone()), Ok(taken));
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_or_look_like_others_are_refused() {
        for fine in ["a", "Screenshot 1.png", "Grüße.txt", "…", "..a", "報告.pdf", "a'b\"c.txt", "😀", &"x".repeat(255)]
        {
            assert_eq!(name(fine).as_deref(), Ok(fine));
        }
        let long = "x".repeat(256);
        for bad in [
            "",
            " ",
            ".",
            "..",
            "../a",
            "a/b",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "gnp\u{202e}.exe",
            "\u{200f}a",
            &long,
        ] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn media_types_and_digests_are_read_as_they_are_written() {
        for fine in ["image/png", "text/plain; charset=\"utf-8\"", "application/vnd.ms-excel", "x/y+z"] {
            assert_eq!(media_type(fine).as_deref(), Ok(fine));
        }
        for bad in ["", "image", "image/", "/png", "image /png", "image/p ng", "a/b\u{e9}", "a/b; c=\n"] {
            assert!(media_type(bad).is_err(), "{bad:?}");
        }
        assert!(media_type(&format!("a/{}", "b".repeat(126))).is_err());
        let digest = content_digest(&[7; 32]);
        assert_eq!(sha256(&digest), Ok(Some(vec![7; 32])));
        assert_eq!(sha256(&format!("sha-512=:AAAA:, {digest}")), Ok(Some(vec![7; 32])));
        assert_eq!((sha256(""), sha256("md5=:AAAA:")), (Ok(None), Ok(None)));
        for bad in ["sha-256=", "sha-256=:AAAA:", "sha-256=AAAA", "sha-256=:?:"] {
            assert!(sha256(bad).is_err(), "{bad}");
        }
    }
}
