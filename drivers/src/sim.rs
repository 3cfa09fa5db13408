//! The simulated booth: one platter with an object, the cameras that look at it, pedals and lamps.
//!
//! Every device with `driver = "sim"` of a station stands in the same [`Booth`], so that what the table does is what
//! the cameras see: lost steps, backlash and ringing show in the pixels. Time is tokio's and nothing ticks: the true
//! angle at any moment is computed, pictures are rendered from it, and both hold under paused time as well.

mod cameras;
pub(crate) mod coding;
mod contacts;
pub(crate) mod develop;
mod fault;
pub(crate) mod flaw;
mod light;
mod mesh;
mod model;
pub mod motion;
pub(crate) mod platter;
mod raster;
mod scene;
mod shadow;
pub(crate) mod stance;
pub(crate) mod studio;
mod texture;
pub(crate) mod tilting;
mod truth;
mod vector;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use cameras::CameraSlot;
pub(crate) use cameras::Counted;
use contacts::Contacts;
pub use fault::{CameraFault, Fault};
use model::Model;
use platter::{Mechanics, Motor, Platter};
use studio::{Lens, Studio};
use tilting::Tilting;

use crate::board::USUAL_MM;

/// Commands kept for [`Booth::commands`]; older ones are forgotten.
const COMMANDS_MAX: usize = 10_000;
/// A number that no open handle has, so that plugging in again revives none.
const NO_SESSION: u64 = 0;
/// Faults that may wait at the same time.
const FAULTS_MAX: usize = 1_000;

/// How the booth is made up.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct BoothOptions {
    /// Same seed, same angles and same frame numbers give the same bytes.
    pub seed: u64,
    /// What stands on the platter.
    pub object: Object,
    /// Size of the object, 0.05 to 3, 1 as usual. The platter keeps its own, and cameras their aim.
    pub object_scale: f64,
    /// Radius of the platter in millimetres, 50 to 3000; the object is scaled with it.
    pub platter_radius_mm: f64,
    /// Size of the board that `object = "board"` puts there, in millimetres, 40 to 1.4 times the platter's radius.
    pub board_mm: f64,
    /// The platter has a ring of marks round its rim, as [`Booth::rim`] says.
    pub rim_markers: bool,
    /// Somebody else turns the platter at so many degrees a second, -90 to 90; 0: it is turned by a table of the rig.
    pub turned_deg_s: f64,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
}

impl Default for BoothOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            object: Object::Vase,
            object_scale: 1.0,
            platter_radius_mm: 150.0,
            board_mm: USUAL_MM,
            rim_markers: false,
            turned_deg_s: 0.0,
            faults: Vec::new(),
        }
    }
}

impl BoothOptions {
    fn model(&self, object: Object) -> Model {
        let board_scale = self.board_mm / self.platter_radius_mm * f64::from(model::RADIUS);
        let scale = match object {
            Object::Board => board_scale / model::board::USUAL.size_mm,
            _ => self.object_scale,
        };
        Model::of(object, scale as f32, self.rim_markers)
    }
}

/// What stands on the platter. Every object looks different from every side.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// A painted, glazed jug.
    Vase,
    /// A small rally car.
    Car,
    /// A polished teapot that mirrors the booth.
    Chrome,
    /// A tin robot.
    Toy,
    /// A printed carton: flat faces with lettering, stripes and a bar code, crisp at any size.
    Carton,
    /// A soft toy bear: fine fur of little contrast, and hardly an edge.
    Plush,
    /// A laced boot of dark, dull leather on a lighter sole.
    Shoe,
    /// A slender bottle of dark, glossy glass with a paper label on one side.
    Bottle,
    /// The marker board, flat on the platter, to calibrate by.
    Board,
    /// A block with a mark on every side, to prove a calibration by.
    Block,
    /// Nothing: the bare platter, for a clean plate.
    Empty,
}

/// What the motor was told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    /// Drive to the home switch.
    Home,
    /// Turn by so many degrees, positive forward.
    Move {
        /// Signed degrees.
        deg: f64,
    },
    /// Turn by so many degrees at a speed.
    Sweep {
        /// Signed degrees.
        deg: f64,
        /// Degrees a second, positive.
        deg_s: f64,
    },
    /// Tilt by so many degrees.
    Tilt {
        /// Signed degrees.
        deg: f64,
    },
    /// Turn on and on.
    Rotate {
        /// Signed degrees a second.
        deg_s: f64,
    },
    /// Halt.
    Stop,
}

impl Command {
    /// True for everything but a stop.
    pub fn is_motion(&self) -> bool {
        *self != Command::Stop
    }
}

/// A command and when it reached the motor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// When.
    pub at: Instant,
    /// What.
    pub command: Command,
}

/// The booth. Clones are the same booth.
#[derive(Clone)]
pub struct Booth {
    state: Arc<Mutex<State>>,
    /// Wakes whoever waits for a motion, because its end has moved.
    changed: Arc<watch::Sender<()>>,
    /// Pedals, scanners and lamps.
    contacts: Arc<Contacts>,
}

struct State {
    options: BoothOptions,
    /// What stands there now.
    model: Arc<Model>,
    /// Height that cameras look at. It stays, whatever is put there later.
    aim: f32,
    table: Option<Table>,
    cameras: BTreeMap<String, CameraSlot>,
    told: VecDeque<Told>,
    /// Counts opens, so that a handle from before an unplug stays dead.
    sessions: u64,
}

struct Table {
    platter: Platter,
    /// Of a table that tilts.
    tilting: Option<Tilting>,
    session: u64,
    /// Moves begun over the life of the booth.
    moves: u64,
    /// From this moment on the link is gone.
    lost_at: Option<Instant>,
}

/// The device does not answer this handle any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Booth {
    /// A booth with everything at rest. Fails on options out of range, naming the key.
    pub fn new(options: BoothOptions) -> Result<Booth, String> {
        if !(50.0..=3000.0).contains(&options.platter_radius_mm) {
            return Err(format!("platter_radius_mm = {} is not in 50 to 3000", options.platter_radius_mm));
        }
        if options.faults.len() > FAULTS_MAX {
            return Err(format!("{} faults; at most {FAULTS_MAX} are taken", options.faults.len()));
        }
        if !(0.05..=3.0).contains(&options.object_scale) {
            return Err(format!("object_scale = {} is not in 0.05 to 3", options.object_scale));
        }
        let board_max = 1.4 * options.platter_radius_mm;
        if !(40.0..=board_max).contains(&options.board_mm) {
            return Err(format!("board_mm = {} is not in 40 to {board_max}", options.board_mm));
        }
        if !(-90.0..=90.0).contains(&options.turned_deg_s) {
            return Err(format!("turned_deg_s = {} is not in -90 to 90", options.turned_deg_s));
        }
        let (model, turned_deg_s) = (options.model(options.object), options.turned_deg_s);
        let state = State {
            options,
            aim: model.aim,
            model: Arc::new(model),
            table: None,
            cameras: BTreeMap::new(),
            told: VecDeque::new(),
            sessions: 0,
        };
        let booth = Booth {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::new(watch::channel(()).0),
            contacts: Arc::default(),
        };
        if turned_deg_s != 0.0 {
            booth.turn(turned_deg_s);
        }
        Ok(booth)
    }

    /// The platter's true angle now, in degrees and *not* wrapped: it counts whole turns since power-on, and holds
    /// backlash, lost steps, eccentricity and ringing. 0 while no table was opened.
    pub fn true_angle(&self) -> f64 {
        self.true_angle_at(Instant::now())
    }

    /// [`Booth::true_angle`] at another moment: now, planned, or a few motions back.
    pub fn true_angle_at(&self, at: Instant) -> f64 {
        self.lock().table.as_ref().map_or(0.0, |table| table.platter.true_deg(at))
    }

    /// Whether a motor turns or tilts now. Ringing after a stop does not count.
    pub fn is_moving(&self) -> bool {
        let (state, now) = (self.lock(), Instant::now());
        let turns = |table: &Table| matches!(table.platter.motor(now), Motor::Turning { .. });
        state.table.as_ref().is_some_and(|table| turns(table) || table.tilts(now))
    }

    /// What the motor was told since power-on, oldest first, at most the last 10 000. A command that was refused by
    /// the driver or fell to a lost link never reached the motor.
    pub fn commands(&self) -> Vec<Told> {
        self.lock().told.iter().copied().collect()
    }

    /// How many exposures a camera has made over the life of the booth.
    pub fn exposures(&self, camera: &str) -> u64 {
        self.lock().cameras.get(camera).map_or(0, |slot| slot.exposures)
    }

    /// Adds a fault; the oldest of a thousand is forgotten. A jam, a lost link and a stall befall a motion under
    /// way too.
    pub fn inject(&self, fault: Fault) {
        let mut state = self.lock();
        if state.options.faults.len() == FAULTS_MAX {
            state.options.faults.remove(0);
        }
        state.options.faults.push(fault.clone());
        let jams = state.jams();
        let now = Instant::now();
        if let Some(table) = &mut state.table {
            let turning = matches!(table.platter.motor(now), Motor::Turning { .. });
            match fault {
                Fault::Jam { .. } => table.platter.obstruct(&jams, now),
                Fault::LinkLoss { nth_move } if turning && nth_move == table.moves => {
                    table.lost_at = Some(now)
                }
                Fault::Stall { nth_move } if turning && nth_move == table.moves => {
                    table.platter.fall_silent(now)
                }
                _ => {}
            }
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Forgets every fault that waits, takes obstacles away and mends the table's link ([`Booth::mend_link`]). An
    /// unplugged camera stays unplugged until [`Booth::replug`].
    pub fn clear_faults(&self) {
        self.lock().options.faults.clear();
        self.mend_link();
    }

    /// Cuts the table's link, now. A motion under way goes on to its end.
    pub fn cut_link(&self) {
        if let Some(table) = &mut self.lock().table {
            table.lost_at = Some(Instant::now());
        }
        self.changed.send_replace(());
    }

    /// Mends the table's link. If it was lost, the table must be opened anew.
    pub fn mend_link(&self) {
        if let Some(table) = &mut self.lock().table {
            if table.lost(Instant::now()) {
                table.session = NO_SESSION;
            }
            table.lost_at = None;
        }
    }

    /// Plugs a camera in again. It must then be opened anew.
    pub fn replug(&self, camera: &str) {
        if let Some(slot) = self.lock().cameras.get_mut(camera) {
            slot.unplugged = false;
        }
    }

    /// Pulls a camera out, now.
    pub fn unplug(&self, camera: &str) {
        let mut state = self.lock();
        state.cameras.entry(camera.to_owned()).or_default().pull_out();
    }

    /// Somebody turns the platter by hand, by so many degrees, and the motor does not notice: what a power cut or a
    /// bump does to a table. Ignored before a table was opened.
    pub fn push(&self, deg: f64) {
        if let Some(table) = &mut self.lock().table {
            table.platter.push(deg, Instant::now());
        }
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that follows from the seed and a name.
    pub(crate) fn seed_for(&self, name: &str) -> u64 {
        let seed = self.lock().options.seed;
        name.bytes().fold(mixed(seed), |hash, byte| mixed(hash ^ u64::from(byte)))
    }

    /// What a camera sees from somewhere. Distances in the room's millimetres.
    pub(crate) fn studio(&self, lens: Lens) -> Studio {
        let state = self.lock();
        let scale = f64::from(model::RADIUS) / state.options.platter_radius_mm;
        let lens = Lens { distance_mm: lens.distance_mm * scale, ..lens };
        Studio::new(state.aim, lens)
    }

    pub(crate) fn platter_radius_mm(&self) -> f64 {
        self.lock().options.platter_radius_mm
    }
}

/// The turntable's side.
impl Booth {
    /// Powers the table on, or connects to it again; a handle from before is dead then.
    pub(crate) fn open_table(&self, mechanics: Mechanics, start_deg: f64) -> Result<u64, Gone> {
        let now = Instant::now();
        let mut state = self.lock();
        let session = state.next_session();
        match &mut state.table {
            Some(table) if table.lost(now) => return Err(Gone),
            Some(table) => {
                table.session = session;
                table.platter.set_mechanics(mechanics);
            }
            None => {
                let platter = Platter::at_rest(mechanics, start_deg, now);
                state.table = Some(Table { platter, tilting: None, session, moves: 0, lost_at: None });
            }
        }
        Ok(session)
    }

    /// Hands a command to the motor.
    pub(crate) fn tell(&self, session: u64, command: Command) -> Result<(), Gone> {
        let now = Instant::now();
        let mut state = self.lock();
        let jams = state.jams();
        let nth_move = state.table.as_ref().map_or(0, |table| table.moves) + 1;
        let lost_deg = state.lost_steps(nth_move);
        let goes_silent = state.options.faults.contains(&Fault::Stall { nth_move });
        let breaks = state.options.faults.contains(&Fault::LinkLoss { nth_move });
        let table = state.table(session, now)?;
        match command {
            Command::Home => table.platter.seek_home(&jams, now),
            Command::Rotate { deg_s } => table.platter.spin(deg_s, &jams, now),
            Command::Stop => {
                table.platter.halt(&jams, now);
                table.tilting.iter_mut().for_each(|tilting| tilting.halt(now));
            }
            Command::Tilt { deg } => table.tilting.iter_mut().for_each(|tilting| tilting.travel(deg, now)),
            Command::Move { .. } | Command::Sweep { .. } => {
                table.moves = nth_move;
                let (deg, speed) = match command {
                    Command::Sweep { deg, deg_s } => (deg, deg_s),
                    Command::Move { deg } => (deg, f64::INFINITY),
                    _ => (0.0, f64::INFINITY),
                };
                table.platter.travel_at(deg, speed, lost_deg, &jams, now);
                if goes_silent {
                    table.platter.fall_silent(now);
                }
                if breaks {
                    table.lost_at = Some(now + table.platter.left(now) / 2);
                }
            }
        }
        if state.told.len() == COMMANDS_MAX {
            state.told.pop_front();
        }
        state.told.push_back(Told { at: now, command });
        drop(state);
        self.changed.send_replace(());
        Ok(())
    }

    /// What the motor does and has counted, as it would answer a query.
    pub(crate) fn ask(&self, session: u64) -> Result<(Motor, f64), Gone> {
        let now = Instant::now();
        let mut state = self.lock();
        let table = state.table(session, now)?;
        Ok((table.platter.motor(now), table.platter.counted(now)))
    }

    /// When the link will break, if that is known.
    pub(crate) fn link_lost_at(&self) -> Option<Instant> {
        self.lock().table.as_ref().and_then(|table| table.lost_at)
    }

    /// Resolves when something has changed the course of a motion.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl State {
    fn next_session(&mut self) -> u64 {
        self.sessions += 1;
        self.sessions
    }

    fn table(&mut self, session: u64, now: Instant) -> Result<&mut Table, Gone> {
        self.table.as_mut().filter(|table| table.session == session && !table.lost(now)).ok_or(Gone)
    }

    fn jams(&self) -> Vec<f64> {
        let at = |fault: &Fault| if let Fault::Jam { at_deg } = fault { Some(*at_deg) } else { None };
        self.options.faults.iter().filter_map(at).collect()
    }

    fn lost_steps(&self, this_move: u64) -> f64 {
        let deg = |fault: &Fault| match fault {
            Fault::LostSteps { nth_move, deg } if *nth_move == this_move => Some(*deg),
            _ => None,
        };
        self.options.faults.iter().filter_map(deg).sum()
    }
}

impl Table {
    fn lost(&self, now: Instant) -> bool {
        self.lost_at.is_some_and(|at| at <= now)
    }
}

/// Scrambles a number: SplitMix64's output function (Steele et al. 2014).
pub(crate) fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
