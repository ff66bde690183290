//! The error answers of operations. Many have the same ones, so each stands in the document once.

use serde_json::json;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Components, ContentBuilder, Header, Ref, RefOr, Response, ResponseBuilder};

use crate::kernel::Code;

/// A reference to the answer of these `codes`, all of one status; the answer joins the `components`.
pub(super) fn shared(codes: &[Code], components: &mut Components) -> RefOr<Response> {
    let name = codes.iter().map(|code| in_camel_case(code.as_str())).collect::<Vec<_>>().join("Or");
    components.responses.entry(name.clone()).or_insert_with(|| answer(codes).into());
    Ref::new(format!("#/components/responses/{name}")).into()
}

fn in_camel_case(word: &str) -> String {
    let parts = word.split('_').filter_map(|part| part.split_at_checked(1));
    parts.map(|(first, rest)| first.to_uppercase() + rest).collect()
}

/// What an answer of these codes says, with an example of the first.
fn answer(codes: &[Code]) -> Response {
    let said: Vec<_> = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.doc())).collect();
    let mut answer = ResponseBuilder::new().description(said.join("\n\n"));
    if let Some(code) = codes.first() {
        let example = json!({
            "type": format!("/docs#{}", code.as_str()),
            "title": code.title(),
            "status": code.status(),
            "detail": code.doc(),
            "code": code.as_str(),
            "request_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
        });
        let problem = Ref::from_schema_name("Problem");
        let content = ContentBuilder::new().schema(Some(problem)).example(Some(example)).build();
        answer = answer.content("application/problem+json", content);
        for (name, text) in headers(code.status()) {
            answer = answer.header(*name, header(text));
        }
    }
    answer.build()
}

fn headers(status: u16) -> &'static [(&'static str, &'static str)] {
    const RETRY_AFTER: (&str, &str) = ("Retry-After", "Seconds to wait.");
    match status {
        401 => &[("WWW-Authenticate", "What a token needs (RFC 6750).")],
        429 => &[
            RETRY_AFTER,
            ("RateLimit", "What is left (draft-ietf-httpapi-ratelimit-headers), such as `\"principal\";r=0;t=12`."),
            ("RateLimit-Policy", "How much there is, such as `\"principal\";q=60000;w=60`."),
        ],
        503 => &[RETRY_AFTER],
        _ => &[],
    }
}

fn header(text: &str) -> Header {
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).description(Some(text)).build()
}
