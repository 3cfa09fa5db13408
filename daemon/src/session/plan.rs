//! What is to be shot next: first every place in order, then, at the end of the turn, what must be taken again.

use std::collections::{BTreeMap, BTreeSet};

use turnstage_drivers::Angle;

use crate::recipe::Place;

/// One picture of the plan: the place and the camera.
pub type Slot = (u32, String);

/// The places, and what is still to be done at them.
#[derive(Debug, Clone)]
pub struct Plan {
    places: Vec<Place>,
    first: BTreeSet<Slot>,
    again: BTreeSet<Slot>,
    /// How often a slot was put back.
    returns: BTreeMap<Slot, u32>,
}

impl Plan {
    /// Every place for every camera.
    pub fn new(places: Vec<Place>, cameras: &[String]) -> Self {
        let each = places.iter().flat_map(|place| cameras.iter().map(|name| (place.shot, name.clone())));
        let first = each.collect();
        Self { places, first, again: BTreeSet::new(), returns: BTreeMap::new() }
    }

    /// All places.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Taken already, in an earlier life of the session.
    pub fn skip(&mut self, slot: &Slot) {
        self.first.remove(slot);
        self.again.remove(slot);
    }

    /// A person asks for it once more.
    pub fn retake(&mut self, slot: Slot) {
        self.first.remove(&slot);
        self.again.insert(slot);
    }

    /// Puts a slot on the list for the end of the turn, unless that was done `most` times already.
    pub fn put_back(&mut self, slot: Slot, most: u32) -> bool {
        let returns = self.returns.entry(slot.clone()).or_default();
        if *returns >= most {
            return false;
        }
        *returns += 1;
        self.again.insert(slot);
        true
    }

    /// A person looked: each slot has its automatic retakes again.
    pub fn forgive(&mut self) {
        self.returns.clear();
    }

    /// Takes the next place off the list, with the cameras to be used. After the first pass the nearest place ahead
    /// of `from` comes first, so that one more turn at most is needed.
    pub fn next(&mut self, from: Option<Angle>) -> Option<(Place, Vec<String>)> {
        let shot = match self.first.first() {
            Some((shot, _)) => *shot,
            None => self.nearest(from)?,
        };
        let set = if self.first.is_empty() { &mut self.again } else { &mut self.first };
        let cameras = set.iter().filter(|slot| slot.0 == shot).map(|slot| slot.1.clone()).collect();
        set.retain(|slot| slot.0 != shot);
        self.places.iter().find(|place| place.shot == shot).map(|place| (*place, cameras))
    }

    /// A place is being shot.
    pub fn take(&mut self, shot: u32) {
        self.first.retain(|slot| slot.0 != shot);
        self.again.retain(|slot| slot.0 != shot);
    }

    /// Nothing is left but what is under way.
    pub fn is_done(&self) -> bool {
        self.first.is_empty() && self.again.is_empty()
    }

    /// Places left in the first pass.
    pub fn first_left(&self) -> u32 {
        distinct(&self.first)
    }

    /// Places on the list for the end of the turn.
    pub fn again_left(&self) -> u32 {
        distinct(&self.again)
    }

    fn nearest(&self, from: Option<Angle>) -> Option<u32> {
        let ahead = |shot: u32| {
            let angle = self.places.iter().find(|place| place.shot == shot).and_then(|place| place.angle);
            match (from, angle) {
                (Some(from), Some(angle)) => from.forward_to(angle),
                _ => f64::from(shot),
            }
        };
        let shots = self.again.iter().map(|slot| slot.0);
        shots.min_by(|a, b| ahead(*a).total_cmp(&ahead(*b)))
    }
}

fn distinct(slots: &BTreeSet<Slot>) -> u32 {
    slots.iter().map(|slot| slot.0).collect::<BTreeSet<_>>().len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(cameras: &[&str]) -> Plan {
        let places = (0..36).map(|shot| Place::plain(shot, Some(Angle::new(f64::from(shot) * 10.0))));
        Plan::new(places.collect(), &cameras.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_first_pass_goes_in_order_and_retakes_come_at_the_end_of_the_turn() {
        let mut plan = plan(&["main"]);
        let mut shots = Vec::new();
        let mut at = None;
        while let Some((place, _)) = plan.next(at) {
            if shots.len() == 20 {
                plan.put_back((3, "main".to_owned()), 1);
                plan.put_back((16, "main".to_owned()), 1);
            }
            shots.push(place.shot);
            at = place.angle;
        }
        assert_eq!(shots[..36], (0..36).collect::<Vec<_>>());
        assert_eq!(shots[36..], [3, 16]);
    }

    #[test]
    fn a_retake_takes_the_nearest_place_ahead_first() {
        let mut plan = plan(&["main"]);
        while plan.next(None).is_some() {}
        plan.retake((2, "main".to_owned()));
        plan.retake((30, "main".to_owned()));
        let (place, _) = plan.next(Some(Angle::new(290.0))).unwrap();
        assert_eq!(place.shot, 30);
    }

    #[test]
    fn one_failed_camera_is_taken_again_alone() {
        let mut plan = plan(&["high", "low"]);
        let (_, cameras) = plan.next(None).unwrap();
        assert_eq!(cameras, ["high", "low"]);
        while plan.next(None).is_some() {}
        assert!(plan.put_back((5, "low".to_owned()), 1));
        assert_eq!(plan.next(None).unwrap().1, ["low"]);
        assert!(!plan.put_back((5, "low".to_owned()), 1), "only once");
        assert!(plan.is_done());
    }
}
