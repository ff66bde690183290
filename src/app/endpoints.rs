//! All endpoints: what is served, and what the document is made of.

use super::{document, health};
use crate::http::Endpoints;

/// Every endpoint that is in the document. Whoever looks for one goes through them in this order: what is asked most
/// comes first.
pub fn routes<E: Endpoints>(config: &mut E) {
    crate::tickets::routes::routes(config);
    crate::overview::routes::routes(config);
    crate::comments::routes::routes(config);
    crate::files::routes::routes(config);
    crate::auth::routes::routes(config);
    crate::bulk::routes::routes(config);
    crate::alerts::routes::routes(config);
    crate::metrics::routes::routes(config);
    crate::changes::routes::routes(config);
    crate::imports::routes::routes(config);
    crate::exports::routes::routes(config);
    crate::webhooks::routes::routes(config);
    crate::time_entries::routes::routes(config);
    crate::people::routes::routes(config);
    crate::sla::routes::routes(config);
    health::routes(config);
    document::routes(config);
}
