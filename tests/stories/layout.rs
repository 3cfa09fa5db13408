//! Which crate may know which: the arrows of the architecture, read from what cargo will really build.
//!
//! Dependencies for tests and builds count like any other: an arrow that exists only in a test still lets a reader of
//! one crate end up in another.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Every crate of the workspace with those it may depend on.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("turnstage-drivers", &[]),
    ("turnstage-pipeline", &["turnstage-drivers"]),
    ("turnstage-cloud-sync", &[]),
    ("turnstage", &["turnstage-drivers", "turnstage-pipeline", "turnstage-cloud-sync"]),
    ("turnstage-hw-tests", &["turnstage-drivers", "turnstage-pipeline"]),
    ("turnstage-fake-v4l2", &[]),
    (
        "turnstage-tests",
        &[
            "turnstage",
            "turnstage-drivers",
            "turnstage-pipeline",
            "turnstage-cloud-sync",
            "turnstage-hw-tests",
        ],
    ),
];

/// Crates that must not be linked into one of ours, however far down, with the reason.
const NEVER_IN: &[(&str, &[&str], &str)] = &[
    ("turnstage-drivers", &["sled", "reqwest", "rumqttc", "axum"], "drivers keeps and sends nothing"),
    ("turnstage-pipeline", &["sled", "reqwest", "rumqttc", "axum", "hyper"], "pipeline has no network"),
    (
        "turnstage-cloud-sync",
        &["turbojpeg", "image", "fast_image_resize", "kamadak-exif", "img-parts", "png", "zune-jpeg"],
        "cloud-sync cannot decode a picture",
    ),
];

/// Crates that only these of ours may name.
const ONLY_OF: &[(&str, &[&str], &str)] = &[
    ("sled", &["turnstage-cloud-sync"], "the index can be exchanged"),
    ("rumqttc", &["turnstage-cloud-sync"], "the broker's client is in one module"),
    ("axum", &["turnstage", "turnstage-tests"], "the panel is the daemon's; the tests' clouds serve too"),
];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    // What was built is on this machine already; other platforms' crates may not be, and nothing is fetched.
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let options = ["--locked", "--offline", "--filter-platform", &host].map(str::to_owned);
    MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(options)
        .exec()
        .expect("cargo metadata reads the workspace")
}

fn member<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    metadata.workspace_packages().into_iter().find(|p| p.name == name).expect("a package of the workspace")
}

/// Names of what ends up in `from`, by way of dependencies that are not for tests or builds.
fn linked(metadata: &Metadata, from: &PackageId) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let normal = |d: &&cargo_metadata::NodeDep| {
                d.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
            };
            open.extend(nodes[id].deps.iter().filter(normal).map(|dep| &dep.pkg));
        }
    }
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

/// Arrows of the workspace that `MAY_KNOW` does not have.
fn wrong_arrows(arrows: &[(String, String)]) -> Vec<String> {
    let allowed =
        |from: &str, to: &str| MAY_KNOW.iter().any(|(name, may)| *name == from && may.contains(&to));
    arrows
        .iter()
        .filter(|(from, to)| !allowed(from, to))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect()
}

#[test]
fn the_workspace_has_the_crates_of_the_plan_and_no_other() {
    let metadata = metadata();
    let found: BTreeSet<_> = metadata.workspace_packages().iter().map(|p| p.name.to_string()).collect();
    let planned: BTreeSet<_> = MAY_KNOW.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, planned, "a new crate needs a line in MAY_KNOW and a word in ARCHITECTURE.md");
}

#[test]
fn crates_know_each_other_in_the_planned_directions_only() {
    let metadata = metadata();
    let mut arrows = Vec::new();
    for package in metadata.workspace_packages() {
        let ours = package.dependencies.iter().filter(|d| d.path.is_some());
        arrows.extend(ours.map(|d| (package.name.to_string(), d.name.to_string())));
    }
    assert!(arrows.len() >= 4, "found hardly an arrow: {arrows:?}");
    assert_eq!(wrong_arrows(&arrows), Vec::<String>::new(), "see section 1 of ARCHITECTURE.md");
}

#[test]
fn an_arrow_against_the_plan_would_be_seen() {
    let arrow = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let drawn = [
        arrow("turnstage", "turnstage-drivers"),
        arrow("turnstage-cloud-sync", "turnstage-drivers"),
        arrow("turnstage-drivers", "turnstage"),
    ];
    assert_eq!(
        wrong_arrows(&drawn),
        ["turnstage-cloud-sync -> turnstage-drivers", "turnstage-drivers -> turnstage"]
    );
}

#[test]
fn no_crate_links_what_its_purpose_forbids() {
    let metadata = metadata();
    let mut found = Vec::new();
    for (name, forbidden, why) in NEVER_IN {
        let linked = linked(&metadata, &member(&metadata, name).id);
        assert!(linked.contains("serde"), "{name} links hardly anything: {linked:?}");
        found.extend(
            forbidden.iter().filter(|f| linked.contains(**f)).map(|f| format!("{name}: {f} ({why})")),
        );
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_crate_with_owners_is_named_by_no_other() {
    let metadata = metadata();
    let mut found = Vec::new();
    for package in metadata.workspace_packages() {
        for (dependency, owners, why) in ONLY_OF {
            let named = package.dependencies.iter().any(|d| d.name == *dependency);
            if named && !owners.contains(&package.name.as_str()) {
                found.push(format!("{}: {dependency} belongs to {}: {why}", package.name, owners.join(", ")));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_pipeline_has_no_runtime_of_its_own() {
    let metadata = metadata();
    let pipeline = &member(&metadata, "turnstage-pipeline").dependencies;
    let runtime = pipeline.iter().find(|d| d.name.starts_with("tokio") || d.name == "async-trait");
    assert!(runtime.is_none(), "pipeline computes and never waits: {:?}", runtime.map(|d| &d.name));
}

#[test]
fn a_panic_unwinds_in_every_profile() {
    let manifest = include_str!("../../Cargo.toml");
    let line = manifest.lines().find(|line| line.trim_start().starts_with("panic"));
    assert_eq!(line, None, "a panic in one driver must not end the station: docs/decisions/0006");
}
