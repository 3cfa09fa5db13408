"""The three thumbnails alone, by libvips: the largest while loading, each of the others from the one before."""

import pyvips

from rounds import serve

# It would answer the second round from what it remembers of the first.
pyvips.cache_set_max(0)


def work(data):
    large = pyvips.Image.thumbnail_buffer(data, 1200).copy_memory()
    middle = large.thumbnail_image(600).copy_memory()
    small = middle.thumbnail_image(150).copy_memory()
    return [image.jpegsave_buffer(Q=85) for image in (large, middle, small)]


serve(work)
