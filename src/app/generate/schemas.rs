//! What the derive macros cannot say of schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ArrayItems, Object, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{KnownFormat, Ref, RefOr, Schema, SchemaFormat};

use crate::auth::domain::Scope;
use crate::auth::wire::GrantType;
use crate::kernel::Code;

/// All schemas, by their names.
type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Parts of requests that no request is by itself.
const PARTS_OF_REQUESTS: [&str; 7] = [
    "RequesterByEmail",
    "MoneyInput",
    "WorkingHoursInput",
    "ShiftInput",
    "HolidayInput",
    "SlaConditionInput",
    "SlaTargetInput",
];

/// One line of text, as `kernel::text::Line` takes it: not blank, and without control characters.
const LINE: &str = r"^(?=.*\S)[^\u0000-\u001F\u007F-\u009F]+$";

/// A tag: a line without the comma that separates tags in a query, and without the `!` by which all others are meant.
const TAG: &str = r"^(?=.*\S)(?!!)[^,\u0000-\u001F\u007F-\u009F]+$";

/// Completes all `schemas`; those of `requests` take no unknown fields. Gives the items that there are pages of.
pub(super) fn refine(schemas: &mut Schemas, requests: &BTreeSet<String>) -> Vec<String> {
    schemas.values_mut().for_each(complete);
    let pages: Vec<String> = schemas.keys().filter_map(|name| name.strip_prefix("Page_").map(str::to_owned)).collect();
    for item in &pages {
        let example = object(schemas, item).and_then(|item| item.example.clone());
        if let Some(page) = object(schemas, &format!("Page_{item}")) {
            let items = ArrayBuilder::new()
                .items(Ref::from_schema_name(item.as_str()))
                .description(Some("The items of this page."));
            page.properties.insert("items".to_owned(), items.into());
            page.example = example.map(|item| json!({ "items": [item], "next_cursor": null }));
        }
    }
    for name in requests.iter().map(String::as_str).chain(PARTS_OF_REQUESTS) {
        if let Some(schema) = object(schemas, name) {
            close(schema);
        }
    }
    if let Some(form) = object(schemas, "TokenForm") {
        add_words_of_grants(form);
    }
    if let Some(problem) = object(schemas, "Problem") {
        add_members(problem);
    }
    pages
}

fn object<'a>(schemas: &'a mut Schemas, name: &str) -> Option<&'a mut Object> {
    match schemas.get_mut(name) {
        Some(RefOr::T(Schema::Object(object))) => Some(object),
        _ => None,
    }
}

/// Says of free objects that they are, which clients take for empty ones otherwise, and lets the description of a field
/// that may be null stand beside its type, where clients look for it.
fn complete(schema: &mut RefOr<Schema>) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => {
            let is_object = match &object.schema_type {
                SchemaType::Type(kind) => *kind == Type::Object,
                SchemaType::Array(kinds) => kinds.contains(&Type::Object),
                SchemaType::AnyValue => false,
            };
            if is_object && object.properties.is_empty() {
                object.additional_properties.get_or_insert_with(|| Box::new(AdditionalProperties::FreeForm(true)));
            }
            object.properties.values_mut().for_each(complete);
            if let Some(AdditionalProperties::RefOr(values)) = object.additional_properties.as_deref_mut() {
                complete(values);
            }
        }
        Schema::Array(array) => {
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                complete(items);
            }
        }
        Schema::OneOf(choice) => {
            for item in &mut choice.items {
                if let RefOr::Ref(item) = item
                    && !item.description.is_empty()
                {
                    choice.description.get_or_insert(std::mem::take(&mut item.description));
                }
            }
            choice.items.iter_mut().for_each(complete);
        }
        Schema::AllOf(all) => all.items.iter_mut().for_each(complete),
        Schema::AnyOf(any) => any.items.iter_mut().for_each(complete),
        _ => {}
    }
}

/// Unknown fields are errors, and one line of text is one line: the schema of a request says so.
fn close(schema: &mut Object) {
    schema.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    for (name, field) in &mut schema.properties {
        match field {
            RefOr::T(Schema::Array(tags)) if name == "tags" => {
                let tag = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64));
                tags.items = ArrayItems::from(RefOr::<Schema>::from(tag.pattern(Some(TAG)).build()));
            }
            RefOr::T(Schema::Object(text)) => {
                let is_line = text.min_length == Some(1) && text.max_length.is_some_and(|most| most <= 255);
                if is_line && text.format.is_none() {
                    text.pattern = Some(LINE.to_owned());
                }
            }
            _ => {}
        }
    }
}

/// Which grants and scopes there are. The words stand in the form itself: some generators of clients find no others in
/// a form.
fn add_words_of_grants(form: &mut Object) {
    let scopes = Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join("|");
    for (name, field) in &mut form.properties {
        let RefOr::T(Schema::Object(field)) = field else { continue };
        match name.as_str() {
            "grant_type" => {
                field.enum_values = Some(GrantType::ALL.iter().map(|grant| grant.as_str().into()).collect())
            }
            "scope" => field.pattern = Some(format!("^(({scopes})( ({scopes}))*)?$")),
            _ => {}
        }
    }
}

/// The closed table of codes, and the members that a problem has with some of them alone.
fn add_members(problem: &mut Object) {
    if let Some(RefOr::T(Schema::Object(code))) = problem.properties.get_mut("code") {
        code.enum_values = Some(Code::ALL.iter().map(|code| code.as_str().into()).collect());
    }
    let number =
        || ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    let text = |said: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(said));
    let legal = ArrayBuilder::new()
        .items(Ref::from_schema_name("Status"))
        .description(Some("With `illegal_transition`: the statuses that the ticket can go to."));
    let existing = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("id", Ref::from_schema_name("TicketId"))
        .property("number", number())
        .required("id")
        .required("number")
        .description(Some("With `duplicate_external_id`: the ticket that has it."));
    let retry_after = number()
        .minimum(Some(1))
        .description(Some("With `rate_limited`: in how many seconds to try again, as `Retry-After` says."));
    let error = text("From the token endpoint and with 401: the word of RFC 6749, 5.2, or RFC 6750, 3.1.");
    let error_description = text("From the token endpoint: the same as `detail` (RFC 6749, 5.2).");
    let version =
        number().minimum(Some(1)).description(Some("With `version_mismatch`: the version that the resource has now."));
    let scope = text("With `insufficient_scope`: the scope that the token lacks, or several, separated by blanks.");
    let roles = ArrayBuilder::new()
        .items(Ref::from_schema_name("Role"))
        .description(Some("With `forbidden`: the roles that may do this."));
    let members: [(&str, RefOr<Schema>); 8] = [
        ("version", version.into()),
        ("scope", scope.into()),
        ("roles", roles.into()),
        ("legal", legal.into()),
        ("existing", existing.into()),
        ("retry_after_s", retry_after.into()),
        ("error", error.into()),
        ("error_description", error_description.into()),
    ];
    problem.properties.extend(members.map(|(name, schema)| (name.to_owned(), schema)));
}
