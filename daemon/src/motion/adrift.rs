//! How far a table may still go whose link is lost: nothing can be sent then, not even a stop.

use turnstage_drivers::turntable::{TurntableInfo, WithoutLink};

use super::Move;

/// What the command at hand asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum UnderWay {
    /// Nothing moves by it.
    Nothing,
    /// So many degrees of turn, at most.
    Turn(f64),
    /// So many degrees of tilt, at most.
    Tilt(f64),
}

impl UnderWay {
    /// What is known of a motion before its ways are; `tilt_deg` is where the table is tilted to. Where nobody knows that, a
    /// tilt may take the longer way from either end.
    pub(super) fn at_first(what: Move, info: &TurntableInfo, tilt_deg: Option<f64>) -> Self {
        let Move::Tilt(to) = what else { return Self::Nothing };
        let ends = || info.tilt.map_or(0.0, |(low, high)| (to - low).abs().max((to - high).abs()));
        Self::Tilt(tilt_deg.map_or_else(ends, |from| (to - from).abs()))
    }
}

/// What a table may still do whose link was lost under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Adrift {
    /// It may turn by so many degrees more, at most.
    Turns(f64),
    /// It may tilt by so many degrees more, at most.
    Tilts(f64),
    /// It turns on until its power is cut.
    TurnsOn,
}

impl Adrift {
    pub(super) fn of(under_way: UnderWay, without_link: WithoutLink) -> Option<Self> {
        Some(match (under_way, without_link) {
            (UnderWay::Nothing, _) => return None,
            (UnderWay::Tilt(deg), _) => Self::Tilts(deg.abs()),
            (UnderWay::Turn(_), WithoutLink::RunsOn(None)) => Self::TurnsOn,
            (UnderWay::Turn(_), WithoutLink::RunsOn(Some(limit))) => Self::Turns(limit.ends_deg),
            (UnderWay::Turn(deg), _) => Self::Turns(deg.abs()),
        })
    }

    /// What is told of it, and what to do.
    pub(super) fn words(adrift: Option<Self>) -> String {
        match adrift {
            None => "Link lost. Check that it stands still, then its cable, then continue.".to_owned(),
            Some(Self::Turns(deg)) => format!(
                "Link lost: it may still turn up to {:.0} degrees, keep clear. Check its cable, then continue.",
                deg.ceil()
            ),
            Some(Self::Tilts(deg)) => format!(
                "Link lost: it may still tilt by up to {:.0} degrees, keep clear. Check its cable, then continue.",
                deg.ceil()
            ),
            Some(Self::TurnsOn) => {
                "Link lost: it turns on until its power is cut. Press the emergency stop and keep clear. \
                                    Check its cable, then continue."
                    .to_owned()
            }
        }
    }

    /// What to do where a stop was not answered.
    pub(super) fn unanswered(adrift: Option<Self>) -> &'static str {
        match adrift {
            Some(Self::TurnsOn) => {
                "A stop was sent. Without it, it turns on until its power is cut: if it turns, press the emergency stop."
            }
            _ => "A stop was sent. Check that it stands still.",
        }
    }
}

#[cfg(test)]
mod tests;
