//! Layouts proven against `wit-parser`.
