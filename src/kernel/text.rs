//! Text that people write, checked once where it enters.

use std::fmt;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::fault::{self, Faults};
use super::field_error::FieldError;

/// One line of text: `MIN` to `MAX` characters (Unicode scalar values), no control characters, not blank.
#[derive(Clone, PartialEq, Eq)]
pub struct Line<const MAX: usize>(String);

impl<const MAX: usize> Line<MAX> {
    /// Takes `text` if it is a proper line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: String) -> Result<Self, FieldError> {
        if text.trim().is_empty() {
            return Err(FieldError::of_value("too_short", "must not be blank").with("min", 1));
        }
        if text.chars().count() > MAX {
            let fault = FieldError::of_value("too_long", format!("must have at most {MAX} characters"));
            return Err(fault.with("max", MAX).with("unit", "characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(FieldError::of_value("invalid", "must be one line without control characters"));
        }
        Ok(Self(text))
    }

    /// The text itself.
    pub fn into_inner(self) -> String {
        self.0
    }

    /// The text itself, borrowed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text of any number of lines: at most `MAX` bytes of UTF-8, without NUL (which PostgreSQL cannot store).
#[derive(Clone, PartialEq, Eq)]
pub struct Prose<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> Prose<MIN, MAX> {
    /// Takes `text` if it is storable.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: String) -> Result<Self, FieldError> {
        if MIN > 0 && text.trim().is_empty() {
            return Err(FieldError::of_value("too_short", "must not be blank").with("min", 1));
        }
        if text.len() > MAX {
            let fault = FieldError::of_value("too_long", format!("must have at most {MAX} bytes of UTF-8"));
            return Err(fault.with("max", MAX).with("unit", "bytes"));
        }
        if text.contains('\0') {
            return Err(FieldError::of_value("invalid", "must not contain the character U+0000"));
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself.
    pub fn into_inner(self) -> String {
        self.0
    }
}

/// An email address, in lower case: an address has one owner, however it is typed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// Takes `text` if it looks like an address: one `@` with something on both sides, no spaces, at most
    /// 254 characters (RFC 5321, 4.5.3.1.3). Whether it can be reached is not ours to know.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: String) -> Result<Self, FieldError> {
        let fine = text.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty()
                && !host.is_empty()
                && !host.contains('@')
                && !host.starts_with('.')
                && !host.ends_with('.')
        }) && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        // In lower case a text may be longer than before.
        let text = text.to_lowercase();
        if fine && text.chars().count() <= 254 {
            Ok(Self(text))
        } else {
            Err(FieldError::of_value("invalid", "must be an email address such as ada@example.org"))
        }
    }

    /// The address, in lower case.
    pub fn into_inner(self) -> String {
        self.0
    }

    /// The address, in lower case, borrowed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! read_by_parse {
    ([$($generics:tt)*] $name:ty) => {
        impl<$($generics)*> Deserr<Faults> for $name {
            fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
                let text = fault::string(value, location)?;
                Self::parse(text).map_err(|fault| Faults::of_value(location, fault))
            }
        }

        /// Personal text stays out of logs: only its length is shown.
        impl<$($generics)*> fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "<{} bytes>", self.0.len())
            }
        }
    };
}

read_by_parse!([const MAX: usize] Line<MAX>);
read_by_parse!([const MIN: usize, const MAX: usize] Prose<MIN, MAX>);
read_by_parse!([] Email);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_taken_is_taken_again(text: String, address in "\\PC{1,260}@\\PC{1,5}") {
            for text in [text, address] {
                if let Ok(Line(line)) = Line::<20>::parse(text.clone()) {
                    prop_assert_eq!(&line, &text);
                    prop_assert!(line.chars().count() <= 20 && !line.trim().is_empty() && !line.contains(['\n', '\0']));
                }
                if let Ok(Prose(prose)) = Prose::<1, 40>::parse(text.clone()) {
                    prop_assert_eq!(&prose, &text);
                    prop_assert!(prose.len() <= 40 && !prose.contains('\0'));
                }
                if let Ok(email) = Email::parse(text) {
                    prop_assert!(email.as_str().chars().count() <= 254);
                    prop_assert!(Email::parse(email.as_str().to_owned()) == Ok(email));
                }
            }
        }
    }

    #[test]
    fn an_address_may_grow_in_lower_case_but_not_over_its_limit() {
        let address = |capitals: usize| Email::parse(format!("{}@example.org", "\u{130}".repeat(capitals)));
        assert_eq!(address(121).map(|email| email.as_str().chars().count()).ok(), Some(254));
        assert!(address(122).is_err());
    }
}
