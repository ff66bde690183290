//! What is wrong with one field of a request.

use serde_json::{Map, Value};

/// How many bytes of a place are told.
const LONGEST_PLACE_B: usize = 255;

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901) into the body, or the name of a query parameter or header.
    #[schema(examples("/subject"))]
    pub pointer: String,
    /// What kind of fault: `required`, `wrong_type`, `unknown_field`, `too_short`, `too_long`, `too_many`, `invalid`,
    /// `not_found`, `forbidden`.
    #[schema(examples("too_long"))]
    pub code: &'static str,
    /// What it should be.
    #[schema(examples("must have at most 255 characters"))]
    pub detail: String,
    /// The numbers and words of `detail`, for whoever says it in another language: `min` and `max`, and in which `unit`
    /// they count (`characters` or `bytes`); the `values` that there are; the `known` fields; the types that were
    /// `expected`, and the `actual` one.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object, required = false, example = json!({ "max": 255, "unit": "characters" }))]
    pub params: Map<String, Value>,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for FieldError {}

/// What a value must be, said by nothing but its sentence.
impl From<&'static str> for FieldError {
    fn from(detail: &'static str) -> Self {
        Self::of_value("invalid", detail)
    }
}

impl FieldError {
    /// That a value is none of these words.
    pub fn not_one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<&str> = words.into_iter().collect();
        Self::of_value("invalid", format!("must be one of: {}", words.join(" "))).with("values", words)
    }

    /// The same, without most of a place that only a client in error can name.
    pub(super) fn short(mut self) -> Self {
        if self.pointer.len() > LONGEST_PLACE_B {
            let is_end = |end: &usize| self.pointer.is_char_boundary(*end);
            let end = (0..=LONGEST_PLACE_B).rev().find(is_end).unwrap_or_default();
            self.pointer.truncate(end);
            self.pointer.push('…');
        }
        self
    }

    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into(), params: Map::new() }
    }

    /// A fault of a value, wherever that stands.
    pub fn of_value(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new("", code, detail)
    }

    /// The same at `pointer`.
    #[must_use]
    pub fn at(self, pointer: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), ..self }
    }

    /// With a number or a word of its `detail`.
    #[must_use]
    pub fn with(mut self, param: &str, value: impl Into<Value>) -> Self {
        self.params.insert(param.to_owned(), value.into());
        self
    }
}
