//! The OpenAPI document: fresh, complete, and served as it is.

use std::collections::BTreeSet;

use serde_json::Value;
use skranke::app::{document, generate};
use skranke::auth::domain::Scope;
use skranke::kernel::Code;

use crate::on_both;
use crate::support::Desk;

fn parsed() -> Value {
    serde_json::from_str(document::CHECKED_IN).unwrap()
}

/// What a reference leads to, or the thing itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let place = value["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
    place.map_or(value, |place| document.pointer(place).unwrap())
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().iter().map(|(m, op)| (path.clone(), m.clone(), op.clone()))
        })
        .collect()
}

#[test]
fn the_checked_in_document_is_fresh() {
    assert!(
        generate::document().unwrap() == document::CHECKED_IN,
        "openapi/skranke.v1.json is stale; mend it by: cargo run -- openapi > openapi.new && mv openapi.new openapi/skranke.v1.json"
    );
}

#[test]
fn every_operation_is_described_whole() {
    let document = parsed();
    let mut ids = Vec::new();
    let parameter = regex::Regex::new(r"\{(\w+)\}").unwrap();
    for (path, method, op) in operations(&document) {
        let place = format!("{method} {path}");
        ids.push(op["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no operationId")).to_owned());
        assert!(op["tags"].as_array().is_some_and(|t| t.len() == 1), "{place} has one tag");
        assert!(op["summary"].as_str().is_some_and(|s| s.len() > 5), "{place} has a summary");
        let responses = op["responses"].as_object().unwrap();
        assert!(responses.keys().any(|s| s.starts_with('2')), "{place} succeeds somehow");
        for (status, answer) in responses {
            let answer = resolved(&document, answer);
            assert!(answer["description"].as_str().is_some_and(|d| !d.is_empty()), "{place} {status}");
            if status.as_str() >= "400" {
                assert!(
                    answer["content"]["application/problem+json"]["example"]["code"].is_string(),
                    "{place} {status}"
                );
            }
        }
        assert_eq!(responses.contains_key("429"), path != "/health/live", "{place} can be too much");
        if path.starts_with("/v1/") {
            assert!(op["security"].is_array(), "{place} says what it needs");
            assert!(responses.contains_key("401"), "{place} can be refused");
        }
        for name in parameter.captures_iter(&path) {
            let named = op["parameters"].as_array().unwrap().iter().any(|p| p["name"] == name[1] && p["in"] == "path");
            assert!(named, "{place} describes {}", &name[1]);
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operationIds are unique");
}

#[test]
fn every_body_has_an_example_and_every_field_a_description() {
    let document = parsed();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (_, method, op) in operations(&document) {
        for content in
            [&op["requestBody"]["content"], &op["responses"]["200"]["content"], &op["responses"]["201"]["content"]]
        {
            for media in content.as_object().into_iter().flat_map(|c| c.values()) {
                if let Some(name) =
                    media["schema"]["$ref"].as_str().and_then(|r| r.strip_prefix("#/components/schemas/"))
                {
                    let described = schemas[name]["example"].is_object() || media["example"].is_object();
                    assert!(described, "{method} {name} has an example");
                }
            }
        }
    }
    for (name, schema) in schemas {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let text = property["description"].as_str();
            assert!(text.is_some(), "{name}.{field} has a description");
        }
    }
}

/// A generated client checks what it is given only if the document tells the values apart.
#[test]
fn parameters_of_several_values_are_arrays_with_commas() {
    let mut arrays = 0;
    for (path, _, op) in operations(&parsed()) {
        for parameter in op["parameters"].as_array().into_iter().flatten().filter(|one| one["in"] == "query") {
            let described = parameter["description"].as_str().unwrap();
            if described.contains("separated by commas") {
                assert_eq!(parameter["schema"]["type"], "array", "{path}: {described}");
                assert!(
                    (&parameter["style"], &parameter["explode"]) == (&"form".into(), &false.into()),
                    "{path}: {described}"
                );
                arrays += 1;
            }
        }
    }
    assert_eq!(arrays, 5 * 9 + 10, "of tickets and what comes with them, of people, of changes and of their streams");
}

/// What the document says is a table, the edge takes for one. An export is one if it is asked for, and decides by itself.
#[test]
fn reports_and_exports_are_tables_and_nothing_else_is() {
    for (path, method, op) in operations(&parsed()) {
        let is_table = op["responses"]["200"]["content"]["text/csv"].is_object();
        assert_eq!(
            is_table,
            path.starts_with(skranke::http::accept::REPORTS) || path == "/v1/exports/tickets",
            "{method} {path}"
        );
    }
}

/// Each error answer stands in the document once: they were most of it.
#[test]
fn error_answers_are_shared() {
    let document = parsed();
    for (path, method, op) in operations(&document) {
        for (status, answer) in
            op["responses"].as_object().unwrap().iter().filter(|(status, _)| status.as_str() >= "400")
        {
            assert!(
                answer["$ref"].as_str().is_some_and(|place| place.starts_with("#/components/responses/")),
                "{method} {path} {status}"
            );
        }
    }
    assert!(document["components"]["responses"].as_object().unwrap().len() < 40);
}

#[test]
fn every_reference_leads_somewhere() {
    let document = parsed();
    let text = document::CHECKED_IN;
    for found in regex::Regex::new(r##""#(/components/[^"]+)""##).unwrap().captures_iter(text) {
        assert!(document.pointer(&found[1]).is_some(), "{} leads nowhere", &found[1]);
    }
}

/// The `type` of a problem leads to a heading of the guide.
#[test]
fn the_guide_comes_first_and_the_errors_last() {
    let document = parsed();
    let guide = document["info"]["description"].as_str().unwrap();
    let headings: Vec<_> = guide.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!((headings.first(), headings.last()), (Some(&"First steps"), Some(&"Errors")));
    let codes: Vec<_> = guide.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(codes, Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>());
    assert!(!guide.contains("{errors}") && !guide.contains("{life_cycle}"));
    for answer in document["components"]["responses"].as_object().unwrap().values() {
        let example = &answer["content"]["application/problem+json"]["example"];
        assert_eq!(example["type"], format!("/docs#{}", example["code"].as_str().unwrap()));
    }
}

/// Tokens are got by OAuth 2, and sent as bearer tokens: no operation names another way, which generated clients would
/// take for a second header.
#[test]
fn how_to_get_a_token_is_said_once() {
    let document = parsed();
    let flows = &document["components"]["securitySchemes"]["oauth2"]["flows"];
    for flow in ["password", "clientCredentials"] {
        assert_eq!(flows[flow]["tokenUrl"], "/v1/auth/token");
        assert_eq!(flows[flow]["scopes"].as_object().unwrap().len(), Scope::ALL.len());
    }
    for (path, method, op) in operations(&document) {
        let ways = op["security"].as_array().into_iter().flatten().filter_map(Value::as_object);
        assert!(ways.flat_map(|way| way.keys()).all(|scheme| scheme == "bearer"), "{method} {path}");
    }
}

/// The names of all files that the page uses, and those that they use.
async fn files_of(desk: &Desk) -> BTreeSet<String> {
    let named = regex::Regex::new(r#""\./([\w.-]+)""#).unwrap();
    let names = |text: &str| named.captures_iter(text).map(|name| name[1].to_owned()).collect::<Vec<_>>();
    let mut found = BTreeSet::new();
    let mut waiting = names(&desk.get("/docs/").expect(200).await.text());
    while let Some(name) = waiting.pop() {
        if found.insert(name.clone()) {
            waiting.extend(names(&desk.get(&format!("/docs/{name}")).expect(200).await.text()));
        }
    }
    found
}

on_both! {
    async fn the_document_and_its_pages_are_served(desk) {
        let served = desk.get("/openapi.json").expect(200).await;
        assert_eq!(served.bytes, document::CHECKED_IN.as_bytes());
        assert_eq!(desk.get("/docs").expect(307).await.header("location"), Some("/docs/"));
        let page = desk.get("/docs/").expect(200).await;
        assert!(page.header("content-type").unwrap().starts_with("text/html"));
        assert!(page.text().contains("<title>Skranke API</title>"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for address in regex::Regex::new(r#"(?:src|href)="([^"]+)""#).unwrap().captures_iter(&page.text()) {
            assert!(!address[1].contains("//"), "{} comes from this server", &address[1]);
        }
        let files = files_of(desk).await;
        for kind in ["page-", "elements-", "markdown-", "schemas-", "account-", "operations-"] {
            assert!(files.iter().any(|file| file.starts_with(kind)), "{kind} is not among {files:?}");
        }
        let anew = ["/docs/", "/openapi.json"].map(|path| (path.to_owned(), "no-cache"));
        let for_ever = files.iter().map(|name| (format!("/docs/{name}"), "public, max-age=31536000, immutable"));
        for (path, kept) in anew.into_iter().chain(for_ever) {
            let first = desk.get(&path).expect(200).await;
            let tag = first.header("etag").unwrap().to_owned();
            assert!(tag.starts_with('"'), "{path} has the strong tag {tag}");
            assert_eq!(first.header("cache-control"), Some(kept), "{path}");
            let same = desk.get(&path).header("if-none-match", &tag).expect(304).await;
            assert_eq!((same.header("etag"), same.header("cache-control")), (Some(&*tag), Some(kept)), "{path}");
            assert!(same.bytes.is_empty(), "{path}");
            let packed = desk.get(&path).header("accept-encoding", "gzip").expect(200).await;
            let is_small = first.bytes.len() < 1_400;
            assert_eq!(packed.header("content-encoding"), (!is_small).then_some("gzip"), "{path}");
        }
        for path in ["/docs/page.js", "/docs/nowhere.css", "/docs/a/b"] {
            desk.get(path).refused(404, "not_found").await;
        }
    }
}
