//! The endpoints of people, teams and service accounts.

mod service_accounts;
mod teams;
mod users;

use crate::http::Endpoints;

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    users::routes(config);
    teams::routes(config);
    service_accounts::routes(config);
}
