//! What is promised and what is measured: calendars, SLA policies, and the clocks of each ticket.

pub mod domain;
