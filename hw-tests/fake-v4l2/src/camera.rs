//! A camera: its plan, its controls, and the picture that stands before it. It outlives every open node.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::controls::{Controls, InForce};
use crate::place;
use crate::plan::Plan;

pub struct Camera {
    pub name: String,
    plan: Mutex<Plan>,
    controls: Mutex<Controls>,
    frames: AtomicU64,
    /// It was unplugged: when it is opened next, it knows nothing of what it was set to.
    unpowered: AtomicBool,
}

impl Camera {
    /// The camera of a name, the same for the life of the program.
    pub fn of(name: &str) -> Arc<Camera> {
        static ALL: Mutex<BTreeMap<String, Arc<Camera>>> = Mutex::new(BTreeMap::new());
        let mut all = hold(&ALL);
        let new = || {
            let plan = planned(name);
            let (controls, plan) = (Mutex::new(Controls::of(&plan)), Mutex::new(plan));
            let (frames, unpowered) = (AtomicU64::new(0), AtomicBool::new(false));
            Arc::new(Camera { name: name.to_owned(), plan, controls, frames, unpowered })
        };
        all.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Its plug was pulled.
    pub fn lose_power(&self) {
        self.unpowered.store(true, Ordering::Release);
    }

    /// It is opened; after it was without power, as it is made and as its plan says now.
    pub fn power_on(&self) {
        if self.unpowered.swap(false, Ordering::AcqRel) {
            let plan = planned(&self.name);
            *self.controls() = Controls::of(&plan);
            *self.plan() = plan;
        }
    }

    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        hold(&self.plan)
    }

    pub fn controls(&self) -> MutexGuard<'_, Controls> {
        hold(&self.controls)
    }

    /// Begins an exposure: its number, counted from 1, and what it is taken with.
    pub fn expose(&self) -> (u64, InForce) {
        let number = self.frames.fetch_add(1, Ordering::Relaxed) + 1;
        (number, self.controls().expose(&self.plan()))
    }

    /// The JPEG of what stands before the camera now: `now/NAME.jpg`, or the next of the folder `pictures/NAME`.
    pub fn sees(&self, number: u64) -> Vec<u8> {
        let Some(folder) = place::folder() else { return Vec::new() };
        if let Ok(now) = std::fs::read(folder.join("now").join(format!("{}.jpg", self.name))) {
            return now;
        }
        let entries = std::fs::read_dir(folder.join("pictures").join(&self.name)).into_iter().flatten();
        let mut pictures: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        pictures.sort();
        let index = usize::try_from(number).unwrap_or_default() % pictures.len().max(1);
        pictures.get(index).and_then(|picture| std::fs::read(picture).ok()).unwrap_or_default()
    }
}

/// The plan of a name, as it stands in the folder.
fn planned(name: &str) -> Plan {
    let plan = place::folder().map(|folder| folder.join("cameras").join(name));
    Plan::read(&plan.and_then(|plan| std::fs::read_to_string(plan).ok()).unwrap_or_default())
}

/// Locks, also after a panic of another thread: a test that fails says so itself.
pub fn hold<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
