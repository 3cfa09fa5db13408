//! The kernel's structures and numbers (linux/videodev2.h), for machines with 64-bit pointers.

use std::mem::size_of;

/// A request's number: direction, size of its argument, `V` and its own number.
const fn request(direction: u64, number: u64, size: usize) -> u64 {
    direction << 30 | (size as u64) << 16 | (b'V' as u64) << 8 | number
}
const W: u64 = 1;
const R: u64 = 2;

pub const QUERYCAP: u64 = request(R, 0, size_of::<Capability>());
pub const ENUM_FMT: u64 = request(R | W, 2, size_of::<FormatEntry>());
pub const G_FMT: u64 = request(R | W, 4, size_of::<Format>());
pub const S_FMT: u64 = request(R | W, 5, size_of::<Format>());
pub const REQBUFS: u64 = request(R | W, 8, size_of::<RequestBuffers>());
pub const QUERYBUF: u64 = request(R | W, 9, size_of::<Buffer>());
pub const QBUF: u64 = request(R | W, 15, size_of::<Buffer>());
pub const DQBUF: u64 = request(R | W, 17, size_of::<Buffer>());
pub const STREAMON: u64 = request(W, 18, 4);
pub const STREAMOFF: u64 = request(W, 19, 4);
pub const G_PARM: u64 = request(R | W, 21, size_of::<StreamParameters>());
pub const S_PARM: u64 = request(R | W, 22, size_of::<StreamParameters>());
pub const G_CTRL: u64 = request(R | W, 27, size_of::<Control>());
pub const S_CTRL: u64 = request(R | W, 28, size_of::<Control>());
pub const QUERYCTRL: u64 = request(R | W, 36, size_of::<QueryControl>());
pub const QUERYMENU: u64 = request(R | W, 37, size_of::<QueryMenu>());
pub const ENUM_FRAMESIZES: u64 = request(R | W, 74, size_of::<SizeEntry>());

pub const VIDEO_CAPTURE: u32 = 1;
pub const META_CAPTURE: u32 = 0x0080_0000;
pub const STREAMING: u32 = 0x0400_0000;
pub const DEVICE_CAPS: u32 = 0x8000_0000;
pub const FLAG_ERROR: u32 = 0x40;
pub const FLAG_MONOTONIC: u32 = 0x2000;
pub const FLAG_SOE: u32 = 0x1_0000;
pub const NEXT_CTRL: u32 = 0x8000_0000;
pub const NEXT_COMPOUND: u32 = 0x4000_0000;

#[repr(C)]
pub struct Capability {
    pub driver: [u8; 16],
    pub card: [u8; 32],
    pub bus: [u8; 32],
    pub version: u32,
    pub capabilities: u32,
    pub device_caps: u32,
    pub reserved: [u32; 3],
}

#[repr(C)]
pub struct FormatEntry {
    pub index: u32,
    pub kind: u32,
    pub flags: u32,
    pub description: [u8; 32],
    pub fourcc: [u8; 4],
    pub bus_code: u32,
    pub reserved: [u32; 3],
}

#[repr(C)]
pub struct Format {
    pub kind: u32,
    pub pad: u32,
    pub width: u32,
    pub height: u32,
    pub fourcc: [u8; 4],
    pub field: u32,
    pub stride: u32,
    pub size: u32,
    pub colorspace: u32,
    pub private: u32,
    pub flags: u32,
    pub encoding: u32,
    pub quantization: u32,
    pub transfer: u32,
    pub rest: [u64; 19],
}

#[repr(C)]
pub struct RequestBuffers {
    pub count: u32,
    pub kind: u32,
    pub memory: u32,
    pub capabilities: u32,
    pub flags: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Buffer {
    pub index: u32,
    pub kind: u32,
    pub used: u32,
    pub flags: u32,
    pub field: u32,
    pub pad: u32,
    pub seconds: i64,
    pub micros: i64,
    pub timecode: [u32; 4],
    pub sequence: u32,
    pub memory: u32,
    pub offset: u64,
    pub length: u32,
    pub reserved: u32,
    pub request: u32,
    pub end: u32,
}

#[repr(C)]
pub struct StreamParameters {
    pub kind: u32,
    pub capability: u32,
    pub mode: u32,
    pub numerator: u32,
    pub denominator: u32,
    pub rest: [u32; 46],
}

#[repr(C)]
pub struct Control {
    pub id: u32,
    pub value: i32,
}

#[repr(C)]
pub struct QueryControl {
    pub id: u32,
    pub kind: u32,
    pub name: [u8; 32],
    pub minimum: i32,
    pub maximum: i32,
    pub step: i32,
    pub default: i32,
    pub flags: u32,
    pub reserved: [u32; 2],
}

#[repr(C)]
pub struct QueryMenu {
    pub id: u32,
    pub index: u32,
    pub name: [u8; 32],
    pub reserved: u32,
}

#[repr(C)]
pub struct SizeEntry {
    pub index: u32,
    pub fourcc: [u8; 4],
    pub kind: u32,
    pub width: u32,
    pub height: u32,
    pub rest: [u32; 6],
}

// The sizes that the kernel's headers give.
const _: () = assert!(
    size_of::<Capability>() == 104
        && size_of::<FormatEntry>() == 64
        && size_of::<Format>() == 208
        && size_of::<RequestBuffers>() == 20
        && size_of::<Buffer>() == 88
        && size_of::<StreamParameters>() == 204
        && size_of::<QueryControl>() == 68
        && size_of::<QueryMenu>() == 44
        && size_of::<SizeEntry>() == 44
);
