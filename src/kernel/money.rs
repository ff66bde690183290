//! Money: an amount in minor units beside its currency. Amounts of different currencies never meet.

use std::fmt;
use std::str::FromStr;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Faults;
use super::field_error::FieldError;
use super::patch::{Patch, Set};
use super::whole::Whole;

/// The largest amount that is taken, in minor units. What it costs to work a week for it is still a number that every
/// reader of JSON keeps exactly, and hundreds of such weeks add up to one.
pub const MOST_MINOR: i64 = 100_000_000_000;

/// A currency, by its three letters (ISO 4217).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = diesel::sql_types::Text)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The three letters.
    pub fn as_str(&self) -> &str {
        // Capital letters are UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            [a, b, c] if text.bytes().all(|letter| letter.is_ascii_uppercase()) => Ok(Self([*a, *b, *c])),
            _ => Err("must be a currency of ISO 4217 such as EUR: three capital letters"),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str> as Deserialize>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

crate::kernel::fault::deserr_from_str!(Currency);
crate::kernel::sql::word!(Currency);

impl utoipa::PartialSchema for Currency {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A currency, by its three capital letters (ISO 4217)."))
            .pattern(Some("^[A-Z]{3}$"))
            .examples([serde_json::json!("EUR")])
            .build()
            .into()
    }
}
impl ToSchema for Currency {}

/// An amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "amount_minor": 9000, "currency": "EUR" }))]
pub struct Money {
    /// How much, in the currency's minor unit: cents, say.
    #[schema(minimum = 0, examples(9000))]
    pub amount_minor: i64,
    /// Of which currency.
    pub currency: Currency,
}

impl Money {
    /// The money of two columns, which are null together.
    pub fn from_stored(amount_minor: Option<i64>, currency: Option<Currency>) -> Option<Self> {
        Some(Self { amount_minor: amount_minor?, currency: currency? })
    }
}

/// An amount of money, as it is written.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "amount_minor": 9000, "currency": "EUR" }))]
pub struct MoneyInput {
    /// How much, in the currency's minor unit: cents, say.
    #[schema(value_type = i64, minimum = 0, maximum = 100_000_000_000_i64, examples(9000))]
    amount_minor: Whole<0, MOST_MINOR>,
    /// Of which currency.
    currency: Currency,
}

impl Deserr<Faults> for Money {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let MoneyInput { amount_minor, currency } = MoneyInput::deserialize_from_value(value, location)?;
        Ok(Self { amount_minor: amount_minor.get(), currency })
    }
}

/// A merge patch (RFC 7396) of an amount of money, as it is written.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = MoneyPatch, example = json!({ "amount_minor": 9500 }))]
pub struct MoneyPatchInput {
    /// How much, in the currency's minor unit: cents, say. What is left out stays as it is.
    #[deserr(default)]
    #[schema(value_type = Option<i64>, nullable = false, minimum = 0, maximum = 100_000_000_000_i64, examples(9500))]
    amount_minor: Set<Whole<0, MOST_MINOR>>,
    /// Of which currency. What is left out stays as it is.
    #[deserr(default)]
    #[schema(value_type = Option<Currency>, nullable = false)]
    currency: Set<Currency>,
}

/// A merge patch of an amount of money: what is not mentioned stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MoneyPatch {
    amount_minor: Option<i64>,
    currency: Option<Currency>,
}

impl From<Money> for MoneyPatch {
    fn from(money: Money) -> Self {
        Self { amount_minor: Some(money.amount_minor), currency: Some(money.currency) }
    }
}

impl Deserr<Faults> for MoneyPatch {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let MoneyPatchInput { amount_minor, currency } = MoneyPatchInput::deserialize_from_value(value, location)?;
        Ok(Self { amount_minor: amount_minor.0.map(Whole::get), currency: currency.0 })
    }
}

impl Patch<MoneyPatch> {
    /// What becomes of `old`, which stands at `place`; what it would lack joins the faults.
    pub fn merged(self, old: Option<Money>, place: &str, faults: &mut Vec<FieldError>) -> Option<Money> {
        let patch = match self {
            Patch::Absent => return old,
            Patch::Null => return None,
            Patch::Value(patch) => patch,
        };
        let amount_minor = patch.amount_minor.or(old.map(|money| money.amount_minor));
        let currency = patch.currency.or(old.map(|money| money.currency));
        for (name, is_there) in [("amount_minor", amount_minor.is_some()), ("currency", currency.is_some())] {
            if !is_there {
                faults.push(FieldError::new(format!("{place}/{name}"), "required", "is required where there was none"));
            }
        }
        Money::from_stored(amount_minor, currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<Money, Vec<(String, &'static str)>> {
        deserr::deserialize::<Money, _, Faults>(value)
            .map_err(|faults| faults.told().iter().map(|fault| (fault.pointer.clone(), fault.code)).collect())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(amount_minor in 0..=MOST_MINOR, letters in "[A-Z]{3}") {
            let money = Money { amount_minor, currency: letters.parse().map_err(TestCaseError::fail)? };
            let written = serde_json::to_value(money).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(&written, &json!({ "amount_minor": amount_minor, "currency": letters }));
            prop_assert_eq!(read(written), Ok(money));
        }

        #[test]
        fn a_currency_is_three_capital_letters(text in "\\PC{0,4}") {
            let fine = text.len() == 3 && text.chars().all(|c| c.is_ascii_uppercase());
            prop_assert_eq!(text.parse::<Currency>().is_ok(), fine);
        }
    }

    #[test]
    fn a_patch_is_merged_into_what_there_is() {
        let patch = |value: serde_json::Value, old: Option<Money>| {
            let patch = deserr::deserialize::<Patch<MoneyPatch>, _, Faults>(value).expect("a patch");
            let mut faults = Vec::new();
            let money = patch.merged(old, "/rate", &mut faults);
            (money, faults.into_iter().map(|fault| fault.pointer).collect::<Vec<_>>())
        };
        let money =
            |amount_minor, currency: &str| Some(Money { amount_minor, currency: currency.parse().expect("one") });
        let old = money(9000, "EUR");
        assert_eq!(patch(json!({ "amount_minor": 1 }), old), (money(1, "EUR"), vec![]));
        assert_eq!(patch(json!({ "currency": "NOK" }), old), (money(9000, "NOK"), vec![]));
        assert_eq!(patch(json!({}), old), (old, vec![]));
        assert_eq!(patch(json!(null), old), (None, vec![]));
        assert_eq!(patch(json!({ "amount_minor": 1, "currency": "NOK" }), None), (money(1, "NOK"), vec![]));
        assert_eq!(patch(json!({ "amount_minor": 1 }), None), (None, vec!["/rate/currency".to_owned()]));
        let both = vec!["/rate/amount_minor".to_owned(), "/rate/currency".to_owned()];
        assert_eq!(patch(json!({}), None), (None, both));
        assert!(deserr::deserialize::<MoneyPatch, _, Faults>(json!({ "currency": null })).is_err());
    }

    #[test]
    fn every_fault_is_named() {
        let faults = |list: &[(&str, &'static str)]| Err(list.iter().map(|(p, c)| ((*p).to_owned(), *c)).collect());
        let bad = json!({ "amount_minor": -1, "currency": "eur", "sign": "€" });
        assert_eq!(
            read(bad),
            faults(&[("/amount_minor", "invalid"), ("/currency", "invalid"), ("/sign", "unknown_field")])
        );
        assert_eq!(read(json!({})), faults(&[("/amount_minor", "required"), ("/currency", "required")]));
        assert_eq!(read(json!(90)), faults(&[("", "wrong_type")]));
        let large = json!({ "amount_minor": MOST_MINOR + 1, "currency": "EUR" });
        assert_eq!(read(large), faults(&[("/amount_minor", "invalid")]));
    }
}
