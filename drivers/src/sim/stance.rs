//! How the platter stands: turned about its own axis, which the tilt carries along. One change of frame between the object
//! and the room.

use super::vector::V3;
use crate::optics::Pose;

/// Turn and tilt at one moment. The tilt's axis stays where it is in the room: it runs along the room's y axis,
/// `below_mm` beneath the middle of the level platter's top, and a positive tilt tips the platter towards azimuth 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Stance {
    pub(crate) turn_deg: f64,
    pub(crate) tilt_deg: f64,
    /// In the models' millimetres.
    pub(crate) below_mm: f64,
}

/// The same as sines and cosines, for directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    about_z: (f32, f32),
    about_y: (f32, f32),
}

impl Stance {
    pub(crate) fn turn(&self) -> Turn {
        let of = |deg: f64| {
            let (sin, cos) = deg.to_radians().sin_cos();
            (sin as f32, cos as f32)
        };
        Turn { about_z: of(self.turn_deg), about_y: of(self.tilt_deg) }
    }

    /// Where a place of the room is in the object's frame.
    pub(crate) fn place_in_object(&self, at: V3) -> V3 {
        let axis = V3 { z: -self.below_mm as f32, ..V3::default() };
        self.turn().into_object(at - axis) + axis
    }

    /// A pose in the room, in metres, as one in the object's frame; a model's millimetre is `scale` of the room's.
    pub(crate) fn pose_in_object(&self, room: &Pose, scale: f64) -> Pose {
        let (sin, cos) = self.tilt_deg.to_radians().sin_cos();
        let level = [[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]];
        let (sin, cos) = self.turn_deg.to_radians().sin_cos();
        let back = [[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]];
        let along =
            |m: &[[f64; 3]; 3], v: [f64; 3]| m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
        let axis = [0.0, 0.0, -self.below_mm * scale / 1000.0];
        let [x, y, z] = room.translation;
        let [x, y, z] = along(&level, [x, y, z - axis[2]]);
        let translation = along(&back, [x, y, z + axis[2]]);
        let column = |k: usize| along(&back, along(&level, room.rotation.map(|row| row[k])));
        let columns = [column(0), column(1), column(2)];
        Pose { rotation: [0, 1, 2].map(|row| columns.map(|column| column[row])), translation }
    }
}

impl Turn {
    /// A direction of the object in the room.
    pub(crate) fn into_room(self, d: V3) -> V3 {
        d.turned(self.about_z).tilted(self.about_y)
    }

    /// A direction of the room in the object's frame.
    pub(crate) fn into_object(self, d: V3) -> V3 {
        let back = |(sin, cos): (f32, f32)| (-sin, cos);
        d.tilted(back(self.about_y)).turned(back(self.about_z))
    }
}

#[cfg(test)]
mod tests {
    use super::super::vector::v3;
    use super::*;

    fn near(a: V3, b: V3) -> bool {
        let d = a - b;
        d.dot(d) < 1e-8
    }

    #[test]
    fn a_positive_tilt_tips_the_platter_towards_azimuth_0_and_the_turn_goes_along() {
        let stance = Stance { turn_deg: 90.0, tilt_deg: 30.0, below_mm: 0.0 };
        // Turned by a quarter, the object's x axis points to azimuth 90 and its -y axis to azimuth 0: that one goes down.
        let front = stance.turn().into_room(v3(0.0, -1.0, 0.0));
        assert!(near(front, v3(0.866_025_4, 0.0, -0.5)), "{front:?}");
        assert!(near(stance.turn().into_room(v3(1.0, 0.0, 0.0)), v3(0.0, 1.0, 0.0)));
        assert!(near(stance.turn().into_object(front), v3(0.0, -1.0, 0.0)));
    }

    #[test]
    fn what_lies_on_the_axis_of_the_tilt_stays_and_the_pose_goes_the_same_way_as_the_place() {
        let stance = Stance { turn_deg: 40.0, tilt_deg: -20.0, below_mm: 30.0 };
        let on_axis = stance.place_in_object(v3(0.0, 0.0, -30.0));
        assert!(near(on_axis, v3(0.0, 0.0, -30.0)), "{on_axis:?}");
        let at = [0.4, 0.1, 0.3];
        let room = Pose { rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], translation: at };
        let pose = stance.pose_in_object(&room, 1.0);
        let place = stance.place_in_object(v3(400.0, 100.0, 300.0)) * 0.001;
        let [x, y, z] = pose.translation.map(|lane| lane as f32);
        assert!(near(place, v3(x, y, z)), "{place:?} {pose:?}");
        let ahead = stance.turn().into_object(v3(0.0, 0.0, 1.0));
        let [x, y, z] = pose.rotation.map(|row| row[2] as f32);
        assert!(near(ahead, v3(x, y, z)));
    }
}
