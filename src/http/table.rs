//! Answers as tables of comma-separated values (RFC 4180): one row an item, one column a path of its JSON.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use csv::{Terminator, WriterBuilder};
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::kernel::Problem;

/// The media type of a table.
pub const CONTENT_TYPE: &str = "text/csv; charset=utf-8; header=present";

/// With one of these spreadsheets begin a formula, also in a cell that is quoted (OWASP, CSV injection).
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// The text as a cell that is no formula.
pub fn guarded(text: &str) -> Cow<'_, str> {
    if text.starts_with(FORMULA) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// What can be written as a table.
pub trait Table {
    /// Adds all rows to `table`.
    ///
    /// # Errors
    /// Those of [`TableWriter::add`].
    fn write(&self, table: &mut TableWriter) -> Result<(), Problem>;
}

/// A table that grows by rows. Its columns are those of any of its rows, each after the one that it follows in its row.
#[derive(Debug, Default)]
pub struct TableWriter {
    columns: Columns,
    rows: Vec<RowText>,
}

#[derive(Debug, Default)]
struct Columns {
    /// The columns by their paths.
    by_path: HashMap<String, Column>,
    /// Their places in the header.
    order: Vec<Column>,
}

/// The how-manieth column it was to be found.
type Column = usize;

/// The cells of a row, of which each ends in the text where the next one begins.
#[derive(Debug, Default)]
struct RowText {
    text: String,
    ends: Vec<(Column, usize)>,
}

impl TableWriter {
    /// Adds a row: the values of `item` by their paths, whose parts stand between dots. Places in arrays count from 0.
    ///
    /// # Errors
    /// When `item` cannot be written as JSON.
    pub fn add(&mut self, item: &impl Serialize) -> Result<(), Problem> {
        let row = self.columns.row(item)?;
        self.rows.push(row);
        Ok(())
    }

    /// Makes sure of the columns of `item`, though it is no row: a table without rows has its header all the same.
    ///
    /// # Errors
    /// As [`TableWriter::add`].
    pub fn add_columns(&mut self, item: &impl Serialize) -> Result<(), Problem> {
        self.columns.row(item).map(drop)
    }

    /// The table as text, the header first.
    ///
    /// # Errors
    /// None but of ours.
    pub fn finish(self) -> Result<String, Problem> {
        let Self { columns, rows } = self;
        let mut paths = vec![""; columns.by_path.len()];
        for (path, column) in &columns.by_path {
            paths[*column] = path;
        }
        // A null names a column only where no row has anything within.
        let has_inner = |path: &str| paths.iter().any(|p| p.strip_prefix(path).is_some_and(|p| p.starts_with('.')));
        let mut is_filled = vec![false; paths.len()];
        for (column, cell) in rows.iter().flat_map(RowText::cells) {
            is_filled[column] |= !cell.is_empty();
        }
        let shown: Vec<Column> =
            columns.order.iter().copied().filter(|column| is_filled[*column] || !has_inner(paths[*column])).collect();
        if shown.is_empty() {
            return Ok(String::new());
        }
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
        writer.write_record(shown.iter().map(|column| paths[*column])).map_err(Problem::internal)?;
        for row in &rows {
            let mut cells = vec![""; paths.len()];
            for (column, cell) in row.cells() {
                cells[column] = cell;
            }
            writer.write_record(shown.iter().map(|column| cells[*column])).map_err(Problem::internal)?;
        }
        let mut text = writer.into_inner().map_err(Problem::internal)?;
        // It is kept until it is sent.
        text.shrink_to_fit();
        String::from_utf8(text).map_err(Problem::internal)
    }
}

impl Columns {
    fn row(&mut self, item: &impl Serialize) -> Result<RowText, Problem> {
        // Text keeps the order of the fields.
        let json = serde_json::to_string(item).map_err(Problem::internal)?;
        let mut row = RowText::default();
        let cells = CellVisitor { columns: self, row: &mut row, path: &mut String::new() };
        cells.deserialize(&mut serde_json::Deserializer::from_str(&json)).map_err(Problem::internal)?;
        Ok(row)
    }

    /// The column of a path; a new one stands after `before`.
    fn at(&mut self, path: &str, before: Option<Column>) -> Column {
        if let Some(column) = self.by_path.get(path) {
            return *column;
        }
        let column = self.order.len();
        let place = before.and_then(|before| self.order.iter().position(|c| *c == before)).map_or(0, |place| place + 1);
        self.order.insert(place, column);
        self.by_path.insert(path.to_owned(), column);
        column
    }
}

impl RowText {
    fn cells(&self) -> impl Iterator<Item = (Column, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        starts.zip(&self.ends).map(|(start, (column, end))| (*column, &self.text[start..*end]))
    }
}

/// Takes a JSON value apart into the cells of a row.
struct CellVisitor<'a> {
    columns: &'a mut Columns,
    row: &'a mut RowText,
    /// Where the value is.
    path: &'a mut String,
}

impl CellVisitor<'_> {
    /// Goes on with what is within, at `name`.
    fn within<T>(&mut self, name: &str, go_on: impl FnOnce(CellVisitor<'_>) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let done = go_on(CellVisitor { columns: self.columns, row: self.row, path: self.path });
        self.path.truncate(length);
        done
    }

    fn set(self, text: impl fmt::Display) {
        use fmt::Write;
        let column = self.columns.at(self.path, self.row.ends.last().map(|(column, _)| *column));
        // A String takes all that is written to it.
        let written = write!(self.row.text, "{text}");
        debug_assert!(written.is_ok());
        self.row.ends.push((column, self.row.text.len()));
    }
}

impl<'de> DeserializeSeed<'de> for CellVisitor<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellVisitor<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.set("");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.set(value);
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // As JSON has it.
        self.set(Number::from_f64(value).ok_or_else(|| E::custom("no number"))?);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.set(guarded(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut place = 0;
        while self.within(&place.to_string(), |inner| items.next_element_seed(inner))?.is_some() {
            place += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            self.within(&name, |inner| fields.next_value_seed(inner))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn table(rows: &[Value]) -> String {
        let mut table = TableWriter::default();
        for row in rows {
            table.add(row).expect("a row");
        }
        table.finish().expect("a table")
    }

    #[test]
    fn columns_stand_in_the_order_of_fields() {
        #[derive(Serialize)]
        struct Cost {
            currency: &'static str,
            minor: i64,
        }
        #[derive(Serialize)]
        struct Item {
            key: Option<&'static str>,
            from: i64,
            costs: Vec<Cost>,
            #[serde(flatten)]
            more: More,
        }
        #[derive(Serialize)]
        struct More {
            z: Option<f64>,
            a: bool,
        }
        let cost = |currency, minor| Cost { currency, minor };
        let mut table = TableWriter::default();
        let more = |z| More { z, a: true };
        table.add(&Item { key: Some("x"), from: 1, costs: vec![cost("EUR", 5)], more: more(None) }).expect("a row");
        let costs = vec![cost("EUR", -7), cost("NOK", 8)];
        table.add(&Item { key: None, from: 2, costs, more: more(Some(1.0)) }).expect("a row");
        assert_eq!(
            table.finish().expect("a table"),
            "key,from,costs.0.currency,costs.0.minor,costs.1.currency,costs.1.minor,z,a\r\n\
             x,1,EUR,5,,,,true\r\n,2,EUR,-7,NOK,8,1.0,true\r\n"
        );
    }

    #[test]
    fn a_null_is_a_column_only_if_nothing_is_within() {
        let rows =
            [json!({ "a": { "t": null }, "n": null }), json!({ "a": { "t": { "id": 1, "name": "x" } }, "n": null })];
        assert_eq!(table(&rows), "a.t.id,a.t.name,n\r\n,,\r\n1,x,\r\n");
        assert_eq!(table(&rows[..1]), "a.t,n\r\n,\r\n");
    }

    #[test]
    fn a_table_without_rows_has_a_header() {
        let mut table = TableWriter::default();
        table.add_columns(&json!({ "a": 1, "b": null })).expect("columns");
        assert_eq!(table.finish().expect("a table"), "a,b\r\n");
        assert_eq!(TableWriter::default().finish().expect("a table"), "");
    }

    #[test]
    fn no_text_is_a_formula_and_numbers_stay_numbers() {
        for (value, cell) in [
            (json!("=1+1"), "'=1+1"),
            (json!("+x"), "'+x"),
            (json!("-x"), "'-x"),
            (json!("@x"), "'@x"),
            (json!("\tx"), "'\tx"),
            (json!("＝x"), "'＝x"),
            (json!("\rx"), "\"'\rx\""),
            (json!("=\"a\",b"), "\"'=\"\"a\"\",b\""),
            (json!("a=1"), "a=1"),
            (json!("'x"), "'x"),
            (json!(-1), "-1"),
            (json!(-0.5), "-0.5"),
        ] {
            assert_eq!(table(&[json!({ "a": value, "b": 1 })]), format!("a,b\r\n{cell},1\r\n"));
        }
    }

    /// The cells of a value, told plainly.
    fn plainly(path: &str, value: &Value, cells: &mut Vec<(String, String)>) {
        let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| plainly(&at(name), value, cells)),
            Value::Array(items) => items.iter().enumerate().for_each(|(i, v)| plainly(&at(&i.to_string()), v, cells)),
            Value::Null => {}
            Value::String(text) if text.starts_with(FORMULA) => cells.push((path.to_owned(), format!("'{text}"))),
            Value::String(text) => cells.push((path.to_owned(), text.clone())),
            number => cells.push((path.to_owned(), number.to_string())),
        }
    }

    fn rows() -> impl Strategy<Value = Vec<Value>> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[=+@a,\"'\r\n\t -]{0,4}".prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        let fields = |value| prop::collection::btree_map("[a-d]{1,2}", value, 1..5);
        let value = leaf.prop_recursive(3, 24, 4, move |inner| {
            let object = fields(inner.clone()).prop_map(|fields| json!(fields));
            prop_oneof![object, prop::collection::vec(inner, 0..3).prop_map(Value::from)]
        });
        prop::collection::vec(fields(value.boxed()).prop_map(|fields| json!(fields)), 1..8)
    }

    proptest! {
        /// Whoever reads it back has every value at its path, and nothing else.
        #[test]
        fn a_table_holds_what_its_rows_do(rows in rows()) {
            let text = table(&rows);
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            let header: Vec<String> = reader.headers().expect("a header").iter().map(str::to_owned).collect();
            let unique: std::collections::BTreeSet<_> = header.iter().collect();
            prop_assert_eq!(unique.len(), header.len());
            let read: Vec<_> = reader.records().map(|record| record.expect("a record")).collect();
            // Rows of nothing but empty lists have no columns.
            prop_assert_eq!(read.len(), if header.is_empty() { 0 } else { rows.len() });
            for (record, row) in read.iter().zip(&rows) {
                let mut cells = Vec::new();
                plainly("", row, &mut cells);
                cells.retain(|(_, cell)| !cell.is_empty());
                cells.sort();
                let mut found: Vec<(String, String)> =
                    header.iter().cloned().zip(record.iter().map(str::to_owned)).filter(|(_, c)| !c.is_empty()).collect();
                found.sort();
                prop_assert_eq!(found, cells);
            }
        }
    }
}
