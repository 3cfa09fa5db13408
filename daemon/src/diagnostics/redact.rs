//! What is taken out of a bundle, and what stands there instead.
//!
//! An item or a person becomes `item-` or `person-` and ten digits that are the same in every bundle of this station, so
//! that lines can still be matched, and that nobody can compute elsewhere: the key lies in `diagnostics.key` in the data
//! folder. Names are learned from what is known (sessions, accounts, events) and then found in every text; beyond that
//! whatever looks like a vehicle's number, a token, or a secret in an address goes unseen.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::Value;
use turnstage_cloud_sync::Sha256;

/// Stands for what is taken out.
pub(super) const REMOVED: &str = "(removed)";
/// Shorter items are taken out where they are known to be one, not wherever they stand.
const ITEM_CHARS_MIN: usize = 4;
/// The same for names of persons.
const PERSON_CHARS_MIN: usize = 2;
/// Parts of keys whose values are secrets.
const SECRET: [&str; 7] =
    ["password", "passphrase", "secret", "credential", "token", "api_key", "private_key"];
/// Roles before the names of persons.
const PEOPLE: [&str; 6] = ["operator", "reviewer", "technician", "admin", "cli", "fleet"];
/// Characters of a vehicle's number.
const VIN_CHARS: usize = 17;

/// See the module.
pub(super) struct Redactor {
    key: String,
    /// Words, and what stands for them.
    words: BTreeMap<String, String>,
    /// The same for what is more than a word.
    phrases: BTreeMap<String, String>,
}

impl Redactor {
    /// With the key of a data folder, which is made if there is none; where it cannot be kept, of this bundle alone.
    pub(super) fn of(data: &Path) -> Self {
        let path = data.join("diagnostics.key");
        let key = std::fs::read_to_string(&path).ok().filter(|key| key.len() >= 32).unwrap_or_else(|| {
            let key = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
            let mut options = std::fs::OpenOptions::new();
            let made = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
            if let Err(error) = made.and_then(|mut file| file.write_all(key.as_bytes())) {
                tracing::warn!(%error, "names in this bundle cannot be matched with those of another one");
            }
            key
        });
        Self { key, words: BTreeMap::new(), phrases: BTreeMap::new() }
    }

    fn hashed(&self, kind: &str, text: &str) -> String {
        let hash = Sha256::of(format!("{}\n{kind}\n{text}", self.key).as_bytes()).to_string();
        format!("{kind}-{}", &hash[..10])
    }

    /// What stands for an item.
    pub(super) fn item(&self, item: &str) -> String {
        if item.is_empty() { String::new() } else { self.hashed("item", item) }
    }

    /// What stands for a person's name.
    pub(super) fn person(&self, name: &str) -> String {
        if name.is_empty() { String::new() } else { self.hashed("person", name) }
    }

    /// `technician:tom` without the name; what is no person stays.
    pub(super) fn actor(&self, actor: &str) -> String {
        match actor.split_once(':') {
            Some((role, name)) if PEOPLE.contains(&role) => format!("{role}:{}", self.person(name)),
            _ => actor.to_owned(),
        }
    }

    /// From now on this item is taken out of every text.
    pub(super) fn learn_item(&mut self, item: &str) {
        if item.chars().count() >= ITEM_CHARS_MIN {
            let instead = self.item(item);
            self.learn(item, instead);
        }
    }

    /// The same for a person.
    pub(super) fn learn_person(&mut self, name: &str) {
        if name.chars().count() >= PERSON_CHARS_MIN {
            let instead = self.person(name);
            self.learn(name, instead);
        }
    }

    /// The same for an actor with its role.
    pub(super) fn learn_actor(&mut self, actor: &str) {
        let instead = self.actor(actor);
        if instead != actor {
            self.phrases.insert(actor.to_owned(), instead);
            // Sentences name them without their role.
            let name = actor.split_once(':').map_or("", |(_, name)| name);
            if name != "root" {
                self.learn_person(name);
            }
        }
    }

    fn learn(&mut self, name: &str, instead: String) {
        let place = if name.chars().all(is_word) { &mut self.words } else { &mut self.phrases };
        place.insert(name.to_owned(), instead);
    }

    /// Learns everything that a value holds by keys that are known to name items and persons.
    pub(super) fn learn_from(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, inner) in fields {
                    match (key.as_str(), inner) {
                        ("item" | "next_item", Value::String(item)) => self.learn_item(item),
                        ("actor", Value::String(actor)) => self.learn_actor(actor),
                        ("from", Value::String(from)) if from.parse::<IpAddr>().is_ok() => {
                            let instead = self.hashed("address", from);
                            self.learn(from, instead);
                        }
                        ("accept" | "accepted", Value::Object(by)) => {
                            by.get("name")
                                .and_then(Value::as_str)
                                .iter()
                                .for_each(|name| self.learn_person(name));
                        }
                        _ => self.learn_from(inner),
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|inner| self.learn_from(inner)),
            _ => {}
        }
    }

    /// Takes out of a value what its keys say that it is, and what is found in its texts.
    pub(super) fn value(&self, value: &mut Value) {
        self.under("", value);
    }

    fn under(&self, key: &str, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.keyed(key, text),
            Value::Array(all) => all.iter_mut().for_each(|inner| self.under(key, inner)),
            Value::Object(fields) if matches!(key, "accept" | "accepted") => {
                for (key, inner) in fields.iter_mut() {
                    let Value::String(text) = inner else { continue };
                    *text = match key.as_str() {
                        "name" => self.person(text),
                        // People write names, too.
                        _ => format!("({} characters)", text.chars().count()),
                    };
                }
            }
            Value::Object(fields) => fields.iter_mut().for_each(|(key, inner)| self.under(key, inner)),
            _ if is_secret(key) => *value = REMOVED.into(),
            _ => {}
        }
    }

    fn keyed(&self, key: &str, text: &str) -> String {
        match key {
            "item" | "next_item" => self.item(text),
            "actor" => self.actor(text),
            "who" | "login" | "person" => self.person(text),
            "from" | "to" => match text.parse::<IpAddr>() {
                Ok(_) => self.hashed("address", text),
                Err(_) => self.text(text),
            },
            _ if is_secret(key) => REMOVED.to_owned(),
            _ => self.text(text),
        }
    }

    /// Takes out of a text whatever is known or looks like it.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = without_secrets_in_addresses(text);
        // The longest first: one may be a part of another.
        let mut phrases: Vec<_> = self.phrases.iter().collect();
        phrases.sort_by_key(|(phrase, _)| std::cmp::Reverse(phrase.len()));
        for (phrase, instead) in phrases {
            if text.contains(phrase.as_str()) {
                text = replaced(&text, phrase, instead);
            }
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(begin) = rest.find(is_word) {
            let (before, from) = rest.split_at(begin);
            let (word, after) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
            out.push_str(before);
            self.word(word, &mut out);
            rest = after;
        }
        out.push_str(rest);
        out
    }

    /// A run of letters, digits and the signs `-_.`: whole, or each of its parts.
    fn word(&self, word: &str, out: &mut String) {
        if looks_like_token(word) {
            out.push_str(REMOVED);
            return;
        }
        if let Some(instead) = self.words.get(word) {
            out.push_str(instead);
            return;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let (part, after) =
                rest.split_at(rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len()));
            match self.words.get(part) {
                Some(instead) => out.push_str(instead),
                None if looks_like_vin(part) => out.push_str(&self.item(part)),
                None => out.push_str(part),
            }
            let sign = after.chars().next().map_or(0, char::len_utf8);
            out.push_str(&after[..sign]);
            rest = &after[sign..];
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "-_.".contains(c)
}

/// A key whose value is a secret; the name of a file that holds one is none.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase().replace('-', "_");
    !key.ends_with("_file") && SECRET.iter().any(|part| key.contains(part))
}

/// 17 capitals and digits, some of each; the check digit is Americans' alone.
fn looks_like_vin(word: &str) -> bool {
    let good = |byte: u8| (byte.is_ascii_uppercase() && !b"IOQ".contains(&byte)) || byte.is_ascii_digit();
    word.len() == VIN_CHARS
        && word.bytes().all(good)
        && word.bytes().any(|byte| byte.is_ascii_digit())
        && word.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// A signed token: `eyJ…` and two more parts.
fn looks_like_token(word: &str) -> bool {
    word.starts_with("eyJ") && word.matches('.').count() >= 2
}

/// `phrase` where it does not stand within a longer word.
fn replaced(text: &str, phrase: &str, instead: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(phrase) {
        let (before, from) = rest.split_at(at);
        let after = &from[phrase.len()..];
        let within = before.chars().next_back().is_some_and(char::is_alphanumeric)
            || after.chars().next().is_some_and(char::is_alphanumeric);
        out.push_str(before);
        out.push_str(if within { phrase } else { instead });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Addresses lose their user, password, query and fragment.
pub(super) fn without_secrets_in_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from) = rest.split_at(at + 3);
        out.push_str(before);
        let end = from.find(|c: char| c.is_whitespace() || "\"'<>`\\{}".contains(c)).unwrap_or(from.len());
        let (address, after) = from.split_at(end);
        let (address, query) = match address.find(['?', '#']) {
            Some(at) => (&address[..at], true),
            None => (address, false),
        };
        let (host, path) = address.split_at(address.find('/').unwrap_or(address.len()));
        match host.rsplit_once('@') {
            Some((_, host)) => out.extend([REMOVED, "@", host]),
            None => out.push_str(host),
        }
        out.push_str(path);
        if query {
            out.extend(["?", REMOVED]);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
