"""Writes a recording of a RealSense camera that never was: python recording.py FILE SETS in-time|late|bent

A square stands before a wall, SQUARE_MM + n away in set n, and the colour picture of set n is n red all over: so
whoever plays it can tell by the pixels which depth was taken with which colour. With "late", the colour of each set is
exposed LATE_MS after its depth. With "bent", the lens of the colour camera bends lines much, in the way that the library
calls inverse Brown-Conrady.
"""

import sys
import time

import pyrealsense2 as rs

WIDTH, HEIGHT, FPS = 320, 240, 15
WALL_MM, SQUARE_MM = 1500, 800
LATE_MS = 30.0
# k1, k2, p1, p2, k3 of the colour camera.
LENS, BENT_LENS = [0.05, -0.02, 0.001, 0.002, 0.0], [0.5, 0.0, 0.002, -0.003, 0.0]
# Columns and rows of the square in the depth picture, the last ones not included.
LEFT, RIGHT, TOP, BOTTOM = 110, 200, 80, 160


def lens(fx, fy, cx, cy, model, coefficients):
    told = rs.intrinsics()
    told.width, told.height = WIDTH, HEIGHT
    told.fx, told.fy, told.ppx, told.ppy = fx, fy, cx, cy
    told.model, told.coeffs = model, coefficients
    return told


def stream(kind, unique, form, pixel_bytes, through):
    told = rs.video_stream()
    told.type, told.index, told.uid, told.fmt = kind, 0, unique, form
    told.width, told.height, told.fps, told.bpp = WIDTH, HEIGHT, FPS, pixel_bytes
    told.intrinsics = through
    return told


def frame(number, late_ms, profile, pixel_bytes, pixels):
    made = rs.software_video_frame()
    made.stride, made.bpp = WIDTH * pixel_bytes, pixel_bytes
    made.timestamp = 1000.0 + number * 1000.0 / FPS + late_ms
    made.domain = rs.timestamp_domain.hardware_clock
    made.frame_number = number
    made.profile = profile.as_video_stream_profile()
    made.pixels = pixels
    return made


def depth(number):
    wall = WALL_MM.to_bytes(2, "little")
    square = (SQUARE_MM + number).to_bytes(2, "little")
    far = wall * WIDTH
    near = wall * LEFT + square * (RIGHT - LEFT) + wall * (WIDTH - RIGHT)
    return bytearray(far * TOP + near * (BOTTOM - TOP) + far * (HEIGHT - BOTTOM))


def main(path, sets, manner):
    late_ms = LATE_MS if manner == "late" else 0.0
    camera = rs.software_device()
    for key, value in [
        (rs.camera_info.name, "Synthetic D435"),
        (rs.camera_info.serial_number, "000000000042"),
        (rs.camera_info.firmware_version, "5.17.0.10"),
        (rs.camera_info.product_line, "D400"),
        (rs.camera_info.usb_type_descriptor, "3.2"),
    ]:
        camera.register_info(key, value)
    stereo, rgb = camera.add_sensor("Stereo Module"), camera.add_sensor("RGB Camera")
    brown = rs.distortion.brown_conrady
    measured = stereo.add_video_stream(
        stream(rs.stream.depth, 1, rs.format.z16, 2, lens(190.5, 190.25, 159.5, 119.75, brown, [0.0] * 5))
    )
    model = (rs.distortion.inverse_brown_conrady, BENT_LENS) if manner == "bent" else (brown, LENS)
    shown = lens(305.125, 305.0, 160.25, 120.5, *model)
    seen = rgb.add_video_stream(stream(rs.stream.color, 2, rs.format.rgb8, 3, shown))
    stereo.add_read_only_option(rs.option.depth_units, 0.001)
    stereo.add_read_only_option(rs.option.stereo_baseline, 50.0)
    beside = rs.extrinsics()
    beside.rotation, beside.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0.015, 0, 0]
    measured.register_extrinsics_to(seen, beside)
    camera.create_matcher(rs.matchers.default)

    recorder = rs.recorder(path, camera)
    queue = rs.frame_queue(50)
    sensors = recorder.query_sensors()
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles()[0])
        sensor.start(queue)
    kept = []
    for number in range(1, sets + 1):
        near = frame(number, 0.0, measured, 2, depth(number))
        stereo.set_metadata(rs.frame_metadata_value.actual_exposure, 8500)
        stereo.on_video_frame(near)
        colour = frame(number, late_ms, seen, 3, bytearray(bytes([number, 0, 0]) * (WIDTH * HEIGHT)))
        # In steps of 100 us, as a D435 has them.
        rgb.set_metadata(rs.frame_metadata_value.actual_exposure, 156)
        rgb.set_metadata(rs.frame_metadata_value.white_balance, 4600)
        rgb.on_video_frame(colour)
        # The library does not copy the pixels.
        kept.append((near, colour))
        # It is played at the pace at which it was written.
        time.sleep(1 / FPS)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    del recorder


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
