//! Names of the topics: `<prefix>/<org>/<site>/<station>/…`, the same for the station, its managers and the simulated fleet.

use crate::status::StationName;

/// The topics of one station.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    base: String,
}

/// What a topic below a station's is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Below {
    /// Whether it is there, and what goes on. Retained; the last will says that it is gone.
    Status,
    /// Figures of one group. Retained; the latest only.
    Telemetry(String),
    /// Something that happened, by kind.
    Event(String),
    /// Something that is wrong, by rule. Retained while it is; empty when it is over.
    Alarm(String),
    /// A command, signed: kind and id.
    Command(String, String),
    /// What became of a command. Retained.
    CommandStatus(String, String),
    /// The configuration that is wanted, signed. Retained.
    Desired,
    /// The configuration that is in use, or why the wanted one is not. Retained.
    Reported,
}

impl Topics {
    /// Of a station.
    pub fn of(prefix: &str, station: &StationName) -> Self {
        Self { base: format!("{prefix}/{}/{}/{}", station.org, station.site, station.name) }
    }

    /// The topic of something.
    pub fn topic(&self, below: &Below) -> String {
        let base = &self.base;
        match below {
            Below::Status => format!("{base}/status"),
            Below::Telemetry(group) => format!("{base}/telemetry/{group}"),
            Below::Event(kind) => format!("{base}/event/{kind}"),
            Below::Alarm(rule) => format!("{base}/alarm/{rule}"),
            Below::Command(kind, id) => format!("{base}/cmd/{kind}/{id}"),
            Below::CommandStatus(kind, id) => format!("{base}/cmd/{kind}/{id}/status"),
            Below::Desired => format!("{base}/config/desired"),
            Below::Reported => format!("{base}/config/reported"),
        }
    }

    /// What the station listens to.
    pub fn heard(&self) -> Vec<String> {
        vec![format!("{}/cmd/+/+", self.base), format!("{}/config/desired", self.base)]
    }

    /// What a topic of this station is about; `None` of another's, or of none that there is.
    pub fn below(&self, topic: &str) -> Option<Below> {
        below(topic.strip_prefix(&self.base)?.strip_prefix('/')?)
    }
}

/// The station and the meaning of any topic below `prefix`.
pub fn parse(prefix: &str, topic: &str) -> Option<(StationName, Below)> {
    let rest = topic.strip_prefix(prefix)?.strip_prefix('/')?;
    let mut parts = rest.splitn(4, '/');
    let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
    let station = StationName { org: part()?, site: part()?, name: part()? };
    Some((station, below(&part()?)?))
}

fn below(rest: &str) -> Option<Below> {
    let parts: Vec<&str> = rest.split('/').collect();
    let owned = |part: &str| part.to_owned();
    match parts[..] {
        ["status"] => Some(Below::Status),
        ["telemetry", group] => Some(Below::Telemetry(owned(group))),
        ["event", kind] => Some(Below::Event(owned(kind))),
        ["alarm", rule] => Some(Below::Alarm(owned(rule))),
        ["cmd", kind, id] => Some(Below::Command(owned(kind), owned(id))),
        ["cmd", kind, id, "status"] => Some(Below::CommandStatus(owned(kind), owned(id))),
        ["config", "desired"] => Some(Below::Desired),
        ["config", "reported"] => Some(Below::Reported),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<Below> {
        let text = str::to_owned;
        vec![
            Below::Status,
            Below::Telemetry(text("queue")),
            Below::Event(text("frame.captured")),
            Below::Alarm(text("camera-missing")),
            Below::Command(text("stop"), text("c-1")),
            Below::CommandStatus(text("stop"), text("c-1")),
            Below::Desired,
            Below::Reported,
        ]
    }

    #[test]
    fn every_topic_is_read_back_as_what_it_is_about() {
        let station = StationName { org: "org".into(), site: "berlin".into(), name: "booth 7".into() };
        let topics = Topics::of("plant/turnstage", &station);
        for below in every() {
            let topic = topics.topic(&below);
            assert_eq!(topics.below(&topic), Some(below.clone()), "{topic}");
            assert_eq!(parse("plant/turnstage", &topic), Some((station.clone(), below)), "{topic}");
        }
    }

    #[test]
    fn other_topics_are_nobodys() {
        let station = StationName { org: "org".into(), site: "berlin".into(), name: "booth".into() };
        let topics = Topics::of("turnstage", &station);
        for topic in
            ["", "turnstage", "turnstage/org/berlin/booth2/status", "turnstage/org/berlin/booth/cmd/stop"]
        {
            assert_eq!(topics.below(topic), None, "{topic}");
        }
        for topic in
            ["turnstage/org/berlin/booth", "turnstage/org//booth/status", "other/org/berlin/booth/status"]
        {
            assert_eq!(parse("turnstage", topic), None, "{topic}");
        }
    }
}
