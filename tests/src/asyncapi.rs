//! Holds what goes over a broker against docs/fleet/asyncapi.yaml: which message of which channel a payload is, and
//! everything that its schema does not allow.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

/// The document.
pub const TEXT: &str = include_str!("../../docs/fleet/asyncapi.yaml");

/// Whether the document has this message on this topic; everything that differs.
pub fn check(topic: &str, payload: &[u8]) -> Result<(), String> {
    document().message(topic, payload).map(drop)
}

/// The document of this checkout, read once.
pub fn document() -> &'static Document {
    static DOCUMENT: OnceLock<Document> = OnceLock::new();
    DOCUMENT.get_or_init(|| Document::read(TEXT))
}

/// A document that is held against.
pub struct Document {
    /// All of it.
    pub value: Value,
    channels: Vec<Channel>,
}

struct Channel {
    /// Parts behind `{prefix}`.
    address: Vec<String>,
    messages: BTreeMap<String, Message>,
}

struct Message {
    form: Form,
    payload: Validator,
}

/// How a payload is written.
enum Form {
    Json,
    Text,
    /// Signed: header and claims have schemas of their own.
    Signed {
        header: Validator,
        claims: Validator,
    },
}

impl Document {
    /// Panics over a document that cannot be used: a test is wrong then.
    pub fn read(text: &str) -> Self {
        let value: Value = yaml_serde::from_str(text).expect("the document is YAML");
        let channels = value["channels"].as_object().expect("channels").values();
        let channels = channels.map(|channel| Channel::of(&value, channel)).collect();
        Self { value, channels }
    }

    /// Names of all messages.
    pub fn messages(&self) -> Vec<&String> {
        self.value["components"]["messages"].as_object().expect("messages").keys().collect()
    }

    /// The name of the message that a payload is.
    pub fn message(&self, topic: &str, payload: &[u8]) -> Result<&str, String> {
        let parts: Vec<&str> = topic.split('/').collect();
        // The prefix may have several parts, and `cmd/…/status` ends like `status`: the shortest prefix is meant.
        let matching = self.channels.iter().filter(|channel| channel.is_of(&parts));
        let channel = matching.max_by_key(|channel| channel.address.len());
        let channel = channel.ok_or_else(|| format!("{topic}: no channel has this topic"))?;
        let (mut found, mut wrong) = (None, Vec::new());
        for (name, message) in &channel.messages {
            match message.check(payload) {
                Ok(()) => found = Some(name.as_str()),
                Err(why) => wrong.push(format!("no {name}: {why}")),
            }
        }
        found.ok_or_else(|| format!("{topic}: {}: {}", wrong.join("; "), String::from_utf8_lossy(payload)))
    }
}

impl Channel {
    fn of(document: &Value, channel: &Value) -> Self {
        let address = channel["address"].as_str().expect("an address");
        let address = address.strip_prefix("{prefix}/").expect("an address below the prefix");
        let messages = channel["messages"].as_object().expect("messages").values().map(|reference| {
            let pointer = reference["$ref"].as_str().expect("a reference").trim_start_matches('#');
            let message = document.pointer(pointer).expect("a message of the components");
            let name = pointer.rsplit('/').next().unwrap_or_default().to_owned();
            (name, Message::of(document, message))
        });
        Self { address: address.split('/').map(str::to_owned).collect(), messages: messages.collect() }
    }

    fn is_of(&self, parts: &[&str]) -> bool {
        let Some(prefix) = parts.len().checked_sub(self.address.len()).filter(|prefix| *prefix > 0) else {
            return false;
        };
        let fits = |(part, wanted): (&&str, &String)| part == wanted || wanted.starts_with('{');
        parts.iter().all(|part| !part.is_empty()) && parts[prefix..].iter().zip(&self.address).all(fits)
    }
}

impl Message {
    fn of(document: &Value, message: &Value) -> Self {
        let validator = |schema: &Value| {
            // References are looked up in the same text.
            let whole = json!({ "components": document["components"], "allOf": [schema] });
            let options = jsonschema::options().with_draft(Draft::Draft7).should_validate_formats(true);
            options.build(&whole).expect("a schema")
        };
        let content = message["contentType"].as_str().or(document["defaultContentType"].as_str());
        let form = match content {
            Some("application/json") => Form::Json,
            Some("text/plain") => Form::Text,
            Some("application/jose") => Form::Signed {
                header: validator(&message["x-header"]),
                claims: validator(&message["x-claims"]),
            },
            other => panic!("{}: no content type {other:?} is known here", message["name"]),
        };
        Self { form, payload: validator(&message["payload"]) }
    }

    fn check(&self, payload: &[u8]) -> Result<(), String> {
        let text = || std::str::from_utf8(payload).map_err(|error| error.to_string());
        let value = match &self.form {
            Form::Json => serde_json::from_slice(payload).map_err(|error| error.to_string())?,
            Form::Text => json!(text()?),
            Form::Signed { header, claims } => {
                let mut parts = text()?.split('.');
                held("header", header, &decoded(parts.next())?)?;
                held("claims", claims, &decoded(parts.next())?)?;
                json!(text()?)
            }
        };
        held("payload", &self.payload, &value)
    }
}

fn decoded(part: Option<&str>) -> Result<Value, String> {
    let bytes = URL_SAFE_NO_PAD.decode(part.unwrap_or_default()).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn held(what: &str, validator: &Validator, value: &Value) -> Result<(), String> {
    let wrong = validator.iter_errors(value).map(|error| format!("{what}{}: {error}", error.instance_path()));
    let wrong: Vec<String> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}
