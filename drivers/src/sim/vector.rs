//! Three numbers, and the few things the renderer does with them.

use std::ops::{Add, Mul, Neg, Sub};

/// A point, a direction or a linear colour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct V3 {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) z: f32,
}

pub(crate) const fn v3(x: f32, y: f32, z: f32) -> V3 {
    V3 { x, y, z }
}

impl V3 {
    /// The same number three times: a grey.
    pub(crate) const fn splat(value: f32) -> V3 {
        v3(value, value, value)
    }

    pub(crate) fn dot(self, o: V3) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    pub(crate) fn cross(self, o: V3) -> V3 {
        v3(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }

    /// Length 1; the zero vector stays zero.
    pub(crate) fn unit(self) -> V3 {
        let square = self.dot(self);
        if square > 0.0 { self * square.sqrt().recip() } else { self }
    }

    /// Product of each component, as light by colour.
    pub(crate) fn by(self, o: V3) -> V3 {
        v3(self.x * o.x, self.y * o.y, self.z * o.z)
    }

    pub(crate) fn mix(self, o: V3, t: f32) -> V3 {
        self + (o - self) * t
    }

    /// Turned about the z axis, counter-clockwise seen from above, by an angle given as (sine, cosine).
    pub(crate) fn turned(self, (sin, cos): (f32, f32)) -> V3 {
        v3(self.x * cos - self.y * sin, self.x * sin + self.y * cos, self.z)
    }

    /// Turned about the y axis by an angle given as (sine, cosine): a positive one takes x down.
    pub(crate) fn tilted(self, (sin, cos): (f32, f32)) -> V3 {
        v3(self.x * cos + self.z * sin, self.y, self.z * cos - self.x * sin)
    }
}

impl Add for V3 {
    type Output = V3;
    fn add(self, o: V3) -> V3 {
        v3(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl Sub for V3 {
    type Output = V3;
    fn sub(self, o: V3) -> V3 {
        v3(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for V3 {
    type Output = V3;
    fn mul(self, k: f32) -> V3 {
        v3(self.x * k, self.y * k, self.z * k)
    }
}

impl Neg for V3 {
    type Output = V3;
    fn neg(self) -> V3 {
        v3(-self.x, -self.y, -self.z)
    }
}
