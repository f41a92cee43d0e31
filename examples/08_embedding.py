# Draws from Python, by nothing but ctypes: 08_embedding.py LIBRARY RUN
# SPDX-License-Identifier: MIT
import ctypes
import sys

library = ctypes.CDLL(sys.argv[1])
library.lab_error.restype = ctypes.c_char_p
library.lab_open.restype = ctypes.c_void_p
library.lab_open.argtypes = [ctypes.c_char_p]
library.lab_sample.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32), ctypes.c_int, ctypes.c_double,
                               ctypes.POINTER(ctypes.c_float)]
library.lab_close.argtypes = [ctypes.c_void_p]


def sample(lab, labels, guidance=2.0):
    """Pixels in [-1, 1], 16 x 16 x 3 for each label, one after the other; a failure is an exception of Python's."""
    images = (ctypes.c_float * (len(labels) * 16 * 16 * 3))()
    if library.lab_sample(lab, (ctypes.c_int32 * len(labels))(*labels), len(labels), guidance, images) != 0:
        raise RuntimeError(library.lab_error().decode())
    return list(images)


# What fails says why: a run that is not there, a class that is not there.
assert library.lab_open(b"no/such/run") is None
print("expected:", library.lab_error().decode())

lab = library.lab_open(sys.argv[2].encode())
if lab is None:
    sys.exit(library.lab_error().decode())
try:
    sample(lab, [11])
    sys.exit("08_embedding: expected class 11 of 10 to be refused")
except RuntimeError as error:
    print("expected:", error)

pixels = sample(lab, [0, 3])
assert len(pixels) == 2 * 768 and all(-1 <= p <= 1 for p in pixels) and pixels[:768] != pixels[768:]
for y in range(16):  # both pictures side by side, by the brightness of their pixels
    rows = [pixels[(n * 16 + y) * 48:(n * 16 + y + 1) * 48] for n in (0, 1)]
    bright = [[sum(row[3 * x:3 * x + 3]) / 6 + 0.5 for x in range(16)] for row in rows]
    print("   ".join("".join(" .:-=+*#%@"[int(9.999 * b)] * 2 for b in row) for row in bright))
library.lab_close(lab)
