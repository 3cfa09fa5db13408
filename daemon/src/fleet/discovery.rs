//! MQTT discovery: Home Assistant finds the station by itself. Off unless `fleet.home_assistant` is on.
//!
//! One retained message an entity at `homeassistant/COMPONENT/NODE/OBJECT/config`, as Home Assistant documents it;
//! published again whenever Home Assistant says that it was started ([`BIRTH`]), and taken back by an empty retained
//! payload. Entities show and nothing can be switched: commands are signed, which a switch there could not do.

use serde_json::{Value, json};
use turnstage_cloud_sync::Sha256;

use super::telemetry::Group;
use super::topics::{Below, Topics};
use crate::status::StationName;

/// Where Home Assistant says that it is there.
pub const BIRTH: &str = "homeassistant/status";

/// Home Assistant was started, and wants to be told again.
pub fn is_birth(topic: &str, payload: &[u8]) -> bool {
    topic == BIRTH && payload == b"online"
}

/// Something that Home Assistant shows.
struct Entity {
    component: &'static str,
    object: &'static str,
    /// `None`: in `status`.
    group: Option<Group>,
    /// Keys of its own: name, class, unit and template.
    keys: fn() -> Value,
}

const ENTITIES: [Entity; 6] = [
    Entity {
        component: "sensor",
        object: "state",
        group: None,
        keys: || {
            json!({
                "name": "State",
                "icon": "mdi:camera-marker",
                // A state may not be longer.
                "value_template": "{{ value_json.body.sentence | truncate(255) }}",
            })
        },
    },
    Entity {
        component: "sensor",
        object: "waiting",
        group: Some(Group::Queue),
        keys: || {
            json!({
                "name": "Waiting pictures",
                "icon": "mdi:tray-full",
                "state_class": "measurement",
                "unit_of_measurement": "pictures",
                "value_template":
                    "{{ value_json.body.queued.pictures + value_json.body.uploading.pictures }}",
            })
        },
    },
    Entity {
        component: "sensor",
        object: "sessions_left",
        group: Some(Group::Storage),
        keys: || {
            json!({
                "name": "Sessions left",
                "icon": "mdi:harddisk",
                "state_class": "measurement",
                "unit_of_measurement": "sessions",
                "value_template": "{{ value_json.body.forecast.sessions }}",
            })
        },
    },
    Entity {
        component: "sensor",
        object: "temperature",
        group: Some(Group::Machine),
        keys: || {
            json!({
                "name": "Temperature",
                "device_class": "temperature",
                "state_class": "measurement",
                "unit_of_measurement": "°C",
                "entity_category": "diagnostic",
                "value_template": "{{ value_json.body.temperature_max_c }}",
            })
        },
    },
    Entity {
        component: "binary_sensor",
        object: "online",
        group: None,
        keys: || {
            json!({
                "name": "Online",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "value_template": "{{ 'ON' if value_json.body.online else 'OFF' }}",
            })
        },
    },
    Entity {
        component: "binary_sensor",
        object: "problem",
        group: None,
        keys: || {
            json!({
                "name": "Problem",
                "device_class": "problem",
                "value_template": "{{ 'ON' if value_json.body.kind in ['warn', 'stop'] else 'OFF' }}",
            })
        },
    },
];

/// Every message, to be retained: topic and payload.
pub fn messages(station: &StationName, topics: &Topics, version: &str) -> Vec<(String, Value)> {
    let node = node(station);
    let status = topics.topic(&Below::Status);
    let payload = |entity: &Entity| {
        let below = entity.group.map_or(Below::Status, |group| Below::Telemetry(group.name().to_owned()));
        let mut payload = (entity.keys)();
        payload["state_topic"] = json!(topics.topic(&below));
        payload["unique_id"] = json!(format!("{node}_{}", entity.object));
        payload["device"] = json!({
            "identifiers": [node],
            "name": station.name,
            "manufacturer": "Turnstage",
            "model": "Capture station",
            "sw_version": version,
            "suggested_area": station.site,
        });
        payload["origin"] = json!({ "name": "Turnstage", "sw_version": version });
        // That it is offline is what this one shows; it must not vanish when it is.
        if entity.object != "online" {
            payload["availability"] = json!([{
                "topic": status,
                "value_template": "{{ 'online' if value_json.body.online else 'offline' }}",
            }]);
        }
        (topic(&node, entity), payload)
    };
    ENTITIES.iter().map(payload).collect()
}

/// Topics that take an empty retained payload once discovery is switched off.
pub fn removals(station: &StationName) -> Vec<String> {
    let node = node(station);
    ENTITIES.iter().map(|entity| topic(&node, entity)).collect()
}

fn topic(node: &str, entity: &Entity) -> String {
    format!("homeassistant/{}/{node}/{}/config", entity.component, entity.object)
}

/// The station's id in Home Assistant, of letters, digits, `_` and `-`. Where its name had to be changed for that, or
/// another's could read alike, the beginning of a hash tells them apart.
fn node(station: &StationName) -> String {
    let StationName { org, site, name } = station;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let all: String = [org, site, name].map(|part| part.chars().map(plain).collect::<String>()).join("_");
    let is_plain = |part: &String| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if [org, site, name].into_iter().all(is_plain) {
        return format!("turnstage_{all}");
    }
    let hash = Sha256::of([org, site, name].map(String::as_str).join("/").as_bytes()).to_string();
    format!("turnstage_{all}_{}", &hash[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn station(site: &str, name: &str) -> StationName {
        StationName { org: "acme".into(), site: site.into(), name: name.into() }
    }

    fn all(station: &StationName) -> Vec<(String, Value)> {
        messages(station, &Topics::of("turnstage", station), "0.1.0")
    }

    #[test]
    fn every_entity_has_the_documented_keys_and_nothing_to_switch() {
        let documented = BTreeSet::from([
            "name",
            "icon",
            "device_class",
            "state_class",
            "unit_of_measurement",
            "entity_category",
            "value_template",
            "state_topic",
            "unique_id",
            "device",
            "origin",
            "availability",
        ]);
        let (mut ids, mut topics) = (BTreeSet::new(), BTreeSet::new());
        for (topic, payload) in all(&station("berlin", "booth-7")) {
            let keys = payload.as_object().unwrap();
            assert!(keys.keys().all(|key| documented.contains(key.as_str())), "{topic}: {payload}");
            for key in ["name", "state_topic", "unique_id", "value_template", "device", "origin"] {
                assert!(keys.contains_key(key), "{topic} lacks {key}");
            }
            assert_eq!(payload["device"]["identifiers"], json!(["turnstage_acme_berlin_booth-7"]));
            assert_eq!(payload["origin"]["name"], "Turnstage");
            let parts: Vec<_> = topic.split('/').collect();
            let [prefix, component, node, object, last] = parts[..] else { panic!("{topic}") };
            assert_eq!((prefix, last), ("homeassistant", "config"));
            assert!(["sensor", "binary_sensor"].contains(&component), "{topic} could be switched");
            assert!(component != "binary_sensor" || !keys.contains_key("unit_of_measurement"), "{topic}");
            let plain = |id: &str| id.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
            assert!(plain(node) && plain(object), "{topic}");
            ids.insert(payload["unique_id"].to_string());
            topics.insert(topic);
        }
        assert_eq!((ids.len(), topics.len()), (ENTITIES.len(), ENTITIES.len()));
    }

    #[test]
    fn everything_but_online_is_unavailable_while_the_station_is_gone() {
        for (topic, payload) in all(&station("berlin", "booth-7")) {
            let availability = &payload["availability"][0];
            if topic.contains("/online/") {
                assert!(availability.is_null(), "{topic}");
            } else {
                assert_eq!(availability["topic"], "turnstage/acme/berlin/booth-7/status", "{topic}");
            }
        }
    }

    #[test]
    fn what_is_taken_back_is_what_was_told() {
        let station = station("berlin", "booth-7");
        let told: Vec<_> = all(&station).into_iter().map(|(topic, _)| topic).collect();
        assert_eq!(removals(&station), told);
    }

    #[test]
    fn names_that_read_alike_are_still_two_stations() {
        let mut nodes = BTreeSet::new();
        for (site, name) in [
            ("berlin", "booth-7"),
            ("berlin", "booth 7"),
            ("berlin", "booth_7"),
            ("berlin_booth", "7"),
            ("ü", "ß"),
        ] {
            let node = node(&station(site, name));
            assert!(node.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)), "{node}");
            assert!(nodes.insert(node), "{site} {name}");
        }
    }

    #[test]
    fn only_the_birth_of_home_assistant_asks_for_it_again() {
        assert!(is_birth("homeassistant/status", b"online"));
        assert!(!is_birth("homeassistant/status", b"offline"));
        assert!(!is_birth("turnstage/acme/berlin/booth-7/status", b"online"));
    }
}
