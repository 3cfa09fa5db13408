//! The station's state as its fleet sees it: the body of `status`, and alarms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::session::SessionState;
use crate::status::{Delivery, Fault, Kind, SessionStatus, Situation, Status};
use crate::words::Language;

/// Sessions of room from which on it is an alarm that there are few.
const ROOM_SHORT_SESSIONS: u64 = 5;

/// Whether the station is there, and what goes on. Pictures and frame numbers stay with the session's own events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusBody {
    /// It is connected; false only in the message by which it leaves, and in its last will.
    pub online: bool,
    /// How loud.
    pub kind: Kind,
    /// First line: what is, in English.
    pub sentence: String,
    /// Second line: what to do.
    pub detail: String,
    /// What goes on, as data.
    pub situation: Situation,
    /// Session at work or in review.
    pub session: Option<SessionBrief>,
    /// Every device of the rig is simulated.
    pub simulated: bool,
    /// The last good configuration is in use, because the present one is wrong.
    pub safe_mode: bool,
    /// Rules of what is wrong, worst first, each once; each has an alarm of its own.
    pub faults: Vec<String>,
    /// Version of the program.
    pub version: String,
    /// Version of the fleet's configuration that is in use, if there is one.
    pub config_version: Option<u64>,
}

/// A session in a few words. The item's number is the organisation's own, and so are its topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionBrief {
    /// Id.
    pub id: String,
    /// What is photographed.
    pub item: String,
    /// Name of the recipe.
    pub recipe: String,
    /// Where it stands.
    pub state: SessionState,
    /// Pictures that are there, flagged ones included.
    pub taken: u64,
    /// Pictures that the recipe asks for.
    pub wanted: u64,
    /// Frames that a rule flagged.
    pub flagged: u64,
    /// Pictures that took the place of others.
    pub retaken: u64,
}

impl StatusBody {
    /// The state now.
    pub fn of(status: &Status, config_version: Option<u64>) -> Self {
        Self {
            online: true,
            kind: status.kind,
            sentence: status.sentence.clone(),
            detail: status.detail.clone(),
            situation: status.situation.clone(),
            session: status.session.as_ref().map(SessionBrief::of),
            simulated: status.simulated,
            safe_mode: status.safe_mode,
            faults: wrong(status).into_iter().map(|fault| fault.rule).collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_version,
        }
    }

    /// The station is gone: its last will, and what it says before it leaves.
    pub fn offline(simulated: bool, config_version: Option<u64>) -> Self {
        let situation = Situation::Off;
        let lines = Language::En.lines(&situation);
        Self {
            online: false,
            kind: situation.kind(),
            sentence: lines.first,
            detail: lines.second,
            situation,
            session: None,
            simulated,
            safe_mode: false,
            faults: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_version,
        }
    }
}

impl SessionBrief {
    fn of(session: &SessionStatus) -> Self {
        Self {
            id: session.id.clone(),
            item: session.item.clone(),
            recipe: session.recipe.clone(),
            state: session.state,
            taken: session.taken as u64,
            wanted: session.wanted as u64,
            flagged: session.flagged.len() as u64,
            retaken: u64::from(session.retaken),
        }
    }
}

/// Something that is wrong, for as long as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlarmBody {
    /// Stable rule id, and the last part of its topic.
    pub rule: String,
    /// What happened.
    pub what: String,
    /// What cannot be done, or would be lost.
    pub why: String,
    /// One or two physical acts.
    pub todo: String,
    /// When the station first saw it, in UTC; the wall clock's own opinion.
    pub since: String,
}

/// The alarms that stand, so that each is told when it comes, changes and goes.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    standing: BTreeMap<String, AlarmBody>,
}

impl Alarms {
    /// What changed: by rule the alarm as it is now, or `None` where it is over.
    pub fn changes(&mut self, status: &Status, wall_ms: i64) -> Vec<(String, Option<AlarmBody>)> {
        let since = clock::utc(wall_ms);
        let mut now = BTreeMap::new();
        for fault in wrong(status) {
            let since = self.standing.get(&fault.rule).map_or(&since, |before| &before.since).clone();
            let Fault { rule, what, why, todo } = fault;
            now.insert(rule.clone(), AlarmBody { rule, what, why, todo, since });
        }
        let over = self.standing.keys().filter(|rule| !now.contains_key(*rule));
        let mut changes: Vec<_> = over.map(|rule| (rule.clone(), None)).collect();
        let news = now.iter().filter(|(rule, alarm)| self.standing.get(*rule) != Some(alarm));
        changes.extend(news.map(|(rule, alarm)| (rule.clone(), Some(alarm.clone()))));
        self.standing = now;
        changes
    }

    /// Those that stand, for a broker that has forgotten.
    pub fn standing(&self) -> impl Iterator<Item = (&String, &AlarmBody)> {
        self.standing.iter()
    }
}

/// What is wrong: what the station tells, then what it knows of its delivery, its disk and its cameras. One a rule.
fn wrong(status: &Status) -> Vec<Fault> {
    let mut all: Vec<Fault> = Vec::new();
    for fault in status.faults.iter().cloned().chain(beside(status)) {
        match all.iter_mut().find(|known| known.rule == fault.rule) {
            Some(known) if known.what == fault.what => {}
            Some(known) => known.what = format!("{} {}", known.what, fault.what),
            None => all.push(fault),
        }
    }
    all
}

/// What an idle station shows on its panel and nobody else is told of.
fn beside(status: &Status) -> Vec<Fault> {
    let delivery = &status.delivery;
    // The disk could not be asked: a fault tells of that.
    if *delivery == Delivery::default() {
        return Vec::new();
    }
    let mut told = Vec::new();
    let mut tell = |rule: &str, why: &str, situation: Situation| {
        let lines = Language::En.lines(&situation);
        told.push(Fault::new(rule, lines.first, why, &lines.second));
    };
    let waiting = delivery.waiting + delivery.failed + delivery.held;
    match delivery.sessions_left {
        0 => tell("room-none", "No session can be taken.", Situation::RoomNone { waiting }),
        sessions @ 1..=ROOM_SHORT_SESSIONS => {
            tell("room-short", "Soon no session can be taken.", Situation::RoomShort { sessions });
        }
        _ => {}
    }
    let failures =
        delivery.destinations.iter().filter(|one| !one.online).filter_map(|one| one.failure.as_ref());
    if let Some(failure) = failures.clone().find(|failure| failure.rule.starts_with("token-")) {
        let situation = Situation::SignIn { pictures: delivery.waiting, reason: failure.reason.clone() };
        tell(&failure.rule, "Pictures stay on the station.", situation);
    }
    if delivery.failed > 0 {
        let situation = Situation::Refused { pictures: delivery.failed };
        tell("pictures-refused", "These pictures are kept and not delivered.", situation);
    }
    for drift in &status.drifts {
        let situation = Situation::Drifted { drift: drift.clone() };
        tell("camera-drift", "Sessions will fail once it goes on.", situation);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::StationName;

    fn idle(sessions_left: u64, faults: &[&str]) -> Status {
        let mut status = Status::starting(StationName::default(), true);
        status.tell(Situation::Ready);
        status.faults = faults
            .iter()
            .map(|what| Fault::new("camera-missing", *what, "No session.", "Plug it in."))
            .collect();
        status.with_delivery(Delivery { sessions_left, free_bytes: 1, ..Delivery::default() })
    }

    fn rules(changes: &[(String, Option<AlarmBody>)]) -> Vec<(&str, bool)> {
        changes.iter().map(|(rule, alarm)| (rule.as_str(), alarm.is_some())).collect()
    }

    #[test]
    fn an_alarm_is_told_when_it_comes_and_when_it_goes_and_keeps_its_beginning() {
        let mut alarms = Alarms::default();
        assert_eq!(alarms.changes(&idle(100, &[]), 0), []);
        let came = alarms.changes(&idle(0, &["Camera main is gone."]), 1000);
        assert_eq!(rules(&came), [("camera-missing", true), ("room-none", true)]);
        assert_eq!(alarms.changes(&idle(0, &["Camera main is gone."]), 2000), [], "nothing is news");
        let both = alarms.changes(&idle(0, &["Camera main is gone.", "Camera high is gone."]), 3000);
        let (_, alarm) = &both[0];
        let alarm = alarm.as_ref().unwrap();
        assert_eq!(alarm.what, "Camera main is gone. Camera high is gone.");
        assert_eq!(alarm.since, "1970-01-01T00:00:01.000Z");
        assert_eq!(
            rules(&alarms.changes(&idle(3, &[]), 4000)),
            [("camera-missing", false), ("room-none", false), ("room-short", true)]
        );
        assert_eq!(alarms.standing().count(), 1);
    }

    #[test]
    fn a_disk_that_cannot_be_asked_is_no_full_disk() {
        let mut status = Status::starting(StationName::default(), true);
        status.tell(Situation::Ready);
        assert_eq!(Alarms::default().changes(&status, 0), []);
    }

    #[test]
    fn the_last_will_says_that_the_station_is_gone() {
        let will = StatusBody::offline(false, Some(3));
        assert_eq!((will.online, will.kind, &will.situation), (false, Kind::Stop, &Situation::Off));
        let text = serde_json::to_string(&will).unwrap();
        assert_eq!(serde_json::from_str::<StatusBody>(&text).unwrap(), will);
        let longer = text.replacen('{', "{\"more\":1,", 1);
        assert!(serde_json::from_str::<StatusBody>(&longer).is_err(), "a field too many");
    }
}
