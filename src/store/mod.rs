//! Durable state behind one trait: in memory and SQLite.
