//! One byte form for one JSON value, so that hashes can be taken over values.
//!
//! Objects with keys in byte order, arrays in their order, no white space, numbers and strings as `serde_json`
//! writes them (shortest form that reads back bit for bit). Written out here and not left to the map type of
//! `serde_json`, whose order changes with a feature that any crate of a build may turn on.

use serde_json::Value;

use crate::Sha256;

/// The canonical bytes of `value`.
pub fn bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out);
    out
}

/// Hash of the canonical bytes of `value`.
pub fn hash(value: &Value) -> Sha256 {
    Sha256::of(&bytes(value))
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
            out.push(b'{');
            for (nth, (key, value)) in entries.into_iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                scalar(&Value::String(key.clone()), out);
                out.push(b':');
                write(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (nth, item) in items.iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        _ => scalar(value, out),
    }
}

fn scalar(value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_change_the_bytes() {
        let one: Value = serde_json::from_str(r#"{"b":[1,{"z":null,"a":"ü\n"}],"a":1.5}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{ "a":1.5, "b":[1,{"a":"ü\n","z":null}] }"#).unwrap();
        assert_eq!(bytes(&one), bytes(&two));
        assert_eq!(bytes(&one), r#"{"a":1.5,"b":[1,{"a":"ü\n","z":null}]}"#.as_bytes());
        assert_ne!(hash(&one), hash(&json!({"a": 1.5})));
    }

    proptest::proptest! {
        #[test]
        fn a_float_that_went_to_disk_and_back_has_the_same_bytes(float: f64) {
            let value = json!(float);
            let back: Value = serde_json::from_slice(&bytes(&value)).unwrap();
            proptest::prop_assert_eq!(bytes(&value), bytes(&back));
        }
    }
}
