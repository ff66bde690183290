//! People, teams and service accounts as clients write and see them.

mod service_accounts;
mod teams;
mod users;

pub use service_accounts::{
    NewServiceAccount, ScopeList, ServiceAccountBody, ServiceAccountPatch, ServiceAccountWithSecret,
};
pub use teams::{MemberBody, NewTeamBody, TeamBody, TeamPatch};
pub use users::{MOST_PEOPLE_NAMED, NewUser, UserBody, UserPatch, UserQuery};
