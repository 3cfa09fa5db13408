//! Tables that lie in one thing each, before somebody who sees the platter.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use turnstage_drivers::turntable::Sighting;

use super::*;

/// What a table lies about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    /// It stands five degrees beside where it says.
    Aslant,
    /// It says that it stands when it is half-way there.
    Early,
    /// It refuses a target before a reference, and goes there.
    RefusesAndMoves,
    /// It refuses without a rule and a word.
    Mute,
    /// It says that it cannot turn on and on, and does.
    Modest,
    /// It says that it can turn on and on, and refuses.
    Boastful,
    /// It says that it has stopped, and goes on.
    RunsOn,
    /// It says while it sweeps that it is ten degrees farther.
    Ahead,
    /// It says that it tells where it is while it sweeps, and says nothing.
    Silent,
}

/// A simulated table that lies.
struct Liar {
    table: Box<dyn Turntable>,
    info: TurntableInfo,
    lie: Lie,
    /// What it says instead of what is.
    said: Option<Position>,
}

impl Liar {
    fn does(&self, lie: Lie) -> bool {
        self.lie == lie
    }

    fn refusal(&self, rule: &'static str, reason: &str) -> Moved {
        let (rule, reason) = if self.does(Lie::Mute) { ("no", "") } else { (rule, reason) };
        Moved::Refused { rule, reason: reason.to_owned() }
    }
}

#[async_trait]
impl Turntable for Liar {
    async fn reference(&mut self, how: Reference) -> Result<Moved, TurntableError> {
        // A motion from before, of which nobody was told, comes to its end first.
        tokio::time::sleep(Duration::from_secs(30)).await;
        self.said = None;
        self.table.reference(how).await
    }

    async fn move_to(&mut self, to: Target) -> Result<Moved, TurntableError> {
        let known = matches!(self.position(), Position::Known(..));
        match self.lie {
            Lie::RefusesAndMoves if !known => {
                self.table.move_by(20.0).await?;
                Ok(self.refusal("motion-not-referenced", "the position is not known; find zero first"))
            }
            Lie::Mute if !known => Ok(self.refusal("", "")),
            Lie::Aslant if known => {
                let beside = Target { angle: Angle::new(to.angle.deg() + 5.0), ..to };
                self.said = Some(Position::Known(to.angle, Source::Home));
                self.table.move_to(beside).await.map(|_| Moved::Done(to.angle))
            }
            Lie::Early if known => {
                let half = Duration::from_millis(1500);
                if let Ok(moved) = timeout(half, self.table.move_to(to)).await {
                    return moved;
                }
                self.said = Some(Position::Known(to.angle, Source::Home));
                Ok(Moved::Done(to.angle))
            }
            _ => self.table.move_to(to).await,
        }
    }

    async fn move_by(&mut self, degrees: f64) -> Result<Moved, TurntableError> {
        match degrees.abs() > 360.0 {
            true => Ok(self.refusal("motion-out-of-range", "more than one turn is too much")),
            false => self.table.move_by(degrees).await,
        }
    }

    async fn rotate(&mut self, speed: f64) -> Result<(), TurntableError> {
        let reason = "this table does not turn on and on".to_owned();
        match self.lie {
            Lie::Boastful => {
                Err(TurntableError::Refused { id: "liar".to_owned(), rule: "motion-no-rotation", reason })
            }
            _ => self.table.rotate(speed).await,
        }
    }

    async fn sweep(
        &mut self,
        degrees: f64,
        speed: f64,
        seen: &watch::Sender<Option<Sighting>>,
    ) -> Result<Moved, TurntableError> {
        let (own, mut told) = watch::channel(None::<Sighting>);
        let sweep = self.table.sweep(degrees, speed, &own);
        tokio::pin!(sweep);
        loop {
            tokio::select! {
                biased;
                Ok(()) = told.changed() => {
                    let ahead = if self.lie == Lie::Ahead { 10.0 } else { 0.0 };
                    let sighting = told.borrow_and_update().map(|s| Sighting { deg: s.deg + ahead, ..s });
                    if self.lie != Lie::Silent {
                        seen.send_replace(sighting);
                    }
                }
                moved = &mut sweep => break moved,
            }
        }
    }

    async fn stop(&mut self) -> Result<Moved, TurntableError> {
        match self.lie {
            Lie::RunsOn if matches!(self.table.position(), Position::Estimated(_)) => {
                Ok(Moved::StoppedAt(None))
            }
            _ => self.table.stop().await,
        }
    }

    fn position(&self) -> Position {
        self.said.unwrap_or_else(|| self.table.position())
    }

    fn info(&self) -> &TurntableInfo {
        &self.info
    }
}

/// What the suite finds broken of a table that lies, before somebody who sees the platter.
async fn found(lie: Lie) -> (Vec<String>, Report) {
    let around = booth(Vec::new());
    let options: DeviceOptions = toml::from_str("driver = \"sim\"\nspeed_deg_s = 10.0").unwrap();
    let table = turnstage_drivers::turntable::open(&options, &around).await.unwrap();
    let mut info = table.info().clone();
    info.rotates = info.rotates.filter(|_| lie != Lie::Modest);
    let liar = Liar { table, info, lie, said: None };
    let report = turntable::conform_seen(Box::new(liar), around.booth.unwrap().into()).await;
    (report.broken().into_iter().map(str::to_owned).collect(), report)
}

const STANDS: &str = "is seen to stand where it says that it stands";

#[tokio::test(start_paused = true)]
async fn an_honest_table_is_found_to_be_one() {
    let around = booth(Vec::new());
    let table = turnstage_drivers::turntable::open(&DeviceOptions::new("sim"), &around).await.unwrap();
    let report = turntable::conform_seen(table, around.booth.unwrap().into()).await;
    assert!(report.checks.iter().all(|check| check.outcome == Outcome::Passed), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_stands_elsewhere_is_seen() {
    let (broken, report) = found(Lie::Aslant).await;
    assert_eq!(broken, [STANDS, "doubts its position after a stop on the way"], "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_done_too_early_is_seen_and_is_too_fast_to_be_true() {
    let (broken, report) = found(Lie::Early).await;
    for name in [STANDS, "says that it stands when it stands, within its limit"] {
        assert!(broken.iter().any(|broken| broken == name), "{name}\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_moves_though_it_refuses_is_seen() {
    let (broken, report) = found(Lie::RefusesAndMoves).await;
    assert_eq!(broken, ["refuses a target before a reference"], "{report}");
    assert!(report.to_string().contains("it refused, and turned 2"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_rule_and_a_word_is_none() {
    let (broken, report) = found(Lie::Mute).await;
    assert_eq!(broken, ["refuses a target before a reference", "refuses more than one turn"], "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_table_does_what_it_says_that_it_can_and_nothing_else() {
    let (broken, report) = found(Lie::Modest).await;
    assert_eq!(broken, ["refuses to turn on and on"], "{report}");
    let (broken, report) = found(Lie::Boastful).await;
    assert_eq!(broken, ["rotates until it is stopped"], "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_does_not_stop_is_seen() {
    let (broken, report) = found(Lie::RunsOn).await;
    for name in ["is seen to stand after a stop", "is seen to rotate, and to stand after the stop"] {
        assert!(broken.iter().any(|broken| broken == name), "{name}\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_tells_wrong_places_while_it_sweeps_or_none_is_found_out() {
    for lie in [Lie::Ahead, Lie::Silent] {
        let (broken, report) = found(lie).await;
        assert_eq!(broken, ["tells where it is while it sweeps"], "{report}");
    }
}
