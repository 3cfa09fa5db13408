"""The same work with OpenCV by somebody who measured: small integers, each thumbnail from the next larger one, and
the perceptual hash from the smallest."""

import hashlib

import cv2
import numpy

from rounds import serve

SIDES = (1200, 600, 150)

cv2.setNumThreads(1)


def phash(small):
    cells = cv2.resize(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(cells.astype(numpy.float32))[:8, :8].flatten()
    return numpy.packbits(low > numpy.median(low[1:])).tobytes()


def work(data):
    picture = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    record = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "sharpness": deviation[0, 0] ** 2,
        "histogram": cv2.calcHist([grey], [0], None, [256], [0, 256]),
    }
    height, width = grey.shape
    small = picture
    for side in SIDES:
        share = side / max(width, height)
        size = (round(width * share), round(height * share))
        small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
        record[side] = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    record["phash"] = phash(small)
    return record


serve(work)
