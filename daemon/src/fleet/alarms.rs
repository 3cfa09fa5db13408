//! The alarms that stand, so that each is told when it comes, changes and goes.
//!
//! One that went must stay away for a while before it is over, so that a loose contact is one alarm and not a hundred.
//! Which alarms the broker retains is kept in a file: those of an earlier run are taken back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::state::AlarmBody;
use crate::durable;
use crate::status::Fault;

/// An alarm is over when its fault was away for so long.
pub const AWAY: Duration = Duration::from_secs(5);

/// Alarms now, and those that the broker may retain of an earlier run.
pub struct Alarms {
    raised: BTreeMap<String, Alarm>,
    /// Nowhere in the simulated fleet.
    file: Option<PathBuf>,
    left_over: Vec<String>,
}

struct Alarm {
    body: AlarmBody,
    /// Since when its fault is away.
    away: Option<Instant>,
}

/// What is new about an alarm.
pub enum News {
    /// It came.
    Raised(AlarmBody),
    /// It is told otherwise.
    Changed(AlarmBody),
    /// It is over.
    Cleared(String),
}

impl Alarms {
    /// None stands; what an earlier run told is in `file`.
    pub fn open(file: Option<PathBuf>) -> Self {
        let left_over = file.as_ref().and_then(|file| durable::read_json(file).ok().flatten());
        Self { raised: BTreeMap::new(), file, left_over: left_over.unwrap_or_default() }
    }

    /// Takes in the faults of this moment.
    pub fn look(&mut self, faults: &[Fault], since: &str, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for fault in faults {
            let known = self.raised.get_mut(&fault.rule);
            let since = known.as_ref().map_or(since, |alarm| &alarm.body.since).to_owned();
            let body = AlarmBody::of(fault, since);
            match known {
                None => {
                    self.raised.insert(fault.rule.clone(), Alarm { body: body.clone(), away: None });
                    news.push(News::Raised(body));
                }
                Some(alarm) => {
                    alarm.away = None;
                    if alarm.body != body {
                        alarm.body = body.clone();
                        news.push(News::Changed(body));
                    }
                }
            }
        }
        let gone = |rule: &String| !faults.iter().any(|fault| fault.rule == *rule);
        for (_, alarm) in self.raised.iter_mut().filter(|(rule, _)| gone(rule)) {
            alarm.away.get_or_insert(now);
        }
        let over = |alarm: &Alarm| alarm.away.is_some_and(|away| now.duration_since(away) >= AWAY);
        let ended: Vec<String> =
            self.raised.iter().filter(|(_, alarm)| over(alarm)).map(|(rule, _)| rule.clone()).collect();
        for rule in ended {
            self.raised.remove(&rule);
            news.push(News::Cleared(rule));
        }
        news
    }

    /// Some of an earlier run may have to be taken back.
    pub fn has_left_over(&self) -> bool {
        !self.left_over.is_empty()
    }

    /// When an alarm that is away may be over.
    pub fn next(&self) -> Option<Instant> {
        self.raised.values().filter_map(|alarm| alarm.away).min().map(|away| away + AWAY)
    }

    /// Those of an earlier run that are none of this one: once, when the state is known.
    pub fn left_over(&mut self) -> Vec<String> {
        let left_over = std::mem::take(&mut self.left_over);
        left_over.into_iter().filter(|rule| !self.raised.contains_key(rule)).collect()
    }

    /// Written before they are told: at worst one is taken back that was never told.
    pub fn write(&self) {
        let Some(file) = &self.file else { return };
        let rules: Vec<&String> = self.raised.keys().chain(&self.left_over).collect();
        if let Err(error) = durable::write_json(file, &rules) {
            tracing::warn!(%error, "which alarms the broker retains is not noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(rule: &str, what: &str) -> Fault {
        Fault::new(rule, what, "Why.", "Do.")
    }

    fn told(news: &[News]) -> Vec<String> {
        let one = |news: &News| match news {
            News::Raised(body) => format!("+{} {}", body.rule, body.what),
            News::Changed(body) => format!("~{} {}", body.rule, body.what),
            News::Cleared(rule) => format!("-{rule}"),
        };
        news.iter().map(one).collect()
    }

    #[test]
    fn an_alarm_comes_changes_and_goes_once_its_fault_stays_away() {
        let mut alarms = Alarms::open(None);
        let begin = Instant::now();
        let mut look =
            |faults: &[Fault], s: u64| told(&alarms.look(faults, "then", begin + Duration::from_secs(s)));
        assert_eq!(look(&[fault("a", "1")], 0), ["+a 1"]);
        assert_eq!(look(&[fault("a", "1")], 1), [""; 0]);
        assert_eq!(look(&[fault("a", "2")], 2), ["~a 2"]);
        assert_eq!(look(&[], 3), [""; 0], "it may come back");
        assert_eq!(look(&[fault("a", "2")], 4), [""; 0]);
        assert_eq!(look(&[], 5), [""; 0]);
        assert_eq!(look(&[], 10), ["-a"]);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn what_an_earlier_run_told_and_is_not_any_more_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("alarms.json"));
        let mut before = Alarms::open(file.clone());
        before.look(&[fault("a", "1"), fault("b", "1")], "then", Instant::now());
        before.write();
        let mut now = Alarms::open(file.clone());
        now.look(&[fault("b", "1")], "now", Instant::now());
        now.write();
        assert!(Alarms::open(file.clone()).has_left_over(), "a crash before it is taken back forgets none");
        assert_eq!(now.left_over(), ["a"]);
        now.write();
        assert_eq!(Alarms::open(file).left_over(), ["b"]);
    }
}
