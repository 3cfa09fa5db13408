//! A drive behind Modbus, on a serial line or on the network: coils or a control register, a speed, an input for the
//! index switch, and a watch over the link. Its framing is its own, so that it checks the driver's. Its serial line
//! carries one direction at a time: what is said into its answer is lost, and so is the answer.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Device;
use super::platform::Platform;

/// Coils: forward, backward, enable.
pub const COILS: [u16; 3] = [16, 17, 18];
/// 1 runs forward, 2 backward, 5 stops.
pub const CONTROL: u16 = 0x2000;
/// Hundredths of full speed.
pub const SPEED: u16 = 0x2001;
/// Tenths of a second without a request until it stops; 0 is never.
pub const WATCH: u16 = 0x0706;
/// The index switch.
pub const INPUT: u16 = 4;

/// Serial line or network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Unit first, CRC last.
    Rtu,
    /// Transaction and length first.
    Tcp,
}

/// What is different about this one. Change it at any time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Knobs {
    /// So many answers, beginning with the next, are lost.
    pub lose_answers: u32,
    /// So many requests to switch off are not heard.
    pub miss_stops: u32,
    /// Answers to what starts the motor are lost.
    pub hides_starts: bool,
    /// Noise before every answer.
    pub noise: Vec<u8>,
    /// It is dead, and its motor goes on.
    pub dead: bool,
    /// What it keeps of a written watch time is something else.
    pub watch_is_fixed: bool,
}

/// The drive and its platform.
pub struct Drive {
    /// What hangs on it.
    pub platform: Platform,
    /// See [`Knobs`].
    pub knobs: Knobs,
    /// Its number.
    pub unit: u8,
    /// Speed of its serial line.
    pub baud: u32,
    /// How long it thinks before it answers on a serial line.
    pub turnaround: Duration,
    /// Its watch stopped it.
    pub tripped: bool,
    /// Times that somebody spoke into its answer.
    pub collisions: u32,
    line: Line,
    coils: [bool; 3],
    control: u16,
    speed: u16,
    watch: u16,
    heard: Instant,
    inbox: Vec<u8>,
    /// Answers, each with the moment of its last byte.
    outbox: VecDeque<(Instant, Vec<u8>)>,
}

impl Drive {
    /// A drive at rest, unit 1.
    pub fn new(line: Line, platform: Platform) -> Self {
        Self {
            platform,
            knobs: Knobs::default(),
            unit: 1,
            baud: 115_200,
            turnaround: Duration::from_millis(2),
            tripped: false,
            collisions: 0,
            line,
            coils: [false; 3],
            control: 5,
            speed: 100,
            watch: 0,
            heard: Instant::now(),
            inbox: Vec::new(),
            outbox: VecDeque::new(),
        }
    }

    fn wire(&mut self, now: Instant) {
        let [forward, backward, enable] = self.coils;
        self.platform.shorted |= forward && backward;
        let share = match self.control {
            1 => 1.0,
            2 => -1.0,
            _ if !enable => 0.0,
            _ => f64::from(u8::from(forward)) - f64::from(u8::from(backward)),
        };
        self.platform.drive(share * f64::from(self.speed) / 100.0, now);
    }

    /// Does what a request says; the answer's function code and data.
    fn obey(&mut self, pdu: &[u8], now: Instant) -> Vec<u8> {
        let [function, a, b, c, d] = *pdu else { return vec![pdu.first().unwrap_or(&0) | 0x80, 3] };
        let (address, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        match (function, address) {
            (2, INPUT) if value == 1 => vec![2, 1, u8::from(self.platform.is_closed())],
            (3, _) if value == 1 => match self.register(address) {
                Some(register) => [&[3, 2], register.to_be_bytes().as_slice()].concat(),
                None => vec![0x83, 2],
            },
            (5, _) => match COILS.iter().position(|coil| *coil == address) {
                Some(coil) if value == 0 || value == 0xff00 => {
                    self.coils[coil] = value != 0;
                    self.wire(now);
                    pdu.to_vec()
                }
                Some(_) => vec![0x85, 3],
                None => vec![0x85, 2],
            },
            (6, _) => {
                match address {
                    CONTROL => self.control = value,
                    SPEED => self.speed = value,
                    WATCH if self.knobs.watch_is_fixed => {}
                    WATCH => self.watch = value,
                    _ => return vec![0x86, 2],
                }
                self.wire(now);
                pdu.to_vec()
            }
            (2, _) => vec![0x82, 2],
            _ => vec![function | 0x80, 1],
        }
    }

    fn register(&self, address: u16) -> Option<u16> {
        match address {
            CONTROL => Some(self.control),
            SPEED => Some(self.speed),
            WATCH => Some(self.watch),
            _ => None,
        }
    }

    /// Takes one whole request out of the inbox: its header for the answer, and its function code and data.
    fn request(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        match self.line {
            Line::Rtu => {
                let frame: Vec<u8> = self.inbox.get(..8)?.to_vec();
                let right = frame[0] == self.unit && checksum(&frame[..6]) == frame[6..];
                self.inbox.drain(..8);
                right.then(|| (vec![frame[0]], frame[1..6].to_vec()))
            }
            Line::Tcp => {
                let length = usize::from(*self.inbox.get(5)?);
                let frame: Vec<u8> = self.inbox.get(..6 + length)?.to_vec();
                self.inbox.drain(..6 + length);
                let right = length >= 2 && frame[2..5] == [0, 0, 0] && frame[6] == self.unit;
                right.then(|| (frame[..7].to_vec(), frame[7..].to_vec()))
            }
        }
    }

    /// How long so many bytes are on the line.
    fn on_line(&self, bytes: usize) -> Duration {
        Duration::from_secs(1) * (11 * bytes as u32) / self.baud
    }

    /// A request that begins now meets an answer that is not over: both are lost, but for the end of the answer.
    fn collides(&mut self, now: Instant) -> bool {
        match self.outbox.back_mut() {
            Some((over, answer)) if self.line == Line::Rtu && now < *over => {
                answer.drain(..answer.len() / 2);
                self.collisions += 1;
                true
            }
            _ => false,
        }
    }

    fn answer(&mut self, mut header: Vec<u8>, pdu: &[u8], now: Instant) {
        if self.knobs.lose_answers > 0 {
            self.knobs.lose_answers -= 1;
            return;
        }
        let mut frame = self.knobs.noise.clone();
        match self.line {
            Line::Rtu => {
                header.extend_from_slice(pdu);
                header.extend(checksum(&header));
            }
            Line::Tcp => {
                header[5] = u8::try_from(pdu.len() + 1).unwrap_or(u8::MAX);
                header.extend_from_slice(pdu);
            }
        }
        frame.extend(header);
        let over = match self.line {
            Line::Rtu => now + self.on_line(8) + self.turnaround + self.on_line(frame.len()),
            Line::Tcp => now,
        };
        self.outbox.push_back((over, frame));
    }
}

impl Device for Drive {
    fn advance(&mut self, now: Instant) {
        let quiet = Duration::from_millis(u64::from(self.watch) * 100);
        let trips = self.heard + quiet;
        if self.watch > 0 && now >= trips && !self.platform.stands() {
            self.platform.drive(0.0, trips.min(now));
            (self.tripped, self.coils, self.control) = (true, [false; 3], 5);
        }
        self.platform.advance(now);
    }

    fn opened(&mut self, now: Instant) {
        self.advance(now);
        (self.inbox, self.outbox) = (Vec::new(), VecDeque::new());
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        self.advance(now);
        if self.knobs.dead || self.collides(now) {
            return;
        }
        self.inbox.extend_from_slice(bytes);
        while let Some((header, pdu)) = self.request() {
            self.heard = now;
            let is_stop = matches!(pdu.as_slice(), [5, _, _, 0, 0] | [6, 0x20, 0, 0, 5]);
            if is_stop && self.knobs.miss_stops > 0 {
                self.knobs.miss_stops -= 1;
                continue;
            }
            let starts = self.platform.starts;
            let answer = self.obey(&pdu, now);
            if !self.knobs.hides_starts || self.platform.starts == starts {
                self.answer(header, &answer, now);
            }
        }
    }

    fn say(&mut self, now: Instant) -> Vec<u8> {
        self.advance(now);
        let over = self.outbox.iter().take_while(|(over, _)| *over <= now).count();
        self.outbox.drain(..over).flat_map(|(_, answer)| answer).collect()
    }
}

/// The two bytes of a serial line's checksum, low one first, by the specification's table-free method.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u16 = 0xffff;
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = sum & 1 == 1;
            sum >>= 1;
            if carry {
                sum ^= 0xa001;
            }
        }
    }
    sum.to_le_bytes()
}
