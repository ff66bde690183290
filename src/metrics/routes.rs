//! The endpoints of metrics.

mod prometheus;
mod reports;

use utoipa_actix_web::service_config::ServiceConfig;

/// Registers the endpoints of this room.
pub fn routes(config: &mut ServiceConfig<'_>) {
    reports::routes(config);
    prometheus::routes(config);
}
