//! Content codings (RFC 9110, 8.4): which one a client takes, and answers coded whole, in little memory.

use std::io::{self, Write};

use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, AcceptEncoding, ContentEncoding, Encoding, HeaderMap};
use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::kernel::{Code, Problem};

/// Smaller bodies are not coded: it would cost more than it saves.
const FROM_B: usize = 1400;

/// How far back Brotli looks, as a power of two: 256 KiB. The window that it would have by itself takes more than 10
/// MiB of memory for each answer that is being coded, and finds next to nothing more in a page of a list.
const BROTLI_WINDOW: u32 = 18;

/// Of 11: answers are coded once and sent once.
const BROTLI_QUALITY: u32 = 3;

/// The coding that answers to `request` have; none if they come as they are.
///
/// # Errors
/// `not_acceptable` if the client takes none that there is.
pub(super) fn asked_for(request: &ServiceRequest) -> Result<Option<ContentEncoding>, Problem> {
    let Some(accepted) = request.get_header::<AcceptEncoding>() else { return Ok(None) };
    let there = [Encoding::identity(), Encoding::brotli(), Encoding::gzip(), Encoding::deflate()];
    match accepted.negotiate(there.iter()) {
        Some(Encoding::Known(ContentEncoding::Identity)) => Ok(None),
        Some(Encoding::Known(coding)) => Ok(Some(coding)),
        Some(Encoding::Unknown(_)) | None => Err(Problem::new(
            Code::NotAcceptable,
            "Answers may come as they are; do not refuse identity in Accept-Encoding.",
        )),
    }
}

/// Whether a body of `bytes` bytes gains by being coded.
pub(super) fn is_worth_it(status: StatusCode, headers: &HeaderMap, bytes: usize) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_packed = media_type.starts_with("image/") && !media_type.starts_with("image/svg");
    bytes >= FROM_B
        && status != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !is_packed
}

/// `body`, coded.
///
/// # Errors
/// When there is no such coding here.
pub(super) fn coded(coding: ContentEncoding, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut coded = match coding {
        ContentEncoding::Brotli => {
            let mut coder = CompressorWriter::new(Vec::new(), 4 << 10, BROTLI_QUALITY, BROTLI_WINDOW);
            coder.write_all(body)?;
            coder.into_inner()
        }
        ContentEncoding::Gzip => {
            let mut coder = GzEncoder::new(Vec::new(), Compression::fast());
            coder.write_all(body)?;
            coder.finish()?
        }
        ContentEncoding::Deflate => {
            let mut coder = ZlibEncoder::new(Vec::new(), Compression::fast());
            coder.write_all(body)?;
            coder.finish()?
        }
        other => return Err(io::Error::other(format!("there is no coder for {}", other.as_str()))),
    };
    // It is kept until it is sent.
    coded.shrink_to_fit();
    Ok(coded)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use actix_web::test::TestRequest;
    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    /// What is like a page of tickets: much that comes again, and much that does not.
    fn page() -> Vec<u8> {
        let mut page = Vec::new();
        let mut seed = 1_u64;
        while page.len() < 1 << 20 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let item =
                format!("{{\"id\":\"{seed:016x}\",\"subject\":\"The printer is on fire\",\"priority\":\"normal\"}},");
            page.extend_from_slice(item.as_bytes());
        }
        page
    }

    #[test]
    fn coded_bodies_are_the_bodies_that_were_coded() {
        let page = page();
        for (coding, most_b) in [
            (ContentEncoding::Brotli, page.len() / 5),
            (ContentEncoding::Gzip, page.len() / 4),
            (ContentEncoding::Deflate, page.len() / 4),
        ] {
            let sent = coded(coding, &page).expect("coded");
            assert!(sent.len() < most_b && sent.capacity() < most_b * 2, "{coding:?}: {}", sent.len());
            let mut read = Vec::new();
            match coding {
                ContentEncoding::Brotli => brotli::Decompressor::new(&sent[..], 4096).read_to_end(&mut read),
                ContentEncoding::Gzip => GzDecoder::new(&sent[..]).read_to_end(&mut read),
                _ => ZlibDecoder::new(&sent[..]).read_to_end(&mut read),
            }
            .expect("whole");
            assert!(read == page, "{coding:?}");
        }
        assert!(coded(ContentEncoding::Zstd, b"{}").is_err());
    }

    #[test]
    fn the_clients_wish_is_followed() {
        let asked = |value: &'static str| {
            asked_for(&TestRequest::default().insert_header((header::ACCEPT_ENCODING, value)).to_srv_request())
        };
        assert_eq!(asked_for(&TestRequest::default().to_srv_request()).expect("any"), None);
        for (value, coding) in [
            ("", None),
            ("identity", None),
            ("zstd", None),
            ("br", Some(ContentEncoding::Brotli)),
            ("gzip;q=0.5, br;q=0.1", Some(ContentEncoding::Gzip)),
            ("deflate", Some(ContentEncoding::Deflate)),
        ] {
            assert_eq!(asked(value).expect("acceptable"), coding, "{value}");
        }
        for value in ["*;q=0", "gzip;q=0, identity;q=0", "zstd, identity;q=0"] {
            assert_eq!(asked(value).expect_err("refused").code(), Code::NotAcceptable, "{value}");
        }
    }

    #[test]
    fn what_is_small_or_packed_already_is_sent_as_it_is() {
        let headers = |name, value| HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))]);
        let json = headers(header::CONTENT_TYPE, "application/json");
        assert!(is_worth_it(StatusCode::OK, &json, FROM_B) && !is_worth_it(StatusCode::OK, &json, FROM_B - 1));
        assert!(!is_worth_it(StatusCode::PARTIAL_CONTENT, &json, FROM_B));
        assert!(!is_worth_it(StatusCode::OK, &headers(header::CONTENT_TYPE, "image/png"), FROM_B));
        assert!(is_worth_it(StatusCode::OK, &headers(header::CONTENT_TYPE, "image/svg+xml"), FROM_B));
        assert!(!is_worth_it(StatusCode::OK, &headers(header::CONTENT_ENCODING, "gzip"), FROM_B));
    }
}
