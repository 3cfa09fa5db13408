//! Who answers, and what it can do, before anything moves: stop, banner, stop, `$I`, `$$`. Nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::keys::Keys;
use super::line::Line;
use super::motion::{HOLD, HOMING};
use super::talk::Talk;
use super::{Axis, Grbl, NAME, NEVER, wrong};
use crate::link::Link;
use crate::tried::is_tried;
use crate::turntable::{Direction, Opened, Position, Turntable, TurntableError, TurntableInfo, WithoutLink};

/// A board that starts anew when its port is opened says its banner within this.
const BOOT: Duration = Duration::from_millis(2500);
/// An answer to a question about itself comes within this.
const ANSWER: Duration = Duration::from_secs(3);
/// Longer than any of its answers: a device that talks on and on is another one.
const LINES_MAX: usize = 400;
/// Of a controller that does not tell: slow, so that limits are rather too long.
const ACCELERATION_DEG_S2: f64 = 5.0;
/// Homing looks for its switch over so many times the travel of `$130`, then touches it again within so many times the
/// pull-off of `$27` (GRBL 1.1, `limits.c`: search 1.5, pull-off, locate 5, pull-off).
const SEARCH: f64 = 1.5;
const TOUCHES: f64 = 7.0;
/// Travel and pull-off of a controller that does not tell.
const TRAVEL_DEG: f64 = 360.0;
const PULL_OFF_DEG: f64 = 5.0;

/// Opens a table on a link.
pub(super) async fn open(link: Box<dyn Link>, keys: Keys) -> Opened {
    let (axis, tilt) = (keys.axis().map_err(wrong)?, keys.tilt_axis().map_err(wrong)?);
    let mut talk = Talk::new(link);
    // One that did not start anew when it was opened may still be on its way. A hold does no harm to one that stands, and a
    // board that starts hears nothing.
    talk.signal(HOLD).await.map_err(|e| e.while_trying(talk.name(), "stop"))?;
    let banner = identify(&mut talk, keys.boot_ms.map_or(BOOT, Duration::from_millis)).await?;
    let mut table = unprobed(talk, keys, axis, banner);
    table.stop().await?;
    let version = table.ask("$I").await?.into_iter().find_map(|line| match line {
        Line::Version(version) => Some(version),
        _ => None,
    });
    let id = table.info.id.clone();
    if table.banner.is_none() && version.is_none() {
        return Err(TurntableError::WrongDevice {
            id,
            found: "something that gives reports but no version".to_owned(),
            wanted: "GRBL 1.1 or newer".to_owned(),
        });
    }
    let settings = table.ask("$$").await?.into_iter().filter_map(|line| match line {
        Line::Setting(number, value) => Some((number, value)),
        _ => None,
    });
    let settings = Settings(settings.collect());
    table.turn = settings.axis(axis, table.keys.reverse, table.keys.speed_deg_s).map_err(wrong)?;
    table.tilt =
        tilt.map(|tilt| settings.axis(tilt, table.keys.tilt_reverse, None)).transpose().map_err(wrong)?;
    let home = settings.home(table.keys.home).map_err(wrong)?;
    table.info = info(&table, id, home, version);
    table.home_deg = settings.home_deg(axis);
    table.info.home_way = settings.home_way(axis, table.turn.sign);
    Ok(Box::new(table))
}

/// Waits for the board to start and for a report. Returns the banner, if it said one.
async fn identify(talk: &mut Talk, boot: Duration) -> Result<Option<String>, TurntableError> {
    let id = talk.name().to_owned();
    let tried = "ask who answers";
    let (mut banner, mut other, mut said) = (None, None, 0);
    for (polled, limit) in [(false, boot), (true, ANSWER)] {
        let until = Instant::now() + limit;
        while Instant::now() < until && said < LINES_MAX {
            let heard = match polled {
                true => talk.watch(until).await,
                false => talk.hear(until).await,
            };
            said += 1;
            match heard.map_err(|e| e.while_trying(&id, tried))? {
                Some(Line::Banner(name)) => {
                    banner = Some(name);
                    // What it has to add, such as a lock-out, follows at once; the report will tell.
                    break;
                }
                Some(Line::Status(_)) => return Ok(banner),
                Some(Line::Other(text)) => other = Some(text),
                _ => {}
            }
        }
    }
    Err(match (banner, other) {
        (None, Some(text)) => TurntableError::WrongDevice {
            id,
            found: format!("\"{}\"", text.chars().take(60).collect::<String>().escape_debug()),
            wanted: "a GRBL controller".to_owned(),
        },
        _ => TurntableError::NoReply { id, tried: tried.to_owned(), limit: ANSWER },
    })
}

/// A table of which nothing is known yet but that it can be stopped.
fn unprobed(talk: Talk, keys: Keys, index: usize, banner: Option<String>) -> Grbl {
    let info = TurntableInfo {
        driver: NAME,
        id: talk.name().to_owned(),
        model: String::new(),
        home: false,
        home_way: Direction::Forward,
        one_way: None,
        speed_max: 0.0,
        acceleration: 0.0,
        rotates: None,
        sweeps: false,
        stops: true,
        move_limit: Duration::ZERO,
        firmware: None,
        tilt: None,
        step_deg: None,
        without_link: WithoutLink::EndsMove,
        tried: false,
    };
    let turn = Axis { index, sign: 1.0, speed: 10.0, acceleration: 1.0, step_deg: super::RESOLUTION_DEG };
    Grbl {
        talk,
        keys,
        info,
        turn,
        tilt: None,
        zero: None,
        home_deg: 360.0,
        slack: None,
        wound: None,
        level: None,
        axes: Vec::new(),
        position: Position::Unknown,
        pending: None,
        doubt: NEVER,
        alarm: None,
        banner,
        misses: 0,
    }
}

fn info(table: &Grbl, id: String, home: bool, version: Option<String>) -> TurntableInfo {
    let model = table.banner.clone().unwrap_or_else(|| "GRBL".to_owned());
    let turn = table.turn.limit(360.0, table.turn.speed);
    TurntableInfo {
        driver: NAME,
        id,
        home,
        home_way: Direction::Forward,
        one_way: None,
        speed_max: table.turn.speed,
        acceleration: table.turn.acceleration,
        rotates: Some((super::SLOWEST_DEG_S, table.turn.speed)),
        sweeps: true,
        stops: true,
        move_limit: if home { turn.max(HOMING) } else { turn },
        firmware: version,
        tilt: table.tilt.and(table.keys.tilt_deg),
        step_deg: None,
        without_link: WithoutLink::EndsMove,
        tried: is_tried(NAME, &model),
        model,
    }
}

impl Grbl {
    /// Everything that is said to one question, up to its `ok`.
    async fn ask(&mut self, question: &str) -> Result<Vec<Line>, TurntableError> {
        let tried = format!("ask {question}");
        self.talk.say(question).await.map_err(|e| self.error(e, &tried))?;
        let until = Instant::now() + ANSWER;
        let mut lines = Vec::new();
        while Instant::now() < until && lines.len() < LINES_MAX {
            match self.talk.hear(until).await.map_err(|e| self.error(e, &tried))? {
                Some(Line::Ok | Line::Error(_)) => return Ok(lines),
                Some(line) => lines.push(line),
                None => {}
            }
        }
        Err(self.silent(&tried, ANSWER))
    }
}

/// What `$$` told.
struct Settings(BTreeMap<u16, f64>);

impl Settings {
    fn get(&self, number: u16) -> Option<f64> {
        self.0.get(&number).copied()
    }

    /// Steps a degree, degrees a minute and degrees per second squared of one axis. Its unit is the degree.
    fn axis(&self, index: usize, reverse: bool, speed: Option<f64>) -> Result<Axis, String> {
        // Rotary axes of grblHAL are never counted in inches, but all of our lines say that they are millimetres.
        if self.get(13).is_some_and(|inches| inches != 0.0) {
            return Err("the controller reports in inches; set $13=0".to_owned());
        }
        let of = |first: usize| {
            let number = u16::try_from(first + index).ok()?;
            self.get(number).filter(|value| *value > 0.0)
        };
        let letter = super::line::AXES[index];
        let rate = of(110).map(|deg_min| deg_min / 60.0);
        let speed = match (speed, rate) {
            (Some(speed), Some(rate)) => speed.min(rate),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => {
                let setting = 110 + index;
                return Err(format!(
                    "the controller does not tell ${setting}, the speed of its axis {letter}; set speed_deg_s, \
                     or name another axis"
                ));
            }
        };
        Ok(Axis {
            index,
            sign: if reverse { -1.0 } else { 1.0 },
            speed,
            acceleration: of(120).unwrap_or(ACCELERATION_DEG_S2),
            step_deg: of(100).map_or(super::RESOLUTION_DEG, |steps| 1.0 / steps),
        })
    }

    /// Homing looks for the switch in the positive direction of an axis, unless its bit of `$23` is set.
    fn home_way(&self, index: usize, sign: f64) -> Direction {
        let negative = self.get(23).is_some_and(|bits| bits as u32 & (1 << index) != 0);
        match (sign > 0.0, negative) {
            (true, false) | (false, true) => Direction::Forward,
            (true, true) | (false, false) => Direction::Backward,
        }
    }

    /// Most degrees that homing turns an axis, by the controller's own limits.
    fn home_deg(&self, index: usize) -> f64 {
        let travel = u16::try_from(130 + index).ok().and_then(|number| self.get(number));
        SEARCH * travel.unwrap_or(TRAVEL_DEG) + TOUCHES * self.get(27).unwrap_or(PULL_OFF_DEG)
    }

    fn home(&self, wanted: Option<bool>) -> Result<bool, String> {
        let has = self.get(22).map(|bits| bits as u32 & 1 == 1);
        match (wanted, has) {
            (Some(true), Some(false)) => {
                Err("home = true, but homing is switched off in the controller; set $22=1 or home = false"
                    .to_owned())
            }
            (Some(wanted), _) => Ok(wanted),
            (None, has) => Ok(has.unwrap_or(false)),
        }
    }
}
