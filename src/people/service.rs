//! The use cases of people, teams and service accounts, one function each. The functions that take `tx` run within the
//! caller's transaction.

mod service_accounts;
mod teams;
mod users;

pub use service_accounts::{
    change_account, create_account, find_or_create_account, list_accounts, read_account, revoke_account, rotate_secret,
};
pub use teams::{
    add_member, change_team, create_team, delete_team, list_members, list_teams, read_team, remove_member,
};
pub use users::{
    admit, anonymise, change_person, create_admin, create_known_person, create_person, find_or_create_person,
    find_or_create_requester, find_people, index_waiting_people, list_people, read_person,
};
