//! A candidate in a process of its own, which answers lines: so libraries that cannot share a program are compared,
//! and time and memory are those of one candidate and nothing else.
//!
//! It is started with the path of a picture and reads it. Each `go` is answered with the CPU milliseconds of one round,
//! user and system, of all its threads; `peak` with the most bytes that were resident since the picture was read.

use std::io::{BufRead, BufReader, Read, Write, stdin};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::measure::{Meter, forget_peak, peak_resident_bytes};
use super::table::Unmeasured;

/// A running candidate; it ends when this is dropped.
pub struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    idle_bytes: u64,
}

impl Peer {
    /// Starts it and lets it do one round, so that one that lacks something says so now.
    pub fn start(command: &mut Command) -> Result<Self, Unmeasured> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().display().to_string();
        let mut child = command.spawn().map_err(Unmeasured::at(&format!("start {program}")))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Unmeasured(format!("{program} has no pipes")));
        };
        let mut peer = Self { child, orders, answers: BufReader::new(answers), idle_bytes: 0 };
        peer.idle_bytes = peer.ask("peak")?;
        peer.round_s()?;
        Ok(peer)
    }

    /// Lets it do one round; the CPU time in seconds.
    pub fn round_s(&mut self) -> Result<f64, Unmeasured> {
        Ok(self.ask::<f64>("go")? / 1e3)
    }

    /// Most bytes resident, and how many of them came with the rounds.
    pub fn peak_bytes(&mut self) -> Result<(u64, u64), Unmeasured> {
        let peak: u64 = self.ask("peak")?;
        Ok((peak, peak.saturating_sub(self.idle_bytes)))
    }

    fn ask<T: std::str::FromStr>(&mut self, order: &str) -> Result<T, Unmeasured> {
        let mut answer = String::new();
        let asked = writeln!(self.orders, "{order}").and_then(|()| self.answers.read_line(&mut answer));
        match asked {
            Ok(1..) => {
                let strange = |_| Unmeasured(format!("it answered \"{order}\" with \"{}\"", answer.trim()));
                answer.trim().parse().map_err(strange)
            }
            Ok(0) | Err(_) => Err(Unmeasured(self.last_words())),
        }
    }

    /// Why it ended: the last line of its complaint, which is where most programs name the cause.
    fn last_words(&mut self) -> String {
        let mut words = String::new();
        if let Some(errors) = &mut self.child.stderr {
            // What cannot be read is no worse than silence.
            drop(errors.read_to_string(&mut words));
        }
        match words.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => line.trim().to_owned(),
            None => "it ended without a word".to_owned(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Answers lines from stdin until it is closed, as a candidate of this program.
pub fn serve(mut round: impl FnMut() -> Result<(), Unmeasured>) -> Result<(), Unmeasured> {
    forget_peak()?;
    for line in stdin().lock().lines() {
        match line.map_err(Unmeasured::at("read an order"))?.trim() {
            "go" => {
                let begun = Meter::Cpu.now();
                round()?;
                println!("{}", Meter::Cpu.now().saturating_sub(begun).as_secs_f64() * 1e3);
            }
            "peak" => println!("{}", peak_resident_bytes()?),
            order => return Err(Unmeasured(format!("a candidate has no order \"{order}\""))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Peer, Unmeasured> {
        Peer::start(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn a_candidate_answers_with_its_time_and_its_growth() {
        let mut peer = shell(
            "peak=1000; while read -r order; do case $order in go) peak=1500; echo 12.5;; *) echo $peak;; esac; done",
        );
        let peer = peer.as_mut().unwrap();
        assert_eq!(peer.round_s().unwrap(), 0.0125);
        assert_eq!(peer.peak_bytes().unwrap(), (1500, 500));
    }

    #[test]
    fn a_candidate_that_cannot_work_is_told_by_its_own_last_line() {
        let why = shell("echo 'Traceback' >&2; echo \"no module named 'cv2'\" >&2; exit 1").err().unwrap();
        assert_eq!(why.to_string(), "no module named 'cv2'");
        let why = shell("exit 1").err().unwrap();
        assert_eq!(why.to_string(), "it ended without a word");
        let why = shell("read -r order; echo many").err().unwrap();
        assert!(why.to_string().contains("many"), "{why}");
        let why = Peer::start(&mut Command::new("no-such-program")).err().unwrap();
        assert!(why.to_string().contains("no-such-program"), "{why}");
    }
}
