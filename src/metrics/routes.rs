//! The endpoints of metrics.

mod prometheus;
mod reports;

use crate::http::Endpoints;

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    reports::routes(config);
    prometheus::routes(config);
}
