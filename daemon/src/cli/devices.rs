//! `devices`: what is plugged in; `setup`: a configuration for it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use turnstage_drivers::{Listing, camera, io, turntable};

use super::answer::answer;
use crate::config::Config;
use crate::exit::{self, Exit};

/// What is said of a device that nobody has put through the conformance suite.
const NOT_TRIED: &str = "not tried on real hardware";

/// Options of `setup`.
#[derive(Debug, Args)]
pub struct Setup {
    /// File to write; it must not exist.
    #[arg(long, value_name = "FILE", default_value = "turnstage.toml")]
    to: PathBuf,
    /// Organisation that owns the pictures.
    #[arg(long, default_value = "demo")]
    org: String,
    /// Site.
    #[arg(long, default_value = "booth")]
    site: String,
    /// Name of this station within the site.
    #[arg(long, default_value = "station-1")]
    name: String,
    /// Take simulated devices for what is not found.
    #[arg(long)]
    simulated: bool,
    /// Write to the screen, and no file.
    #[arg(long)]
    print: bool,
}

/// Drivers of one kind and what each finds.
struct Found {
    kind: &'static str,
    driver: &'static str,
    about: &'static str,
    devices: Vec<Listing>,
}

async fn look() -> Vec<Found> {
    let mut found = Vec::new();
    for driver in turntable::DRIVERS {
        let devices = (driver.list)().await;
        found.push(Found { kind: "turntable", driver: driver.name, about: driver.about, devices });
    }
    for driver in camera::DRIVERS {
        let devices = (driver.list)().await;
        found.push(Found { kind: "camera", driver: driver.name, about: driver.about, devices });
    }
    for driver in io::INPUTS {
        let devices = (driver.list)().await;
        found.push(Found { kind: "input", driver: driver.name, about: driver.about, devices });
    }
    for driver in io::OUTPUTS {
        let devices = (driver.list)().await;
        found.push(Found { kind: "output", driver: driver.name, about: driver.about, devices });
    }
    found
}

/// Lists every driver of this build, and the devices that it finds.
pub async fn list(json: bool) -> Result<u8> {
    for Found { kind, driver, about, devices } in look().await {
        if json {
            let line =
                serde_json::json!({ "kind": kind, "driver": driver, "about": about, "found": devices });
            answer!("{line}");
            continue;
        }
        answer!("{kind:<10} {driver:<8} {about}");
        for device in &devices {
            answer!("{:<19} {}", "", told(device));
        }
    }
    Ok(exit::OK)
}

/// One device in one line.
fn told(device: &Listing) -> String {
    let firmware = device.firmware.as_ref().map(|version| format!(", firmware {version}"));
    let tried = (!device.tried).then(|| format!("  [{NOT_TRIED}]"));
    let problem = device.problem.as_ref().map(|problem| format!("  ({problem})"));
    let [firmware, tried, problem] = [firmware, tried, problem].map(Option::unwrap_or_default);
    format!("{}  {}{firmware}{tried}{problem}", device.id, device.label)
}

/// Writes a configuration for what is found, checked before it is written.
pub async fn setup(options: Setup) -> Result<u8> {
    if !options.print && options.to.exists() {
        let why = format!("{} exists already; name another file with --to", options.to.display());
        return Err(Exit::new(exit::USAGE, why).into());
    }
    let found = look().await;
    let text = configuration(&options, &found);
    if let Err(error) = Config::from_text(Some(("setup", &text)), Vec::new()) {
        let why = format!("what was found makes no good configuration: {error}\n\n{text}");
        return Err(Exit::new(exit::CONFIGURATION, why).into());
    }
    if options.print {
        answer!("{}", text.trim_end());
        return Ok(exit::OK);
    }
    write_new(&options.to, &text)?;
    let file = options.to.display();
    answer!("Written: {file}. Next:");
    answer!("  turnstage check --config {file}        opens each device once");
    answer!("  turnstage selftest --config {file}     four frames, and whether the turn closes");
    answer!("  turnstage run --config {file}          the station with its panel");
    Ok(exit::OK)
}

/// Never over a file that somebody wrote.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let mut file = std::fs::File::create_new(path).with_context(|| format!("writing {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

fn configuration(options: &Setup, found: &[Found]) -> String {
    let Setup { org, site, name, .. } = options;
    let quoted = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let mut text = format!(
        "# Written by turnstage setup from the devices that it found. Every key: config/default.toml; devices and their\n\
         # keys: docs/hardware.md.\n\n[station]\norg = {}\nsite = {}\nname = {}\n",
        quoted(org),
        quoted(site),
        quoted(name)
    );
    let is_real = |one: &&Listing| one.driver != "sim" && one.driver != "replay";
    let usable = |kind: &str| -> Vec<&Listing> {
        let all = found.iter().filter(|found| found.kind == kind).flat_map(|found| &found.devices);
        let all = all.filter(|device| device.options.is_some());
        let real: Vec<&Listing> = all.clone().filter(is_real).collect();
        if real.iter().all(|one| one.guess) && options.simulated { all.collect() } else { real }
    };
    let (tables, cameras) = (usable("turntable"), usable("camera"));
    let mut certain = tables.iter().filter(|table| !table.guess);
    if let Some(first) = certain.next() {
        section(&mut text, "rig.turntable", first, false);
        // Only one table turns: the others are there to choose from.
        certain.for_each(|other| section(&mut text, "rig.turntable", other, true));
        text.push_str(
            "\n# How large its platform is, in metres across: over 1 m nothing turns without a wired emergency stop that was\n\
             # tested today, see docs/motion.md.\n# [motion]\n# platform_m = 0.3\n",
        );
    } else {
        text.push_str(
            "\n# No turntable was found for certain: only recipes with motion = \"none\" can run.\n",
        );
    }
    guesses(&mut text, found);
    let mut names = BTreeSet::new();
    for camera in &cameras {
        let name = fresh(&camera.label, &mut names, "camera");
        section(&mut text, &format!("rig.cameras.{name}"), camera, camera.problem.is_some());
    }
    if cameras.is_empty() {
        text.push_str("\n# No camera was found: add one here before anything can be shot.\n");
    }
    contacts(&mut text, found, "input", "does = \"start\"", INPUTS);
    contacts(&mut text, found, "output", "shows = \"tower-green\"", OUTPUTS);
    text.push_str(
        "\n# Pictures are delivered to a folder below the data folder until a cloud is configured.\n\
         [destinations.local]\nbackend = \"directory\"\nroot = \"delivered\"\ncreate = true\n",
    );
    text
}

/// What a person must say of an input.
const INPUTS: &str = "pedals, scanners, buttons and doors. What each is for only you know: start, answer, pause, arm, \
                      stop, door,\n# emergency-stop, flash, or scan with lines = true. Stop, door and emergency-stop \
                      must be wired so that a broken wire reads\n# as pressed";
/// What a person must say of an output.
const OUTPUTS: &str = "lamps, horn and lights. What each shows only you know: tower-green, tower-amber, tower-red, horn, \
                       lights or ready";

/// Inputs and outputs that are there, as comments: what one is for cannot be found out, and a wrong guess would start or
/// stop a table.
fn contacts(text: &mut String, found: &[Found], kind: &str, purpose: &str, about: &str) {
    let all = found.iter().filter(|found| found.kind == kind).flat_map(|found| &found.devices);
    let real: Vec<&Listing> = all.filter(|device| device.driver != "sim").collect();
    if real.is_empty() {
        return;
    }
    text.push_str(&format!(
        "\n# These may be {about}.\n# Take the marks away before those that are, then: turnstage check\n"
    ));
    let mut names = BTreeSet::new();
    for device in real {
        match device.options {
            Some(_) => {
                let name = fresh(&device.label, &mut names, kind);
                section(text, &format!("rig.{kind}s.{name}"), device, true);
                text.push_str(&format!("# {purpose}\n"));
            }
            None => unknown(text, device),
        }
    }
}

/// A device of which only its place is known.
fn unknown(text: &mut String, device: &Listing) {
    let driver = device.driver;
    text.push_str(&format!(
        "\n# {}\n# driver = \"{driver}\" needs keys that only you know: docs/hardware.md, \"{driver}\"\n",
        told(device)
    ));
}

/// Plugs at whose ends there may be a turntable: nobody asked them, so that a person must say which it is.
fn guesses(text: &mut String, found: &[Found]) {
    let tables = found.iter().filter(|found| found.kind == "turntable").flat_map(|found| &found.devices);
    let guesses: Vec<&Listing> = tables.filter(|table| table.guess).collect();
    if guesses.is_empty() {
        return;
    }
    text.push_str(
        "\n# These may be turntables. Take the marks away before the one that it is, then: turnstage check\n",
    );
    for guess in guesses {
        match guess.options {
            Some(_) => section(text, "rig.turntable", guess, true),
            None => unknown(text, guess),
        }
    }
}

/// One device; what cannot be opened now, or is not chosen, is written as a comment.
fn section(text: &mut String, name: &str, device: &Listing, aside: bool) {
    let Some(options) = &device.options else { return };
    text.push_str(&format!("\n# {}\n", told(device)));
    let mut lines = format!("[{name}]\ndriver = {}\n", toml::Value::String(options.driver.clone()));
    for (key, value) in &options.keys {
        lines.push_str(&format!("{key} = {value}\n"));
    }
    let mark = if aside { "# " } else { "" };
    lines.lines().for_each(|line| text.push_str(&format!("{mark}{line}\n")));
}

/// A name that a person recognises: from the device's model, else from its kind, each once.
fn fresh(label: &str, names: &mut BTreeSet<String>, kind: &str) -> String {
    let kept: String =
        label.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let words: Vec<&str> = kept.split('-').filter(|word| !word.is_empty()).take(3).collect();
    let base = if words.is_empty() { kind.to_owned() } else { words.join("-") };
    let mut name = base.clone();
    let mut number = 1;
    while !names.insert(name.clone()) {
        number += 1;
        name = format!("{base}-{number}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Setup {
        Setup {
            to: PathBuf::from("unused"),
            org: "o\"rg".to_owned(),
            site: "s".to_owned(),
            name: "n".to_owned(),
            simulated: true,
            print: true,
        }
    }

    #[test]
    fn what_is_found_becomes_a_configuration_that_loads() {
        let table = Listing::of("sim", "sim", "simulated turntable");
        let camera = Listing::of("sim", "sim", "simulated camera");
        let broken = Listing { problem: Some("held by cheese (pid 7)".to_owned()), ..camera.clone() };
        let found = [
            Found { kind: "turntable", driver: "sim", about: "", devices: vec![table.clone(), table] },
            Found { kind: "camera", driver: "sim", about: "", devices: vec![camera.clone(), camera, broken] },
        ];
        let text = configuration(&options(), &found);
        let config = Config::from_text(Some(("setup", &text)), Vec::new()).unwrap();
        assert_eq!(config.station.org, "o\"rg");
        assert!(config.rig.turntable.is_some());
        let names: Vec<&String> = config.rig.cameras.keys().collect();
        assert_eq!(names, ["simulated-camera", "simulated-camera-2"], "{text}");
        assert!(text.contains("held by cheese (pid 7)"), "{text}");
    }

    #[test]
    fn a_port_at_whose_end_anything_may_be_is_left_to_a_person() {
        let port = "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0";
        let guess =
            |driver| Listing { guess: true, ..Listing::of(driver, port, "USB Serial: may be anything") };
        let with = |driver, key: &str, value: &str| {
            let mut guess = guess(driver);
            let keys = &mut guess.options.as_mut().unwrap().keys;
            keys.insert(key.to_owned(), value.into());
            keys.insert("serial".to_owned(), port.into());
            guess
        };
        let one = |driver, device| Found { kind: "turntable", driver, about: "", devices: vec![device] };
        let found = [
            one("profile", with("profile", "profile", "comxim")),
            one("grbl", with("grbl", "axis", "x")),
            one("relay", Listing { options: None, ..guess("relay") }),
        ];
        let text = configuration(&Setup { simulated: false, ..options() }, &found);
        let config = Config::from_text(Some(("setup", &text)), Vec::new()).unwrap();
        assert!(config.rig.turntable.is_none(), "{text}");
        for told in ["# driver = \"profile\"", "# driver = \"grbl\"", "# driver = \"relay\" needs keys"] {
            assert!(text.contains(told), "{told} in {text}");
        }
        // Whoever takes the marks away has a configuration.
        let section = text.split("\n\n").find(|part| part.contains("# driver = \"grbl\"")).unwrap();
        let lines = section.lines().filter(|line| !line.contains("may be anything"));
        let chosen: Vec<&str> = lines.map(|line| line.trim_start_matches("# ")).collect();
        let text = format!("{text}\n{}\n", chosen.join("\n"));
        let config = Config::from_text(Some(("setup", &text)), Vec::new()).unwrap();
        assert_eq!(config.rig.turntable.map(|table| table.driver), Some("grbl".to_owned()));
    }

    #[test]
    fn nothing_found_is_said_in_the_file() {
        let text = configuration(&options(), &[]);
        assert!(text.contains("No turntable was found for certain") && text.contains("No camera was found"));
        assert!(Config::from_text(Some(("setup", &text)), Vec::new()).is_ok());
    }
}
