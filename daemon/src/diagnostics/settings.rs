//! The configuration for a bundle: parsed and written anew, so that no comment of a person stays in it.

use std::path::Path;

use toml::{Table, Value};

use super::redact::{REMOVED, is_secret, without_secrets_in_addresses};
use crate::config;

/// The file as it was loaded, and everything in use with it: what stands for each in the bundle.
pub(super) fn read(data: &Path) -> [String; 2] {
    let kept = data.join("last-good.toml");
    let text = match std::fs::read_to_string(&kept) {
        Ok(text) => text,
        Err(error) => return [format!("# not available: {error}\n"), effective(Table::new())],
    };
    match text.parse::<Table>() {
        Ok(table) => [written(table.clone()), effective(table)],
        // Not the parser's own words: they show the line.
        Err(_) => ["# not available: it cannot be read as TOML\n".to_owned(), effective(Table::new())],
    }
}

fn effective(file: Table) -> String {
    written(config::effective(file))
}

fn written(mut table: Table) -> String {
    table.iter_mut().for_each(|(key, value)| redact(key, value));
    toml::to_string(&table).unwrap_or_else(|error| format!("# not available: {error}\n"))
}

fn redact(key: &str, value: &mut Value) {
    match value {
        Value::Table(inner) => inner.iter_mut().for_each(|(key, value)| redact(key, value)),
        Value::Array(all) => all.iter_mut().for_each(|value| redact(key, value)),
        Value::String(text) if text.is_empty() => {}
        _ if is_secret(key) => *value = REMOVED.into(),
        Value::String(text) => *text = without_secrets_in_addresses(text),
        _ => {}
    }
}
