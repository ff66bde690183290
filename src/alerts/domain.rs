//! Sources of alerts, alerts, and what becomes of what is told of them. Pure.

pub mod alert;
pub mod signal;
pub mod source;
pub mod verdict;

pub use alert::{Alert, AlertOutcome, AlertState};
pub use signal::AlertSignal;
pub use source::{
    AlertGrouping, AlertSource, AlertSourceChange, AlertSourceRef, MOST_SOURCES, NewAlertSource, OnResolve,
};
pub use verdict::{AlertVerdict, Fate, judge};
