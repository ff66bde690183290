//! The endpoints of what is promised.

mod policies;

use utoipa_actix_web::service_config::ServiceConfig;

/// Registers the endpoints of this room.
pub fn routes(config: &mut ServiceConfig<'_>) {
    policies::routes(config);
}
