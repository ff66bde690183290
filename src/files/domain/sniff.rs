//! As what the bytes of a file may be shown in a page: by themselves, whatever their sender says that they are. Only
//! what no browser ever runs is shown at all.

/// How many of the first bytes are looked at.
pub const LOOKED_AT_B: usize = 4 << 10;

/// Texts that are programs or pages for somebody, whatever else they are.
const NO_PLAIN_TEXTS: [&[u8]; 4] = [b"<", b"%PDF-", b"%!PS", b"{\\rtf"];

/// The media type of a file that begins with `head`, if it is one of those that are shown.
pub fn inline_type(head: &[u8]) -> Option<&'static str> {
    let begins = |magic: &[u8]| head.starts_with(magic);
    let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    if begins(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if begins(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if begins(b"GIF87a") || begins(b"GIF89a") {
        Some("image/gif")
    } else if begins(b"RIFF") && has(8, b"WEBPVP") {
        Some("image/webp")
    } else if has(4, b"ftypavif") || has(4, b"ftypavis") {
        Some("image/avif")
    } else if is_plain_text(head) {
        Some("text/plain; charset=utf-8")
    } else {
        None
    }
}

/// UTF-8 without control characters but those of lines, that begins as no page and no document does.
fn is_plain_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(LOOKED_AT_B)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut off.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or(""),
        Err(_) => return false,
    };
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c' | '\x1b');
    let beginning = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').as_bytes();
    !text.is_empty() && !text.contains(is_odd) && !NO_PLAIN_TEXTS.iter().any(|other| beginning.starts_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pictures_and_plain_text_are_shown_and_nothing_else() {
        for (head, expected) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0\0\x10JFIF", Some("image/jpeg")),
            (b"GIF89a\x01\0", Some("image/gif")),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"\0\0\0\x20ftypavif\0\0", Some("image/avif")),
            (b"10:03 out of paper\n", Some("text/plain; charset=utf-8")),
            ("\u{feff}Grüße\r\n".as_bytes(), Some("text/plain; charset=utf-8")),
            (b"a <b>bold</b> word", Some("text/plain; charset=utf-8")),
            (b"", None),
            (b"\x89PNG", None),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (b"<html>", None),
            (b" \r\n<!doctype html>", None),
            ("\u{feff}<svg xmlns=\"http://www.w3.org/2000/svg\"/>".as_bytes(), None),
            ("\u{a0}\n<?xml version=\"1.0\"?>".as_bytes(), None),
            (b"%PDF-1.7\n", None),
            (b"\n%PDF-1.7\n", None),
            (b"PK\x03\x04", None),
            (b"MZ\x90\0", None),
            (b"a\0b", None),
            (b"gr\xfc\xdfe", None),
        ] {
            assert_eq!(inline_type(head), expected, "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn a_character_may_be_cut_off_at_the_end_of_what_is_looked_at() {
        let text = format!("{}{}", "a".repeat(LOOKED_AT_B - 1), "ü".repeat(9));
        assert!(inline_type(&text.as_bytes()[..LOOKED_AT_B]).is_some() && inline_type(text.as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn what_looks_like_markup_is_never_shown(space in "[ \t\r\n\u{feff}]{0,9}", rest in "\\PC{0,40}") {
            prop_assert_eq!(inline_type(format!("{space}<{rest}").as_bytes()), None);
        }

        #[test]
        fn any_bytes_can_be_looked_at(head: Vec<u8>) {
            inline_type(&head);
        }
    }
}
