//! Questions and their rows.
//!
//! Preparing a statement and stepping through its rows is here once for all queries: inside a function for each kind of
//! record, it would be most of that function's code.

use rusqlite::{Connection, Error, Result, Row, Statement, ToSql};

/// What takes a row.
type Take<'a> = &'a mut dyn FnMut(&Row<'_>) -> Result<()>;

/// The rows of a query that is run again and again.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    record: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut records = Vec::new();
    each(conn, sql, params, &mut |row| {
        records.push(record(row)?);
        Ok(())
    })?;
    Ok(records)
}

/// The row of a query that has at most one.
pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    record: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let mut found = None;
    each(conn, sql, params, &mut |row| {
        found = Some(record(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// The number that a query returns.
pub(super) fn ask(conn: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<i64> {
    one(conn, sql, params, |row| row.get(0))?.ok_or(Error::QueryReturnedNoRows)
}

/// The rows of a query that is run once: its statement is not kept.
pub(super) fn all_once<T>(
    conn: &Connection,
    sql: &str,
    record: impl Fn(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut records = Vec::new();
    each_once(conn, sql, &mut |row| {
        records.push(record(row)?);
        Ok(())
    })?;
    Ok(records)
}

/// Goes through the rows of a query.
pub(super) fn each(conn: &Connection, sql: &str, params: &[&dyn ToSql], take: Take<'_>) -> Result<()> {
    step(&mut *conn.prepare_cached(sql)?, params, take)
}

/// The same for a query that is asked once: its statement is not kept.
pub(super) fn each_once(conn: &Connection, sql: &str, take: Take<'_>) -> Result<()> {
    step(&mut conn.prepare(sql)?, &[], take)
}

fn step(statement: &mut Statement<'_>, params: &[&dyn ToSql], take: Take<'_>) -> Result<()> {
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}
