//! Points in time, in UTC, to the microsecond: what both databases store without loss.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::FieldError;
use super::sql::Moment;

/// A point in time in UTC, truncated to microseconds on entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, AsExpression, FromSqlRow)]
#[diesel(sql_type = Moment)]
pub struct Instant(i64);

/// By how many seconds the clock of a sender may be fast.
pub const FAST_CLOCK_S: i64 = 60;

impl Instant {
    /// 1970-01-01T00:00:00Z, the earliest instant that clients may give.
    pub const EPOCH: Instant = Instant(0);
    /// 9999-12-30T22:00:00Z, the last instant whose local time has four digits of year in every zone.
    const LATEST_US: i64 = 253_402_207_200_000_000;
    /// Stands where an instant must stand and none will come: later than all others.
    pub const NEVER: Instant = Instant(Self::LATEST_US);

    /// The instant `us` microseconds after 1970, kept within the years that RFC 3339 can write.
    pub fn from_micros(us: i64) -> Self {
        Self(us.clamp(-Self::LATEST_US / 4, Self::LATEST_US))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, as JWT's NumericDate wants them (RFC 7519).
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant, which a client has told by its own clock: one that is a little fast is taken for right, and what
    /// it says to come is now.
    ///
    /// # Errors
    /// What is wrong with an instant that is further in the future than [`FAST_CLOCK_S`].
    pub fn by_senders_clock(self, now: Self) -> Result<Self, FieldError> {
        if self > now.plus_s(FAST_CLOCK_S) {
            return Err(FieldError::of_value("invalid", "must not be in the future"));
        }
        Ok(self.min(now))
    }

    /// This instant moved by `s` seconds; saturates.
    pub fn plus_s(self, s: i64) -> Self {
        Self::from_micros(self.0.saturating_add(s.saturating_mul(1_000_000)))
    }
}

impl From<Timestamp> for Instant {
    fn from(t: Timestamp) -> Self {
        Self::from_micros(t.as_microsecond())
    }
}

impl fmt::Display for Instant {
    /// RFC 3339 with `Z`, always with six fractional digits: the order of texts is that of instants.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(t) => write!(f, "{t:.6}"),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl FromStr for Instant {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || {
            let detail = "must be an RFC 3339 time such as 2026-03-01T09:30:00Z, from 1970 to 9999-12-30T22:00:00Z";
            FieldError::from(detail).with("format", "date-time")
        };
        if text.len() > 40 || !has_the_form_of_rfc_3339(text.as_bytes()) {
            return Err(expected());
        }
        let instant: Self = text.parse::<Timestamp>().map_err(|_| expected())?.into();
        // A leap second comes at the end of a day alone, and counts as the second before.
        let ends_a_day = instant.0.div_euclid(1_000_000).rem_euclid(86_400) == 86_399;
        if instant < Self::EPOCH || (&text[17..19] == "60" && !ends_a_day) { Err(expected()) } else { Ok(instant) }
    }
}

/// Whether `text` is put together as RFC 3339 (5.6) has it: jiff takes much of ISO 8601 and RFC 9557 besides, such as
/// bracketed zones, a comma, times without seconds and offsets of more than a day.
fn has_the_form_of_rfc_3339(text: &[u8]) -> bool {
    fn fits(text: &[u8], form: &[u8]) -> bool {
        let fits_one = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
        text.len() == form.len() && text.iter().zip(form).all(fits_one)
    }
    let Some((date, rest)) = text.split_at_checked(10) else { return false };
    let Some(([separator, time @ ..], rest)) = rest.split_at_checked(9) else { return false };
    let rest = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        rest => rest,
    };
    let is_zone = match rest {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => fits(offset, b"00:00") && offset < b"24".as_slice() && offset[3] < b'6',
        _ => false,
    };
    fits(date, b"0000-00-00") && matches!(separator, b'T' | b't' | b' ') && fits(time, b"00:00:00") && is_zone
}

impl serde::Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Instant {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

crate::kernel::fault::deserr_from_str!(Instant);

impl utoipa::PartialSchema for Instant {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, in UTC. Written with `Z` and always six digits of a second, so that the order of texts is that of times."))
            .examples([serde_json::json!("2026-03-01T09:30:00.000000Z")])
            .build()
            .into()
    }
}
impl utoipa::ToSchema for Instant {}

/// PostgreSQL counts microseconds from 2000-01-01.
const PG_EPOCH_US: i64 = 946_684_800_000_000;

impl ToSql<Moment, Pg> for Instant {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&(self.micros() - PG_EPOCH_US).to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<Moment, Pg> for Instant {
    fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::from_micros(<i64 as FromSql<BigInt, Pg>>::from_sql(bytes)? + PG_EPOCH_US))
    }
}

impl ToSql<Moment, Sqlite> for Instant {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.micros());
        Ok(IsNull::No)
    }
}

impl FromSql<Moment, Sqlite> for Instant {
    fn from_sql(value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        <i64 as FromSql<BigInt, Sqlite>>::from_sql(value).map(Self::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_rfc_3339_is_read() {
        for bad in [
            "",
            "now",
            "2026-03-01",
            "2026-03-01T09:30",
            "2026-03-01T09:30Z",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
            "12345",
            "2026-03-01T09:30:00+25:00",
            "2026-03-01T09:30:00+01",
            "2026-03-01T09:30:00+0100",
            "2026-03-01T09:30:00+01:00:30",
            "2026-03-01T09:30:00+01:60",
            "2026-03-01T09:30:00,5Z",
            "2026-03-01T09:30:00.Z",
            "+002026-03-01T09:30:00Z",
            "2026-03-01T09:30:60Z",
            "2026-03-01T09:30:00Z[UTC]",
            "2026-03-01T09:30:00é",
            "9999-12-31T00:00:00Z",
        ] {
            assert!(bad.parse::<Instant>().is_err(), "{bad}");
        }
        for (good, as_written) in [
            ("2016-12-31t23:59:60z", "2016-12-31T23:59:59.000000Z"),
            ("2017-01-01 00:59:60+01:00", "2016-12-31T23:59:59.000000Z"),
            ("9999-12-30T22:00:00Z", "9999-12-30T22:00:00.000000Z"),
        ] {
            assert_eq!(good.parse::<Instant>().map(|instant| instant.to_string()).as_deref(), Ok(as_written));
        }
        let instant: Instant = "2026-03-01T10:30:00.1234567+01:00".parse().expect("an offset is fine");
        assert_eq!(instant.to_string(), "2026-03-01T09:30:00.123456Z");
    }

    proptest! {
        #[test]
        fn any_text_is_an_instant_or_none(text in "(\\PC{0,50}|[-+]?[0-9]{4,6}-?[0-9]{2}-?[0-9]{2}[Tt _][0-9]{2}:[0-9]{2}(:[0-6][0-9])?([.,][0-9]{0,12})?([Zz]|[-+][0-9]{2}:?[0-9]{2})?)") {
            if let Ok(instant) = text.parse::<Instant>() {
                prop_assert!((0..=Instant::LATEST_US).contains(&instant.micros()));
                prop_assert_eq!(instant.to_string().parse::<Instant>(), Ok(instant));
            }
        }

        #[test]
        fn texts_are_in_the_order_of_instants(one in 0i64..Instant::LATEST_US, other in 0i64..Instant::LATEST_US) {
            let (one, other) = (Instant::from_micros(one), Instant::from_micros(other));
            prop_assert_eq!(one.to_string().cmp(&other.to_string()), one.cmp(&other));
        }

        #[test]
        fn what_is_written_is_read_back(us in 0i64..Instant::LATEST_US) {
            let instant = Instant::from_micros(us);
            prop_assert_eq!(instant.to_string().parse::<Instant>(), Ok(instant));
        }
    }
}
