//! Questions and their rows.
//!
//! Preparing a statement and stepping through its rows is here once for all questions: inside a function for each kind of
//! record, it would be most of that function's code.

use rusqlite::{Connection, Error, Result, Row, Statement, ToSql};

/// What takes a row.
type Take<'a> = &'a mut dyn FnMut(&Row<'_>) -> Result<()>;

/// The records that answer a question, which is asked again and again.
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

/// The record that answers a question, if there is one. The question must be one that has at most one answer.
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

/// The number that answers a question.
pub(super) fn ask(conn: &Connection, sql: &str, params: &[&dyn ToSql]) -> Result<i64> {
    one(conn, sql, params, |row| row.get(0))?.ok_or(Error::QueryReturnedNoRows)
}

/// The records that answer a question which is asked once: its statement is not kept.
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

/// Goes through the rows that answer a question.
pub(super) fn each(conn: &Connection, sql: &str, params: &[&dyn ToSql], take: Take<'_>) -> Result<()> {
    step(&mut *conn.prepare_cached(sql)?, params, take)
}

/// The same for a question that is asked once: its statement is not kept.
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
