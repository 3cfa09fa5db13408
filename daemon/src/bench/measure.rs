//! How candidates are compared on a machine that is never quiet: they alternate, and ratios are taken round by round.
//!
//! Every round runs each candidate once, beginning with another one each time, and the first round is not counted
//! (caches, page faults, clock frequency). Work of the processor is measured in CPU time of the process, which other
//! programs move by 5 to 10 %; waiting can only be measured in wall time, which they may double.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::table::Unmeasured;

/// What passes while a candidate works.
#[derive(Debug, Clone, Copy)]
pub enum Meter {
    /// CPU time of all threads of this process.
    Cpu,
    /// Time on the wall.
    Wall,
    /// CPU time of all children that have ended, in hundredths of a second.
    Children,
}

impl Meter {
    /// Time passed so far, since no particular moment.
    pub fn now(self) -> Duration {
        let now = clock_gettime(match self {
            Self::Cpu => ClockId::ProcessCPUTime,
            Self::Wall => ClockId::Monotonic,
            Self::Children => return children(),
        });
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
    }
}

/// CPU time, user and system, of the children that this process has waited for; 0 where the system does not tell.
fn children() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    Duration::from_millis(children_ticks(&stat).unwrap_or_default() * 10)
}

/// `cutime` and `cstime` of `/proc/PID/stat` (proc(5)), in the hundredths of a second that Linux shows to programs.
fn children_ticks(stat: &str) -> Option<u64> {
    // The program's name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(13).map(str::parse::<u64>);
    Some(ticks.next()?.ok()? + ticks.next()?.ok()?)
}

/// What is compared: a name for the progress line, and one round's work.
pub type Candidate<'a> = &'a mut dyn FnMut() -> Result<(), Unmeasured>;

/// Seconds that each candidate took, round by round.
#[derive(Debug)]
pub struct Rounds(Vec<Vec<f64>>);

/// Runs every candidate `rounds` times, and once before.
pub fn alternate<const N: usize>(
    rounds: usize,
    meter: Meter,
    candidates: [Candidate<'_>; N],
) -> Result<Rounds, Unmeasured> {
    take_turns(rounds, N, |which| {
        let begun = meter.now();
        candidates[which]()?;
        Ok(meter.now().saturating_sub(begun).as_secs_f64())
    })
}

/// The same for `count` candidates that measure themselves: `seconds` lets one do a round and gives its time.
pub fn take_turns(
    rounds: usize,
    count: usize,
    mut seconds: impl FnMut(usize) -> Result<f64, Unmeasured>,
) -> Result<Rounds, Unmeasured> {
    let mut counted = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let mut taken = vec![0.0; count];
        for turn in 0..count {
            let which = (round + turn) % count;
            taken[which] = seconds(which)?;
        }
        if round > 0 {
            counted.push(taken);
        }
    }
    Ok(Rounds(counted))
}

impl Rounds {
    /// Median time of a candidate in milliseconds.
    pub fn median_ms(&self, which: usize) -> f64 {
        quantile(self.0.iter().map(|round| round[which] * 1e3).collect(), 0.5)
    }

    /// A candidate's time to that of others together in the same round: lower quartile, median, upper quartile.
    pub fn ratio(&self, which: usize, to: &[usize]) -> [f64; 3] {
        let yardstick = |round: &[f64]| to.iter().map(|one| round[*one]).sum::<f64>();
        let ratios: Vec<f64> = self.0.iter().map(|round| round[which] / yardstick(round)).collect();
        [0.25, 0.5, 0.75].map(|share| quantile(ratios.clone(), share))
    }
}

/// The value that so great a share of the others does not exceed; 0 of nothing.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(at).copied().unwrap_or_default()
}

/// Most memory that this process ever had resident, in bytes (`VmHWM` of `/proc/self/status`).
pub fn peak_resident_bytes() -> Result<u64, Unmeasured> {
    let status =
        std::fs::read_to_string("/proc/self/status").map_err(Unmeasured::at("read its own status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kb.map(|kb| kb * 1024).ok_or_else(|| Unmeasured("/proc/self/status has no VmHWM".to_owned()))
}

/// Makes what is resident now the peak.
pub fn forget_peak() -> Result<(), Unmeasured> {
    std::fs::write("/proc/self/clear_refs", "5").map_err(Unmeasured::at("reset the peak of its memory"))
}

/// Programs that wanted a processor over the last minute; 0 where the system does not tell.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// Processor and number of cores, for the head of the table.
pub fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = cpus.lines().find(|line| line.starts_with("model name"));
    let model =
        line.and_then(|line| line.split_once(": ")).map_or(std::env::consts::ARCH, |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {cores} cores")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn candidates_take_turns_in_going_first_and_run_once_more_than_counted() {
        let order = RefCell::new(String::new());
        let run = |name| {
            order.borrow_mut().push(name);
            Ok(())
        };
        let (mut a, mut b) = (|| run('a'), || run('b'));
        let rounds = alternate(3, Meter::Cpu, [&mut a, &mut b]).unwrap();
        assert_eq!(*order.borrow(), "abbaabba");
        assert_eq!(rounds.0.len(), 3);
    }

    #[test]
    fn the_time_of_children_is_read_whatever_the_program_is_called() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 0 0 0 0 0 11 12 130 14 20 0 1 0 5";
        assert_eq!(children_ticks(stat), Some(144));
        assert_eq!(children_ticks(""), None);
    }

    #[test]
    fn a_ratio_is_taken_within_a_round_so_that_a_slow_minute_does_not_move_it() {
        let taken = [[1.2, 1.0], [12.0, 10.0], [1.3, 1.0], [1.1, 1.0], [2.4, 2.0]];
        let rounds = Rounds(taken.map(Vec::from).into());
        assert_eq!(rounds.ratio(0, &[1]), [1.2, 1.2, 1.2]);
        assert_eq!(Rounds(vec![vec![3.0, 1.0, 2.0]]).ratio(0, &[1, 2]), [1.0, 1.0, 1.0]);
        assert_eq!(rounds.median_ms(1), 1000.0);
    }

    #[test]
    fn a_candidate_that_fails_ends_the_comparison_with_its_reason() {
        let mut fails = || Err(Unmeasured("no disk".to_owned()));
        let error = alternate(3, Meter::Wall, [&mut fails]).unwrap_err();
        assert_eq!(error.to_string(), "no disk");
    }

    #[test]
    fn the_peak_of_this_process_is_known_and_grows_with_what_is_touched() {
        let before = peak_resident_bytes().unwrap();
        let touched = vec![1u8; 64 << 20];
        assert!(peak_resident_bytes().unwrap() >= before.max(touched.len() as u64));
    }

    #[test]
    fn quantiles_of_few_values_are_values() {
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(vec![1.0], 0.75), 1.0);
        assert_eq!(quantile(Vec::new(), 0.5), 0.0);
    }
}
