//! Where rooms register their endpoints.

use actix_web::dev::HttpServiceFactory;
use actix_web::web;
use utoipa_actix_web::OpenApiFactory;
use utoipa_actix_web::service_config::ServiceConfig;

/// Takes endpoints: to serve them, or to document them.
pub trait Endpoints {
    /// Takes one more.
    fn service<F: HttpServiceFactory + OpenApiFactory + 'static>(&mut self, endpoint: F) -> &mut Self;
}

/// For a worker thread. It needs no document, which takes megabytes to make.
impl Endpoints for web::ServiceConfig {
    fn service<F: HttpServiceFactory + OpenApiFactory + 'static>(&mut self, endpoint: F) -> &mut Self {
        web::ServiceConfig::service(self, endpoint)
    }
}

/// For the document.
impl Endpoints for ServiceConfig<'_> {
    fn service<F: HttpServiceFactory + OpenApiFactory + 'static>(&mut self, endpoint: F) -> &mut Self {
        ServiceConfig::service(self, endpoint)
    }
}
