//! What docs/fleet has for Prometheus and Grafana fits what stations tell: from the payload's field through the
//! exporter's mapping to each alert and each panel.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use turnstage_tests::asyncapi::document;

const MAPPING: &str = include_str!("../../docs/fleet/mqtt-exporter.yaml");
const RULES: &str = include_str!("../../docs/fleet/prometheus-rules.yml");
const RULES_TEST: &str = include_str!("../../docs/fleet/prometheus-rules-test.yml");
const DASHBOARD: &str = include_str!("../../docs/fleet/grafana-dashboard.json");

fn yaml(text: &str) -> Value {
    yaml_serde::from_str(text).expect("YAML")
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Names of the metrics that an expression asks for.
fn metrics(expr: &str) -> BTreeSet<&str> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    expr.split(|c: char| !name(c)).filter(|word| word.starts_with("turnstage_")).collect()
}

fn mapped() -> BTreeMap<String, Value> {
    let mapping = yaml(MAPPING);
    let named = |metric: &Value| (text(&metric["prom_name"]).to_owned(), metric.clone());
    let all: BTreeMap<_, _> = list(&mapping["metrics"]).iter().map(named).collect();
    assert_eq!(all.len(), list(&mapping["metrics"]).len(), "a name twice");
    all
}

/// What a path leads to in a schema, through references and alternatives; several where they differ.
fn at<'a>(schema: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        let named = document().value.pointer(reference.trim_start_matches('#'));
        return at(named.expect("a schema of the components"), path);
    }
    let Some((field, rest)) = path.split_first() else { return leaves(schema) };
    let own = schema["properties"].get(field).into_iter().flat_map(|field| at(field, rest));
    let parts = ["allOf", "oneOf"].iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
    own.chain(parts.flat_map(|part| at(part, path))).collect()
}

fn leaves(schema: &Value) -> Vec<&Value> {
    match schema["allOf"].as_array().or(schema["oneOf"].as_array()) {
        Some(parts) => parts.iter().flat_map(|part| at(part, &[])).collect(),
        None => vec![schema],
    }
}

/// The exporter makes a number of it.
fn is_number(schema: &Value, words: &Value) -> bool {
    let is = |name: &str| ["number", "integer", "boolean"].contains(&name);
    match (&schema["type"], &schema["enum"]) {
        (Value::String(name), _) => is(name),
        (Value::Array(names), _) => names.iter().any(|name| is(text(name))),
        (_, Value::Array(all)) => all.iter().all(|word| words["map"].get(text(word)).is_some()),
        _ => false,
    }
}

#[test]
fn every_metric_comes_from_a_number_of_exactly_one_message() {
    let messages = document().value["components"]["messages"].as_object().expect("messages");
    let told: Vec<_> =
        messages.iter().filter(|(name, _)| *name == "status" || name.starts_with("telemetry")).collect();
    assert_eq!(told.len(), 10);
    for (metric, mapping) in mapped() {
        let path: Vec<&str> = text(&mapping["mqtt_name"]).split('.').collect();
        // The exporter does not look at topics, so a path may lead to one figure only.
        let found = told.iter().map(|(name, message)| (name, at(&message["payload"], &path)));
        let found: Vec<_> = found.filter(|(_, schemas)| !schemas.is_empty()).collect();
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 1, "{metric}: {} is in {names:?}", path.join("."));
        for schema in &found[0].1 {
            assert!(is_number(schema, &mapping["string_value_mapping"]), "{metric} is no number: {schema}");
        }
        let is_status = names == ["status"];
        assert_eq!(
            mapping["omit_timestamp"] == json!(true),
            is_status,
            "{metric}: only status is told rarely"
        );
        assert_eq!(metric.ends_with("_total"), mapping["type"] == "counter", "{metric}");
    }
}

#[test]
fn every_alert_asks_for_metrics_that_there_are_and_has_a_test() {
    let known = mapped();
    let (rules, tests) = (yaml(RULES), yaml(RULES_TEST));
    let alerts = list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"]));
    let mut names = BTreeSet::new();
    for alert in alerts {
        let name = text(&alert["alert"]);
        assert!(names.insert(name), "{name} twice");
        let asked = metrics(text(&alert["expr"]));
        assert!(!asked.is_empty(), "{name} asks for nothing");
        for metric in asked {
            assert!(known.contains_key(metric), "{name}: nobody makes {metric}");
        }
        for field in ["/labels/severity", "/annotations/summary", "/annotations/description"] {
            assert!(alert.pointer(field).is_some(), "{name} lacks {field}");
        }
        let test = list(&tests["tests"]).iter().find(|test| test["name"] == name).expect("a test of each");
        let fires: Vec<bool> =
            list(&test["alert_rule_test"]).iter().map(|at| !list(&at["exp_alerts"]).is_empty()).collect();
        assert_eq!(fires, [false, true], "{name} is shown to wait and to fire");
    }
    let wanted = [
        "StationOffline",
        "QueueAges",
        "DiskShort",
        "CredentialExpires",
        "CameraDrifted",
        "MachineHot",
        "MessagesDenied",
    ];
    for name in wanted {
        assert!(names.contains(format!("Turnstage{name}").as_str()), "no alert {name}");
    }
}

#[test]
fn every_panel_asks_for_metrics_that_there_are() {
    let (known, dashboard) = (mapped(), serde_json::from_str::<Value>(DASHBOARD).expect("JSON"));
    let panels = list(&dashboard["panels"]);
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "an id twice");
    let variables: BTreeMap<&str, &Value> =
        list(&dashboard["templating"]["list"]).iter().map(|one| (text(&one["name"]), one)).collect();
    assert_eq!(variables["datasource"]["type"], "datasource", "it is chosen when the dashboard is imported");
    let stations = text(&variables["station"]["query"]["query"]);
    assert!(known.contains_key(*metrics(stations).first().expect("a metric")), "{stations}");
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = text(&panel["title"]);
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in place("x")..place("x") + place("w") {
            assert!(x < 24, "{title} is beyond the edge");
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title} lies on another panel");
            }
        }
        let mut letters = BTreeSet::new();
        for target in list(&panel["targets"]) {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(letters.insert(text(&target["refId"])), "{title}");
            let expr = text(&target["expr"]);
            let asked = metrics(expr);
            assert!(!asked.is_empty() && expr.contains("$station"), "{title}: {expr}");
            for metric in asked {
                assert!(known.contains_key(metric), "{title}: nobody makes {metric}");
            }
        }
        assert!(!letters.is_empty(), "{title} shows nothing");
    }
}
