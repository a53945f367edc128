//! Many rows with one statement: a group of batches costs a handful of exchanges with the database and not some for each row.

use mysql::prelude::Queryable;
use mysql::{Conn, Params, Value};

use super::fault::DatabaseFault;

/// A table that rows are written to.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// Its columns.
    pub(super) columns: &'static [&'static str],
    /// Whether a row takes the place of the one with the same key.
    pub(super) replaces: bool,
}

/// So many rows go into one statement; fewer kinds of statements than row counts, so that prepared ones serve again.
const PIECES: [usize; 4] = [64, 16, 4, 1];
/// A statement takes no further row when it has this many bytes.
const PIECE_BYTES: usize = 2 << 20;

/// Rows that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Bulk(Vec<BulkRows>);

#[derive(Debug)]
struct BulkRows {
    table: &'static Table,
    rows: Vec<Vec<Value>>,
}

impl Bulk {
    /// Notes a row.
    pub(super) fn add(&mut self, table: &'static Table, row: Vec<Value>) {
        debug_assert_eq!(row.len(), table.columns.len(), "{}", table.name);
        match self.0.iter_mut().find(|waiting| waiting.table.name == table.name) {
            Some(waiting) => waiting.rows.push(row),
            None => self.0.push(BulkRows { table, rows: vec![row] }),
        }
    }

    /// Writes what waits for a table.
    pub(super) fn flush(&mut self, conn: &mut Conn, table: &'static Table) -> Result<(), DatabaseFault> {
        match self.0.iter_mut().find(|waiting| waiting.table.name == table.name) {
            Some(waiting) => waiting.flush(conn),
            None => Ok(()),
        }
    }

    /// Writes everything that waits.
    pub(super) fn flush_all(&mut self, conn: &mut Conn) -> Result<(), DatabaseFault> {
        self.0.iter_mut().try_for_each(|waiting| waiting.flush(conn))
    }
}

impl BulkRows {
    fn flush(&mut self, conn: &mut Conn) -> Result<(), DatabaseFault> {
        let rows = std::mem::take(&mut self.rows);
        let sizes: Vec<usize> = rows.iter().map(|row| row.iter().map(bytes).sum()).collect();
        let mut rows = rows.into_iter();
        let mut done = 0;
        while let Some(piece) = next_piece(&sizes[done..]) {
            let values = rows.by_ref().take(piece).flatten().collect();
            conn.exec_drop(statement(self.table, piece), Params::Positional(values))?;
            done += piece;
        }
        Ok(())
    }
}

/// How many of the rows of these sizes go into the next statement; none when there are none.
fn next_piece(sizes: &[usize]) -> Option<usize> {
    let fits = |piece: &usize| {
        let piece = sizes.get(..*piece);
        piece.is_some_and(|sizes| sizes.len() == 1 || sizes.iter().sum::<usize>() <= PIECE_BYTES)
    };
    PIECES.into_iter().find(fits)
}

/// What a value takes on the wire, about.
fn bytes(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len() + 9,
        _ => 9,
    }
}

fn statement(table: &Table, rows: usize) -> String {
    let row = format!("({})", vec!["?"; table.columns.len()].join(","));
    let columns = table.columns.join(",");
    let rows = vec![row.as_str(); rows].join(",");
    let mut text = format!("INSERT INTO {} ({columns}) VALUES {rows}", table.name);
    if table.replaces {
        let replaced: Vec<String> =
            table.columns.iter().map(|column| format!("{column}=VALUES({column})")).collect();
        text.push_str(" ON DUPLICATE KEY UPDATE ");
        text.push_str(&replaced.join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_together_by_number_and_by_bytes() {
        for (case, sizes, expected) in [
            ("none", vec![], None),
            ("one", vec![1], Some(1)),
            ("one that is large", vec![PIECE_BYTES + 1], Some(1)),
            ("three", vec![1; 3], Some(1)),
            ("five", vec![1; 5], Some(4)),
            ("two hundred", vec![1; 200], Some(64)),
            ("four that fill it", vec![PIECE_BYTES / 4; 4], Some(4)),
            ("four that do not fit", vec![PIECE_BYTES / 4 + 1; 4], Some(1)),
        ] {
            assert_eq!(next_piece(&sizes), expected, "{case}");
        }
    }

    #[test]
    fn a_statement_has_a_place_for_every_value() {
        let table = Table { name: "t", columns: &["a", "b"], replaces: false };
        assert_eq!(statement(&table, 2), "INSERT INTO t (a,b) VALUES (?,?),(?,?)");
        let replacing = Table { replaces: true, ..table };
        let expected = "INSERT INTO t (a,b) VALUES (?,?) ON DUPLICATE KEY UPDATE a=VALUES(a),b=VALUES(b)";
        assert_eq!(statement(&replacing, 1), expected);
    }
}
