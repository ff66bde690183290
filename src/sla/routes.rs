//! The endpoints of what is promised.

mod calendars;
mod policies;

use crate::http::Endpoints;

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    calendars::routes(config);
    policies::routes(config);
}
