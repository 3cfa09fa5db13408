//! Which keys no manager sets: those that `default.toml` marks at the end of a comment.
//!
//! A mark holds for the keys that follow its comment up to the next one, or for the whole section that follows. The file
//! that people read is the list that the program obeys.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::DEFAULT;

/// End of the comment over a key or a section.
const MARK: &str = "(local-only)";

static MARKED: LazyLock<Vec<String>> = LazyLock::new(|| marks(DEFAULT).into_values().flatten().collect());

/// Whether a full key, for example `rig.cameras.main.driver`, is the station's own.
pub fn holds(key: &str) -> bool {
    let within = |marked: &String| {
        key.strip_prefix(marked.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    MARKED.iter().any(within)
}

/// The line of each mark and what it holds for: sections and full keys.
fn marks(text: &str) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let (mut section, mut mark, mut within_comment) = ("", None, false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('#') {
            if !within_comment {
                mark = None;
            }
            within_comment = true;
            if line.ends_with(MARK) {
                mark = Some(number + 1);
                found.entry(number + 1).or_default();
            }
            continue;
        }
        within_comment = false;
        let held = if line.is_empty() {
            mark = None;
            None
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            mark.take().map(|mark| (mark, section.to_owned()))
        } else {
            let key = line.split_once('=').map(|(key, _)| format!("{section}.{}", key.trim()));
            mark.zip(key)
        };
        if let Some((mark, key)) = held {
            found.entry(mark).or_default().push(key);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_belongs_to_a_key_or_a_section() {
        let marks = marks(DEFAULT);
        assert!(marks.len() >= 10, "{marks:?}");
        for (line, keys) in marks {
            assert!(!keys.is_empty(), "config/default.toml:{line}: the mark stands over nothing");
        }
    }

    #[test]
    fn what_guards_people_and_identities_is_set_at_the_station_only() {
        for key in [
            "station.org",
            "station.site",
            "station.name",
            "motion.arm_minutes",
            "motion.announce_s",
            "motion.platform_m",
            "motion.limits_deg",
            "motion.unattended_deg_max",
            "motion.reopen_s",
            "motion.reversed",
            "recipes.folder",
            "rig",
            "rig.turntable.driver",
            "rig.inputs.stop.does",
            "booth.object",
            "destinations.cloud.url",
            "destinations.cloud.token_file",
            "panel.listen",
            "panel.socket",
            "panel.hosts",
            "panel.own_display",
            "fleet.broker",
            "fleet.prefix",
            "fleet.username",
            "fleet.password_file",
            "fleet.ca_file",
            "fleet.cert_file",
            "fleet.key_file",
            "fleet.trust_file",
            "fleet.trial_s",
        ] {
            assert!(holds(key), "{key}");
        }
    }

    #[test]
    fn what_a_manager_may_set_is_not_marked_by_a_neighbour() {
        for key in [
            "storage.frame_bytes",
            "input.bytes_max",
            "capture.camera_wait_s",
            "recipes.default",
            "uploader.parallel",
            "fleet.telemetry_s",
            "fleet.home_assistant",
            "log.level",
            "rigid",
        ] {
            assert!(!holds(key), "{key}");
        }
    }
}
