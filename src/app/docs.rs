//! The documentation page at `/docs/`: what stands in `src/app/docs`, which shows what `/openapi.json` says.
//!
//! It is written by hand, without a library: it asks no other host for anything, and opens at once.

use std::sync::LazyLock;

use actix_web::{get, web};

use super::fixed_text::FixedText;
use crate::http::Answer;
use crate::kernel::Problem;

/// What the page is made of. A file stands behind those that it names.
const SOURCES: [(&str, &str); 7] = [
    ("page.css", include_str!("docs/page.css")),
    ("elements.js", include_str!("docs/elements.js")),
    ("markdown.js", include_str!("docs/markdown.js")),
    ("schemas.js", include_str!("docs/schemas.js")),
    ("account.js", include_str!("docs/account.js")),
    ("operations.js", include_str!("docs/operations.js")),
    ("page.js", include_str!("docs/page.js")),
];

/// The page may use its own files, and ask this service alone.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The name of a file has the fingerprint of what is in it, so that it may be kept for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A file of the page.
struct PageFile {
    source: &'static str,
    name: String,
    content: FixedText,
}

static FILES: LazyLock<Vec<PageFile>> = LazyLock::new(|| {
    let mut files: Vec<PageFile> = Vec::new();
    for (source, text) in SOURCES {
        let (stem, extension) = source.split_once('.').unwrap_or((source, ""));
        let media_type = if extension == "css" { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        let content = FixedText::new(media_type, with_names(text, &files));
        let name = format!("{stem}-{}.{extension}", content.fingerprint());
        files.push(PageFile { source, name, content });
    }
    files
});

static PAGE: LazyLock<FixedText> =
    LazyLock::new(|| FixedText::new("text/html; charset=utf-8", with_names(include_str!("docs/index.html"), &FILES)));

/// `text`, which names `files` by the names that they are served by.
fn with_names(text: &str, files: &[PageFile]) -> String {
    files.iter().fold(text.to_owned(), |text, file| {
        text.replace(&format!("\"./{}\"", file.source), &format!("\"./{}\"", file.name))
    })
}

/// Registers the page and its files. The document does not have them: they show it.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::redirect("/docs", "/docs/")).service(get_page).service(get_file);
}

#[get("/docs/")]
async fn get_page() -> Answer {
    Ok(PAGE.reply("no-cache")?.header("content-security-policy", CONTENT_SECURITY_POLICY.to_owned()))
}

#[get("/docs/{file}")]
async fn get_file(name: web::Path<String>) -> Answer {
    let file = FILES.iter().find(|file| file.name == *name).ok_or_else(Problem::not_found)?;
    file.content.reply(FOR_EVER)
}
