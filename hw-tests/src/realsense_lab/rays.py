"""Prints where librealsense has each pixel's ray one metre ahead: python rays.py LENS

LENS is a lens as turnstage writes it, as JSON; printed are pairs of right and down in a JSON list, row by row.
"""

import json
import sys

import pyrealsense2 as rs

MODELS = {
    "none": rs.distortion.none,
    "brown": rs.distortion.brown_conrady,
    "inverse-brown": rs.distortion.inverse_brown_conrady,
}


def main(told):
    lens = rs.intrinsics()
    lens.width, lens.height = told["width"], told["height"]
    lens.fx, lens.fy, lens.ppx, lens.ppy = told["fx"], told["fy"], told["cx"], told["cy"]
    lens.model, lens.coeffs = MODELS[told["distortion"]], told["coefficients"]
    pixels = [[float(u), float(v)] for v in range(lens.height) for u in range(lens.width)]
    print(json.dumps([rs.rs2_deproject_pixel_to_point(lens, pixel, 1.0)[:2] for pixel in pixels]))


main(json.loads(sys.argv[1]))
