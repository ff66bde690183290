//! What people call a ticket.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use crate::kernel::TicketId;
use crate::kernel::fault::{self, Faults};
use crate::kernel::whole::Whole;

/// A ticket by its id or its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketRef {
    /// The UUID.
    Id(TicketId),
    /// The number for humans.
    Number(i64),
}

impl std::str::FromStr for TicketRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be a ticket's id or number";
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Number).map_err(|_| EXPECTED);
        }
        text.parse().map(Self::Id).map_err(|_| EXPECTED)
    }
}

impl Deserr<Faults> for TicketRef {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        match value {
            Value::Integer(number) => Ok(Self::Number(i64::try_from(number).unwrap_or(i64::MAX))),
            Value::Float(_) => {
                Whole::<0, { i64::MAX }>::deserialize_from_value(value, location).map(|n| Self::Number(n.get()))
            }
            value => {
                fault::string(value, location)?.parse().map_err(|detail: &str| Faults::at(location, "invalid", detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_ticket_or_none(text in "(\\PC{0,20}|[-+]?[0-9]{0,20}|[0-9a-f-]{32,36})") {
            if let Ok(TicketRef::Number(number)) = text.parse() {
                let written = number.to_string();
                prop_assert_eq!(text.trim_start_matches('0'), written.trim_start_matches('0'));
            }
        }
    }
}
