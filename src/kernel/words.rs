//! Closed vocabularies: an enum that is the same word in JSON, in a query and in the database.

/// Declares an enum of words with its JSON, query, OpenAPI and SQL (TEXT) forms.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$($vdoc:tt)+])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            diesel::expression::AsExpression, diesel::deserialize::FromSqlRow,
        )]
        #[diesel(sql_type = diesel::sql_types::Text)]
        pub enum $name { $($(#[$($vdoc)+])+ $variant,)+ }

        impl $name {
            /// Every word, in its declared order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word as written in JSON and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// What the word means.
            pub const fn doc(self) -> &'static str {
                match self { $($name::$variant => $crate::kernel::words::said!($([$($vdoc)+])+),)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::kernel::FieldError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err($crate::kernel::FieldError::not_one_of([$($word),+])),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str> as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        $crate::kernel::fault::deserr_from_str!($name);
        $crate::kernel::sql::word!($name);

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .enum_values(Some(Self::ALL.iter().map(|w| w.as_str())))
                    .build()
                    .into()
            }
        }
        impl utoipa::ToSchema for $name {}
    };
}
pub(crate) use words;

/// What the doc comments among some attributes say.
macro_rules! said {
    ($([doc = $text:literal])+ $([default])?) => {
        concat!($($text,)+).trim_ascii()
    };
}
pub(crate) use said;
