//! Queries of people, teams and service accounts.

pub mod service_accounts;
pub mod teams;
pub mod users;
pub mod words;

/// The word for people in `principals.kind`.
const PERSON: &str = "person";

/// The word for service accounts in `principals.kind`.
const SERVICE_ACCOUNT: &str = "service_account";
