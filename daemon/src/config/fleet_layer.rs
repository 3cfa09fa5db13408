//! The fleet's layer: what a manager wants otherwise than the file of the station, and the fleet's recipes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use toml::{Table, Value};

use super::{ConfigError, Problem};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct FleetLayer {
    version: u64,
    table: Table,
    recipes: BTreeMap<String, String>,
}

impl FleetLayer {
    /// Of a document: sections with keys, and the text of each recipe by name. `Err` names what no key can be, as `null`.
    pub fn read(
        version: u64,
        config: &serde_json::Map<String, serde_json::Value>,
        recipes: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut layer = Self { version, table: Table::new(), recipes: recipes.clone() };
        let (name, mut problems) = (layer.name(), Vec::new());
        layer.table = table_of(config, "", &mut |key, what| {
            problems.push(Problem { layer: name.clone(), key, what });
        });
        if problems.is_empty() { Ok(layer) } else { Err(ConfigError { problems }) }
    }

    /// What it is called where something in it is wrong.
    pub fn name(&self) -> String {
        Self::name_of(self.version)
    }

    /// The same of a version's number.
    pub fn name_of(version: u64) -> String {
        format!("the fleet's configuration, version {version}")
    }

    /// Sections with keys.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The fleet's recipes.
    pub fn recipes(&self) -> FleetRecipes {
        FleetRecipes(Arc::new(RwLock::new(Arc::new(self.recipes.clone()))))
    }

    /// Full keys whose values differ from another layer's, those that only one of both sets included.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let (mine, theirs) = (keys(&self.table), keys(&other.table));
        let all: BTreeSet<_> = mine.keys().chain(theirs.keys()).collect();
        all.into_iter().filter(|key| mine.get(*key) != theirs.get(*key)).cloned().collect()
    }
}

fn table_of(
    map: &serde_json::Map<String, serde_json::Value>,
    path: &str,
    tell: &mut dyn FnMut(String, String),
) -> Table {
    let mut table = Table::new();
    for (name, value) in map {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some(value) = value_of(value, &key, tell) {
            table.insert(name.clone(), value);
        }
    }
    table
}

fn value_of(value: &serde_json::Value, key: &str, tell: &mut dyn FnMut(String, String)) -> Option<Value> {
    use serde_json::Value as Json;
    match value {
        Json::Null => {
            tell(key.to_owned(), "is null; leave it out to have what the station's file says".to_owned());
            None
        }
        Json::Bool(truth) => Some(Value::Boolean(*truth)),
        Json::String(text) => Some(Value::String(text.clone())),
        Json::Array(all) => {
            Some(Value::Array(all.iter().filter_map(|one| value_of(one, key, tell)).collect()))
        }
        Json::Object(map) => Some(Value::Table(table_of(map, key, tell))),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Some(Value::Integer(whole)),
            (None, Some(broken)) if !number.is_u64() => Some(Value::Float(broken)),
            _ => {
                tell(key.to_owned(), format!("{number} is too large"));
                None
            }
        },
    }
}

/// Every value by its full key; an empty section is one.
pub(super) fn keys(table: &Table) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                found.extend(keys(inner).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            other => {
                found.insert(name.clone(), other.clone());
            }
        }
    }
    found
}

/// The fleet's recipes by name, as text. Whoever holds a clone sees a new set at once.
#[derive(Debug, Clone, Default)]
pub struct FleetRecipes(Arc<RwLock<Arc<BTreeMap<String, String>>>>);

impl FleetRecipes {
    /// All of them.
    pub fn all(&self) -> Arc<BTreeMap<String, String>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another set in their place, for every holder.
    pub fn exchange(&self, with: BTreeMap<String, String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(with);
    }
}

impl PartialEq for FleetRecipes {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}
