//! Writing into the configuration file what `tinclaw setup` was told. Everything else in it stays, comments too.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value as TomlValue};

use super::find::read_file;
use super::layers::Environment;
use super::parse::parse_in;
use crate::channel::replace_file_as;
use crate::cli::output::Failure;

/// The configuration file with changes that are not written yet.
pub struct ConfigEdit {
    path: PathBuf,
    document: DocumentMut,
    before: String,
}

impl ConfigEdit {
    /// Reads the file, which need not exist.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let before = match read_file(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(cannot("read", path, &error)),
        };
        let document = before.parse().map_err(|error| cannot("read", path, &error))?;
        Ok(Self { path: path.to_owned(), document, before })
    }

    /// Sets a value at the top of the file.
    pub fn set(&mut self, key: &str, value: &Value) {
        put(self.document.as_table_mut(), key, value);
    }

    /// Sets a value in `[channel.NAME]`.
    pub fn set_in_channel(&mut self, channel: &str, key: &str, value: &Value) {
        if let Some(table) = self.table(&["channel", channel]) {
            put(table, key, value);
        }
    }

    /// Sets a value in `[channel.NAME.config]`.
    pub fn set_in_config(&mut self, channel: &str, key: &str, value: &Value) {
        if let Some(table) = self.table(&["channel", channel, "config"]) {
            put(table, key, value);
        }
    }

    /// Writes the file when something has changed; says whether it did.
    ///
    /// # Errors
    /// What would be written cannot be read again, or the file cannot be written.
    pub fn save(self) -> Result<bool, Failure> {
        let text = self.document.to_string();
        if text == self.before {
            return Ok(false);
        }
        // Nothing is written that the host would refuse.
        parse_in(&text, &Environment::of_process()).map_err(|error| cannot("changed", &self.path, &error))?;
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|error| cannot("written", parent, &error))?;
        }
        // A link stays one, and a file that only its owner may read too.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let mode = path.metadata().map_or(0o600, |metadata| metadata.permissions().mode());
        replace_file_as(&path, text.as_bytes(), mode).map_err(|error| cannot("written", &path, &error))?;
        Ok(true)
    }

    /// The table at a path of names, which is made when it is not there. None where something else stands.
    fn table(&mut self, path: &[&str]) -> Option<&mut dyn toml_edit::TableLike> {
        let mut table: &mut dyn toml_edit::TableLike = self.document.as_table_mut();
        for (depth, name) in path.iter().enumerate() {
            let new = || {
                let mut new = Table::new();
                // `[channel.telegram.config]` needs no `[channel]` before it.
                new.set_implicit(depth + 1 < path.len());
                Item::Table(new)
            };
            table = table.entry(name).or_insert_with(new).as_table_like_mut()?;
        }
        Some(table)
    }
}

fn put(table: &mut dyn toml_edit::TableLike, key: &str, value: &Value) {
    let Some(mut new) = toml(value) else { return };
    // What stands behind the old value, a comment for instance, stands behind the new one.
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *new.decor_mut() = old.decor().clone();
    }
    if let Some(item) = table.get_mut(key) {
        *item = Item::Value(new);
    } else {
        take_over_blank(table, &mut new);
        table.insert(key, Item::Value(new));
    }
}

/// In `{ x = 1 }` the blank before the bracket belongs to the last value. A new one that follows has it instead.
fn take_over_blank(table: &mut dyn toml_edit::TableLike, new: &mut TomlValue) {
    let Some(last) = table.iter_mut().last().and_then(|(_, item)| item.as_value_mut()) else { return };
    let suffix = last.decor().suffix().and_then(toml_edit::RawString::as_str);
    if let Some(blank) = suffix.filter(|suffix| suffix.trim().is_empty()).map(str::to_owned) {
        last.decor_mut().set_suffix("");
        new.decor_mut().set_suffix(blank);
    }
}

/// The same in TOML, which has no null.
fn toml(value: &Value) -> Option<TomlValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => TomlValue::from(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => TomlValue::from(whole),
            None => TomlValue::from(number.as_f64()?),
        },
        Value::String(text) => TomlValue::from(text.as_str()),
        Value::Array(items) => TomlValue::Array(items.iter().filter_map(toml).collect::<Array>()),
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(name, value)| Some((name.as_str(), toml(value)?)));
            TomlValue::InlineTable(fields.collect::<InlineTable>())
        }
    })
}

fn cannot(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let error = error.to_string();
    Failure::problem(format!("{} cannot be {what}: {}", path.display(), error.trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_support::temp_dir::TempDir;

    fn edited(before: Option<&str>, change: impl FnOnce(&mut ConfigEdit)) -> (bool, String) {
        let place = TempDir::new();
        let path = place.join("conf/tinclaw.toml");
        if let Some(before) = before {
            place.write("conf/tinclaw.toml", before);
        }
        let mut edit = ConfigEdit::open(&path).expect("it can be read");
        change(&mut edit);
        let is_changed = edit.save().expect("it can be written");
        (is_changed, std::fs::read_to_string(path).unwrap_or_default())
    }

    #[test]
    fn a_new_file_has_the_tables_that_are_needed() {
        let (is_changed, text) = edited(None, |edit| {
            edit.set("public_url", &json!("https://a.example"));
            edit.set_in_channel("work", "guest", &json!("telegram"));
            edit.set_in_config("work", "allow_from", &json!([7, "U\"2"]));
            edit.set_in_config("work", "body", &json!({"a": null, "b": 1.5}));
        });
        assert!(is_changed);
        assert_eq!(
            text,
            "public_url = \"https://a.example\"\n\n[channel.work]\nguest = \"telegram\"\n\n[channel.work.config]\n\
             allow_from = [7, 'U\"2']\nbody = { b = 1.5 }\n"
        );
    }

    #[test]
    fn comments_and_other_settings_stay() {
        let before = "# mine\nworkers = 3 # few\n\n[channel.telegram.config] # the bot\ndm_policy = \"open\" # for now\n\n[queue]\nmax_replies = 5\n";
        let (_, text) = edited(Some(before), |edit| {
            edit.set_in_config("telegram", "dm_policy", &json!("pairing"));
            edit.set("workers", &json!(4));
        });
        assert_eq!(text, before.replace("\"open\"", "\"pairing\"").replace("= 3", "= 4"));
        let inline = "channel = { a = { config = { x = 1 } } }\n";
        let (_, text) = edited(Some(inline), |edit| edit.set_in_config("a", "y", &json!(true)));
        assert_eq!(text, "channel = { a = { config = { x = 1, y = true } } }\n");
    }

    #[test]
    fn nothing_is_written_without_a_change() {
        let before = "[channel.a.config]\nx = 'one'\n";
        assert_eq!(edited(Some(before), |_| {}), (false, before.to_owned()));
        assert_eq!(edited(None, |_| {}), (false, String::new()));
    }

    #[test]
    fn invalid_settings_are_not_written() {
        let place = TempDir::new();
        let path = place.write("tinclaw.toml", "workers = 3\n");
        let mut edit = ConfigEdit::open(&path).expect("it can be read");
        edit.set("workers", &json!(0));
        assert!(edit.save().is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "workers = 3\n");
        let broken = place.write("broken.toml", "a = ");
        assert!(ConfigEdit::open(&broken).is_err());
    }
}
