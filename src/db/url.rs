//! Where the data lies.

use std::path::PathBuf;

use super::postgres;
use crate::kernel::secret::Secret;

/// Where the data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://PATH`: one file.
    Sqlite(PathBuf),
    /// `postgres://…` or `postgresql://…`.
    Postgres(Secret<String>),
}

impl std::str::FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "should be sqlite://PATH (for example sqlite://data/skranke.db) or postgres://USER:PASSWORD@HOST/DATABASE";
        match url.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() && !path.starts_with(':') => {
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            Some(("postgres" | "postgresql", _)) => match postgres::url::parse(url) {
                Ok(_) => Ok(Self::Postgres(Secret::new(url.to_owned()))),
                Err(what) => Err(format!("{EXPECTED}: {what}")),
            },
            _ => Err(EXPECTED.into()),
        }
    }
}
