//! Columns as values.

use std::sync::Arc;

use mysql::prelude::{FromValue, Queryable};
use mysql::{Conn, Params, Row, Value};
use ring::digest::{SHA256, digest};

use super::fault::DatabaseFault;

/// Reads one column, which is then gone from the row: what is large is not copied.
pub(crate) fn get<T: FromValue>(row: &mut Row, column: &str) -> Result<T, DatabaseFault> {
    match row.take_opt(column) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) => {
            Err(DatabaseFault::Unreadable(format!("column {column} does not hold what it should")))
        }
        None => Err(DatabaseFault::Unreadable(format!("there is no column {column}"))),
    }
}

/// A text that is shared afterwards.
pub(super) fn shared(row: &mut Row, column: &str) -> Result<Arc<str>, DatabaseFault> {
    get::<String>(row, column).map(Arc::from)
}

/// The rows of a query.
pub(crate) fn all<T>(
    conn: &mut Conn,
    sql: &str,
    params: impl Into<Params>,
    mut record: impl FnMut(&mut Row) -> Result<T, DatabaseFault>,
) -> Result<Vec<T>, DatabaseFault> {
    let mut found = Vec::new();
    for row in conn.exec_iter(sql, params)? {
        found.push(record(&mut row?)?);
    }
    Ok(found)
}

/// The row of a query that has at most one.
pub(crate) fn one<T>(
    conn: &mut Conn,
    sql: &str,
    params: impl Into<Params>,
    record: impl FnOnce(&mut Row) -> Result<T, DatabaseFault>,
) -> Result<Option<T>, DatabaseFault> {
    let found: Option<Row> = conn.exec_first(sql, params)?;
    found.map(|mut row| record(&mut row)).transpose()
}

/// The number that a query returns; 0 for none.
pub(crate) fn number(conn: &mut Conn, sql: &str, params: impl Into<Params>) -> Result<u64, DatabaseFault> {
    let found: Option<Option<u64>> = conn.exec_first(sql, params)?;
    Ok(found.flatten().unwrap_or(0))
}

/// What stands for a text in a key: texts of any length have the same size there, and are compared byte by byte.
pub(crate) fn key_of(text: &str) -> Value {
    Value::Bytes(digest(&SHA256, text.as_bytes()).as_ref().to_vec())
}

/// Numbers as the inside of `IN (…)`; 0, which no row has, for none.
pub(crate) fn list(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut text = String::from("0");
    for number in numbers {
        text.push(',');
        text.push_str(&number.to_string());
    }
    text
}
