//! Which part of a file is asked for (RFC 9110, 14).

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePart {
    /// All of it.
    Whole,
    /// The bytes from the first on, and so many.
    From(u64, u64),
    /// None: it begins behind the end.
    Beyond,
}

/// What a `Range` asks for of a file of `size_b` bytes. What cannot be read, or asks for several parts, is as if it
/// were not there.
pub fn part(range: Option<&str>, size_b: u64) -> FilePart {
    let bytes = range.and_then(|range| range.trim().strip_prefix("bytes="));
    let Some((first, last)) = bytes.and_then(|one| one.trim().split_once('-')) else { return FilePart::Whole };
    match (number(first), number(last)) {
        (Some(None), Some(Some(suffix))) if suffix == 0 || size_b == 0 => FilePart::Beyond,
        (Some(None), Some(Some(suffix))) => FilePart::From(size_b.saturating_sub(suffix), suffix.min(size_b)),
        (Some(Some(first)), Some(last)) if last.is_none_or(|last| first <= last) => {
            let end = last.map_or(size_b, |last| last.saturating_add(1).min(size_b));
            if first < size_b { FilePart::From(first, end - first) } else { FilePart::Beyond }
        }
        _ => FilePart::Whole,
    }
}

/// The number in `text`, if it is one or nothing. One that is too large is the largest.
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_rfc_9110_has_them() {
        for (range, expected) in [
            ("bytes=0-0", FilePart::From(0, 1)),
            ("bytes=0-9", FilePart::From(0, 10)),
            ("bytes=0-99999999999999999999999", FilePart::From(0, 10)),
            ("bytes=3-", FilePart::From(3, 7)),
            ("bytes=-3", FilePart::From(7, 3)),
            ("bytes=-99", FilePart::From(0, 10)),
            ("bytes=10-", FilePart::Beyond),
            ("bytes=10-12", FilePart::Beyond),
            ("bytes=99999999999999999999999-", FilePart::Beyond),
            ("bytes=-0", FilePart::Beyond),
            ("bytes=5-3", FilePart::Whole),
            ("bytes=-", FilePart::Whole),
            ("bytes=", FilePart::Whole),
            ("bytes=a-b", FilePart::Whole),
            ("bytes=0-1,3-4", FilePart::Whole),
            ("lines=0-1", FilePart::Whole),
            ("bytes=+1-2", FilePart::Whole),
        ] {
            assert_eq!(part(Some(range), 10), expected, "{range}");
        }
        assert_eq!((part(None, 10), part(Some("bytes=0-"), 0)), (FilePart::Whole, FilePart::Beyond));
    }

    proptest! {
        #[test]
        fn a_part_is_within_the_file(text in "(bytes=)?[0-9 ,-]{0,24}|\\PC{0,12}", size_b in 0..100u64) {
            if let FilePart::From(first, count) = part(Some(&text), size_b) {
                prop_assert!(count > 0 && first + count <= size_b);
            }
        }
    }
}
