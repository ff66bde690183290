//! The endpoints of people, teams and service accounts.

mod service_accounts;
mod teams;
mod users;

use utoipa_actix_web::service_config::ServiceConfig;

/// Registers the endpoints of this room.
pub fn routes(config: &mut ServiceConfig<'_>) {
    users::routes(config);
    teams::routes(config);
    service_accounts::routes(config);
}
