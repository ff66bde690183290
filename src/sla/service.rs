//! The use cases of clocks: they follow what happens to tickets, and what is configured.

mod calendars;
mod clocks;
mod correction;
mod explain;
mod notices;
mod policies;

pub use calendars::{
    change_calendar, create_calendar, delete_calendar, import_holidays, list_calendar_versions, list_calendars,
    read_calendar,
};
pub use clocks::{Near, begin, follow, follow_edits, lapsed, near, pending_tickets, policy_of, write_down_breaches};
pub use correction::{correct, correction};
pub use explain::explain;
pub use notices::tell_promises;
pub use policies::{
    change_policy, create_policy, delete_policy, list_policies, list_policy_versions, preview_policy, read_policy,
};
