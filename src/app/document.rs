//! The OpenAPI document as it is checked in, served, and asked which paths there are.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::dev::ResourceDef;
use actix_web::get;
use actix_web::http::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fixed_text::FixedText;
use crate::http::{Answer, Endpoints};

/// The document as it is checked in and served. Made by `skranke openapi`.
pub const CHECKED_IN: &str = include_str!("../../openapi/skranke.v1.json");

// Whoever writes it anew while it is read leaves nothing in it: nobody builds a service without one.
const _: () = assert!(CHECKED_IN.len() > 100_000, "openapi/skranke.v1.json is cut short");

/// Registers the document's own endpoint.
pub fn routes(config: &mut impl Endpoints) {
    config.service(get_document);
}

/// Read this document.
#[utoipa::path(operation_id = "get_openapi_document", tag = "operation",
    responses((status = 200, description = "The OpenAPI document.", body = Object,
        headers(("ETag" = String, description = "Of what is in it: another document has another one.")),
        example = json!({ "openapi": "3.1.0", "paths": {} }))))]
#[get("/openapi.json")]
async fn get_document() -> Answer {
    static DOCUMENT: LazyLock<FixedText> = LazyLock::new(|| FixedText::new("application/json", CHECKED_IN));
    DOCUMENT.reply("no-cache")
}

/// Every path of the document with its methods, for telling 405 from 404.
pub fn methods() -> Vec<(ResourceDef, Vec<Method>)> {
    #[derive(Default, Deserialize)]
    struct Documented {
        paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
    }
    let document: Documented = serde_json::from_str(CHECKED_IN).unwrap_or_default();
    document
        .paths
        .iter()
        .map(|(path, operations)| {
            let names = operations.keys().map(|name| name.to_ascii_uppercase());
            let mut methods: Vec<Method> = names.filter_map(|name| name.parse().ok()).collect();
            if methods.contains(&Method::GET) {
                methods.push(Method::HEAD);
            }
            (ResourceDef::new(path.as_str()), methods)
        })
        .collect()
}
