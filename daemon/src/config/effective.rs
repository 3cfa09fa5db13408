//! What a file stands for, for people to read.

use toml::{Table, Value};

use super::{DEFAULT, environment_table};

/// What a file stands for over the defaults and below this process's environment, for people to read: not checked.
pub fn effective(file: Table) -> Table {
    let mut all: Table = DEFAULT.parse().unwrap_or_default();
    let environment: Vec<(String, String)> = std::env::vars().collect();
    overlay(&mut all, file);
    overlay(&mut all, environment_table(&environment));
    all
}

fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => drop(below.insert(key, value)),
        }
    }
}
