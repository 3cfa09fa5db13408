"""The script that one writes first with OpenCV: every step as its tutorial has it, each thumbnail from the picture."""

import hashlib

import cv2
import imagehash
import numpy
from PIL import Image

from rounds import serve

SIDES = (1200, 600, 150)

cv2.setNumThreads(1)


def work(data):
    picture = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    record = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "sharpness": cv2.Laplacian(grey, cv2.CV_64F).var(),
        "histogram": cv2.calcHist([grey], [0], None, [256], [0, 256]),
        # From the pixels that are there already: opening the file again would decode it twice.
        "phash": imagehash.phash(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))),
    }
    height, width = grey.shape
    for side in SIDES:
        share = side / max(width, height)
        size = (round(width * share), round(height * share))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        record[side] = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    return record


serve(work)
