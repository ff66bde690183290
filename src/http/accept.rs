//! What `Accept` wants (RFC 9110, 12.5.1).

use actix_web::http::header::{self, Accept, HeaderMap, Quality, QualityItem};

/// Under this path are the reports: what can be read as a table, too.
pub const REPORTS: &str = "/v1/metrics/";

/// Under this path is the feed: what can be read line by line, too.
pub const CHANGES: &str = "/v1/changes";

/// Under this path are exports: lines, or tables.
pub const EXPORTS: &str = "/v1/exports/";

/// Where imports are sent, which are answered by lines.
pub const IMPORTS: &str = "/v1/imports";

/// Lines of JSON, each a value of its own.
pub const LINES: &str = "application/x-ndjson";

/// Events that are sent as they happen.
pub const EVENTS: &str = "text/event-stream";

/// Where the path of a stream of events ends.
pub const STREAM: &str = "/stream";

/// Where the path of the bytes of a file ends.
pub const CONTENT: &str = "/content";

/// In which form a report is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`.
    Json,
    /// `text/csv`.
    Csv,
}

impl MediaType {
    /// The form that `headers` prefer; JSON if it is the same to them, or not said.
    pub fn of(headers: &HeaderMap) -> Self {
        let wanted = Wanted::by(headers);
        if wanted.quality("text/csv") > wanted.quality("application/json") { Self::Csv } else { Self::Json }
    }
}

/// How much a client wants which media type.
#[derive(Debug)]
pub struct Wanted(Accept);

impl Wanted {
    /// What `headers` say. Who says nothing takes everything. So does, at last resort, who says what cannot be read:
    /// Java long sent `*/*; q=.2`.
    pub fn by(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).map(|value| value.to_str().unwrap_or("?"));
        let ranges = values.flat_map(|value| value.split(',')).map(str::trim).filter(|range| !range.is_empty());
        let anything = |quality| Accept::star().0.into_iter().map(move |star| QualityItem::new(star.item, quality));
        let mut wanted = Accept(Vec::new());
        for range in ranges {
            match range.parse() {
                Ok(range) => wanted.0.push(range),
                Err(_) => wanted.0.extend(anything(Quality::MIN)),
            }
        }
        if wanted.0.is_empty() {
            wanted.0.extend(anything(Quality::MAX));
        }
        Self(wanted)
    }

    /// How much `media_type` is wanted: by the most specific range that it fits.
    pub fn quality(&self, media_type: &str) -> Quality {
        let kind = media_type.split('/').next();
        let fitting = self.0.iter().filter_map(|QualityItem { item: range, quality }| {
            let specific = match range.essence_str() {
                range if range == media_type => 3,
                "*/*" => 1,
                range if range.strip_suffix("/*") == kind => 2,
                _ => return None,
            };
            Some((specific, *quality))
        });
        fitting.max().map_or(Quality::ZERO, |(_, quality)| quality)
    }

    /// Whether lines of JSON are wanted more than JSON.
    pub fn prefers_lines(&self) -> bool {
        self.quality(LINES) > self.quality("application/json")
    }

    /// Whether any of `media_types` is wanted.
    pub fn takes(&self, media_types: &[&str]) -> bool {
        media_types.iter().any(|media_type| self.quality(media_type) > Quality::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(accept: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        headers
    }

    #[test]
    fn a_report_is_a_table_for_who_wants_one_more() {
        assert_eq!(MediaType::of(&HeaderMap::new()), MediaType::Json);
        for json in [
            "",
            "*/*",
            "application/*",
            "application/json, text/csv",
            "text/csv;q=0.5, application/json;q=0.6",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            "application/problem+json",
            "text/csv;q=0, */*",
        ] {
            assert_eq!(MediaType::of(&headers(json)), MediaType::Json, "{json}");
        }
        for csv in [
            "text/csv",
            "Text/CSV; charset=utf-8; header=present",
            "text/*",
            "text/csv, application/json;q=0.9, */*;q=0.1",
            "text/csv, application/problem+json",
            "*/*, application/json;q=0.5",
        ] {
            assert_eq!(MediaType::of(&headers(csv)), MediaType::Csv, "{csv}");
        }
    }

    #[test]
    fn what_is_refused_is_not_taken() {
        let takes =
            |accept: &str| Wanted::by(&headers(accept)).takes(&["application/json", "application/problem+json"]);
        for taken in [
            "",
            "application/problem+json",
            " , ",
            "nonsense",
            "*/*; q=.2",
            "text/html, application/*;q=0.001",
            "application/JSON;v=1",
        ] {
            assert!(takes(taken), "{taken}");
        }
        for refused in
            ["text/html", "text/*", "*/*;q=0", "application/xml, application/json;q=0", "application/*;q=0.0, */*"]
        {
            assert!(!takes(refused), "{refused}");
        }
    }

    #[test]
    fn values_of_several_lines_are_one_list() {
        let mut both = headers("application/json;q=0.5");
        both.append(header::ACCEPT, HeaderValue::from_static("text/csv"));
        assert_eq!(MediaType::of(&both), MediaType::Csv);
    }
}
