//! The sensor of a streaming camera: a frame each period, whether somebody takes it or not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use crate::abi::{FLAG_ERROR, FLAG_MONOTONIC, FLAG_SOE};
use crate::camera::hold;
use crate::controls::InForce;
use crate::device::{Answer, Device};
use crate::place;
use crate::plan::{Plan, Stamp};

/// Exposes until the stream of this number ends or the camera is gone.
pub fn run(device: &Arc<Device>, file: &File, stream: u64) {
    let (camera, begun) = (&device.node.camera, now());
    let period = Duration::from_secs(1) / hold(&device.state).fps;
    for sequence in 0_u32.. {
        let start = begun + period * sequence;
        if !wait(device, stream, start) {
            return;
        }
        if !device.node.is_there() {
            return device.go();
        }
        let (number, in_force) = camera.expose();
        let plan = camera.plan().clone();
        if plan.fault("gone", number) {
            place::note(&camera.name, "gone");
            place::unplug(&camera.name);
            return device.go();
        }
        if plan.fault("stall", number) {
            place::note(&camera.name, "stalls");
            return;
        }
        let mut seen = picture(device, number, &in_force, start);
        let answer = answer(&plan, number, &mut seen, start, start + period, sequence);
        if !wait(device, stream, start + period) {
            return;
        }
        if plan.fault("lose", number) {
            continue;
        }
        deliver(device, file, &seen, answer);
    }
}

/// Waits for a moment; false if the stream has ended by then.
fn wait(device: &Device, stream: u64, until: Duration) -> bool {
    let mut state = hold(&device.state);
    loop {
        let left = until.saturating_sub(now());
        if state.stream != Some(stream) {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        state = match device.woken.wait_timeout(state, left) {
            Ok((state, _)) => state,
            Err(broken) => broken.into_inner().0,
        };
    }
}

/// The bytes that the sensor gives. A JPEG tells in a comment which frame it is and what it was taken with.
fn picture(device: &Device, number: u64, in_force: &InForce, start: Duration) -> Vec<u8> {
    let (fourcc, (width, height)) = {
        let state = hold(&device.state);
        (state.fourcc, state.size)
    };
    let (width, height) = (width as usize, height as usize);
    let luma = |at: usize| 16 + ((at % width.max(1) + at / width.max(1)) % 200) as u8;
    match &fourcc {
        b"YUYV" => (0..width * height).flat_map(|at| [luma(at), 128]).collect(),
        b"NV12" => {
            (0..width * height).map(luma).chain(std::iter::repeat_n(128, width * height / 2)).collect()
        }
        _ => {
            let jpeg = device.node.camera.sees(number);
            let InForce { exposure, white, focus } = in_force;
            let us = start.as_micros();
            let text =
                format!("fake frame={number} exposure={exposure} white={white} focus={focus} start_us={us}");
            let length = u16::try_from(text.len() + 2).unwrap_or_default().to_be_bytes();
            let (head, rest) = jpeg.split_at(jpeg.len().min(2));
            [head, &[0xff, 0xfe], &length, text.as_bytes(), rest].concat()
        }
    }
}

/// What the kernel will say of a frame, after what goes wrong with it.
fn answer(
    plan: &Plan,
    number: u64,
    seen: &mut Vec<u8>,
    start: Duration,
    end: Duration,
    sequence: u32,
) -> Answer {
    if plan.damage("short", number) {
        seen.truncate(seen.len() / 2);
    }
    if plan.damage("corrupt", number) {
        seen.iter_mut().take(8).for_each(|byte| *byte = 0);
    }
    if plan.damage("empty", number) {
        seen.clear();
    }
    let (stamp, mut flags) = match plan.stamp {
        Stamp::Start => (start, FLAG_MONOTONIC | FLAG_SOE),
        Stamp::End => (end, FLAG_MONOTONIC),
        Stamp::None => (Duration::ZERO, 0),
        Stamp::Future => (end + Duration::from_secs(3600), FLAG_MONOTONIC | FLAG_SOE),
    };
    if plan.damage("flagged", number) {
        flags |= FLAG_ERROR;
    }
    let used = u32::try_from(seen.len()).unwrap_or(u32::MAX);
    let used = if plan.damage("overlong", number) { u32::MAX } else { used };
    let (seconds, micros) = (stamp.as_secs() as i64, i64::from(stamp.subsec_micros()));
    let mut answer = Answer { index: 0, told: None, used, flags, stamp: (seconds, micros), sequence };
    if plan.damage("index", number) {
        answer.told = Some(99);
    }
    if let Some(seed) = plan.chaos {
        scramble(&mut answer, seed ^ number);
    }
    answer
}

/// Every part of an answer as it may never be.
fn scramble(answer: &mut Answer, seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    match next() % 8 {
        0 => answer.used = next() as u32,
        1 => answer.flags = next() as u32,
        2 => answer.stamp = (next() as i64, next() as i64),
        3 => answer.sequence = next() as u32,
        4 => answer.told = Some(next() as u32),
        5 => answer.used = (next() % 64) as u32,
        6 => answer.stamp.1 = next() as i64,
        _ => {}
    }
}

/// Writes a frame into the next buffer and tells whoever waits. Without a buffer it is lost.
fn deliver(device: &Device, file: &File, seen: &[u8], mut answer: Answer) {
    let mut state = hold(&device.state);
    let Some(index) = state.queued.pop_front() else {
        drop(state);
        return place::note(&device.node.camera.name, "nobody takes frames");
    };
    let room = state.length as usize;
    let bytes = &seen[..seen.len().min(room)];
    if bytes.len() < seen.len() {
        answer.flags |= FLAG_ERROR;
        answer.used = state.length;
    }
    file.write_all_at(bytes, index as u64 * room as u64).unwrap_or_default();
    answer.index = index;
    state.done.push_back(answer);
    drop(state);
    device.woken.notify_all();
}

/// The kernel's monotonic clock.
pub fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes into a place of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
