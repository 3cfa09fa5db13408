//! Which node is which camera: by USB port and serial number out of sysfs, because a node's number stays nobody's.
//!
//! A UVC camera has two nodes or more, of which one gives pictures; only opening tells which.

use std::fs;
use std::path::{Path, PathBuf};

use super::kernel::{Capability, Node};
use super::keys::Identity;
use super::{NAME, picture};
use crate::camera::CameraError;
use crate::{DeviceOptions, Listing, holder};

const CLASS: &str = "/sys/class/video4linux";

/// One node of a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `/dev/video3`, today.
    pub node: PathBuf,
    /// Model as the kernel calls it.
    pub name: String,
    /// Its place among the nodes of its camera.
    pub index: u32,
    /// Port, `1-2.3`; `None` for what hangs on no USB.
    pub usb: Option<String>,
    /// Serial number of the USB device, if it has one.
    pub serial: Option<String>,
    /// Version that the USB device tells.
    pub firmware: Option<String>,
}

/// Every video node, in the order of cameras and of their nodes.
pub fn all() -> Vec<Found> {
    let entries = fs::read_dir(CLASS).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<Found> =
        names.filter(|name| name.starts_with("video")).map(|name| look(&name)).collect();
    found.sort_by(|a, b| (&a.usb, a.index, &a.node).cmp(&(&b.usb, b.index, &b.node)));
    found
}

fn look(name: &str) -> Found {
    let class = Path::new(CLASS).join(name);
    let read = |path: &Path| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let filled = |path: &Path| read(path).filter(|text| !text.is_empty());
    // The link leads into the tree of devices, in which the camera is a folder above its nodes.
    let place = fs::canonicalize(&class).unwrap_or_else(|_| class.clone());
    let usb = place.ancestors().find(|folder| read(&folder.join("idVendor")).is_some());
    Found {
        node: Path::new("/dev").join(name),
        name: read(&class.join("name")).unwrap_or_default(),
        index: read(&class.join("index")).and_then(|text| text.parse().ok()).unwrap_or_default(),
        usb: usb.and_then(Path::file_name).map(|port| port.to_string_lossy().into_owned()),
        serial: usb.and_then(|usb| filled(&usb.join("serial"))),
        firmware: usb.and_then(|usb| filled(&usb.join("bcdDevice"))).map(|bcd| version(&bcd)),
    }
}

/// `0310` is 3.10.
fn version(bcd: &str) -> String {
    match (bcd.get(..2), bcd.get(2..)) {
        (Some(major), Some(minor)) => {
            format!("{}.{minor}", major.trim_start_matches('0').parse().unwrap_or(0))
        }
        _ => bcd.to_owned(),
    }
}

/// The node of a camera that gives pictures, opened. `id` is the camera's name in the rig.
pub fn open(id: &str, identity: &Identity) -> Result<(Node, Found, Capability), CameraError> {
    let all = all();
    let nodes = named(&all, identity);
    let ports = nodes.iter().filter_map(|found| found.usb.as_ref());
    if ports.clone().any(|port| Some(port) != nodes[0].usb.as_ref()) {
        let ports = unique(ports.cloned());
        let what =
            format!("cameras on ports {ports} tell the same serial number {identity}; name one by usb");
        return Err(CameraError::Unsupported { id: id.to_owned(), what });
    }
    let mut refused = None;
    for found in &nodes {
        match Node::open(&found.node).and_then(|node| node.capability().map(|told| (node, told))) {
            Ok((node, told)) if told.captures => return Ok((node, found.clone(), told)),
            Ok(_) => {}
            Err(e) => refused = refused.or(Some((found, e))),
        }
    }
    match refused {
        Some((found, e)) => Err(super::trouble::opening(id, &found.node, &e)),
        None if nodes.is_empty() => Err(absent(id, identity, &all)),
        None => Err(CameraError::Unsupported {
            id: id.to_owned(),
            what: format!("{identity} gives no pictures in one plane; its driver is not taken"),
        }),
    }
}

/// The nodes of a camera.
fn named(all: &[Found], identity: &Identity) -> Vec<Found> {
    let is = |found: &&Found| match identity {
        Identity::Usb(port) => found.usb.as_ref() == Some(port),
        Identity::Serial(serial) => found.serial.as_ref() == Some(serial),
        Identity::Device(path) => {
            fs::canonicalize(path).is_ok_and(|node| node.file_name() == found.node.file_name())
        }
    };
    all.iter().filter(is).cloned().collect()
}

fn absent(id: &str, identity: &Identity, all: &[Found]) -> CameraError {
    let there = unique(all.iter().map(|found| match (&found.usb, &found.serial) {
        (Some(port), Some(serial)) => format!("{} (usb {port}, serial {serial})", found.name),
        (Some(port), None) => format!("{} (usb {port})", found.name),
        _ => format!("{} ({})", found.name, found.node.display()),
    }));
    let there = if there.is_empty() { "none".to_owned() } else { there };
    let hint =
        format!("looked for {identity} among the video devices; there are: {there}; look at cable and power");
    CameraError::NotPresent { id: id.to_owned(), hint }
}

fn unique(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<_> = texts.collect();
    texts.dedup();
    texts.join(", ")
}

/// Every camera that gives pictures, or would if it could be opened. Opening a node begins nothing.
pub fn list() -> Vec<Listing> {
    let all = all();
    let mut cameras: Vec<Vec<&Found>> = Vec::new();
    for found in &all {
        match cameras.last_mut() {
            Some(nodes) if found.usb.is_some() && nodes[0].usb == found.usb => nodes.push(found),
            _ => cameras.push(vec![found]),
        }
    }
    let shared = |serial: &String| {
        let ports = cameras.iter().filter(|nodes| nodes[0].serial.as_ref() == Some(serial));
        ports.count() > 1
    };
    cameras.iter().filter_map(|nodes| listing(nodes, nodes[0].serial.as_ref().is_some_and(shared))).collect()
}

fn listing(nodes: &[&Found], shared_serial: bool) -> Option<Listing> {
    let opened = nodes.iter().map(|found| (*found, Node::open(&found.node)));
    let (mut label, mut problem, mut which) = (String::new(), None, None);
    for (found, node) in opened {
        match node.and_then(|node| node.capability().map(|told| (node, told))) {
            Ok((node, told)) if told.captures => {
                label = told.card;
                problem = problem_of(found, &node);
                which = Some(found);
                break;
            }
            Ok(_) => {}
            Err(e) if which.is_none() => {
                label.clone_from(&found.name);
                problem = Some(
                    super::trouble::opening(&found.node.display().to_string(), &found.node, &e).to_string(),
                );
                which = Some(found);
            }
            Err(_) => {}
        }
    }
    let found = which?;
    let (key, id) = match (&found.serial, &found.usb) {
        (Some(serial), _) if !shared_serial => ("serial", serial.clone()),
        (_, Some(port)) => ("usb", port.clone()),
        _ => ("device", by_path(&found.node)?.display().to_string()),
    };
    let mut options = DeviceOptions::new(NAME);
    options.keys.insert(key.to_owned(), id.clone().into());
    let firmware = found.firmware.clone();
    Some(Listing { firmware, problem, options: Some(options), ..Listing::of(NAME, &id, &label) })
}

/// Why a camera that can be opened cannot be used.
fn problem_of(found: &Found, node: &Node) -> Option<String> {
    let holders = holder::holders(&found.node);
    if !holders.is_empty() {
        return Some(format!("in use by {}; end that program", holders.join(", ")));
    }
    let formats = node.formats();
    let taken = |fourcc: &[u8; 4]| [b"MJPG", b"YUYV", b"NV12"].contains(&fourcc);
    if formats.iter().any(taken) {
        return None;
    }
    let told: Vec<_> = formats.iter().map(picture::letters).collect();
    Some(format!("gives {} and none of MJPG, YUYV and NV12", told.join(", ")))
}

/// The name of a node that stays, for what hangs on no USB.
fn by_path(node: &Path) -> Option<PathBuf> {
    let folders = ["/dev/v4l/by-id", "/dev/v4l/by-path"].into_iter();
    let links = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let leads = |link: &PathBuf| fs::canonicalize(link).is_ok_and(|to| to.file_name() == node.file_name());
    links.map(|link| link.path()).find(leads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_present_and_says_where_it_was_looked_for() {
        let gone = Identity::Serial("no such number".to_owned());
        let error = open("main", &gone).map(drop).unwrap_err();
        assert!(matches!(error, CameraError::NotPresent { .. }), "{error}");
        assert!(
            error.to_string().contains("no such number") && error.to_string().contains("cable"),
            "{error}"
        );
        let gone = Identity::Device("/dev/v4l/by-id/nothing".into());
        assert!(matches!(open("main", &gone).map(drop), Err(CameraError::NotPresent { .. })));
    }

    #[test]
    fn versions_are_read_as_people_write_them() {
        assert_eq!([version("0310"), version("0011"), version("1"), version("")], ["3.10", "0.11", "1", ""]);
    }
}
