"""The tables of the mixing coder, whole numbers alone, so that every reader computes the same bits.

Source: Mahoney 2005, "Adaptive weighing of context models for lossless data compression",
https://cs.fit.edu/~mmahoney/compression/cs200516.pdf, section 3, with finer tables.
"""

import math

import numpy as np

SCALE = 256  # of the logistic domain: x stands for a log-odds of x / 256
MOST = 2815  # of a log-odds, times SCALE: odds of 1 to 60,000

COUNTED = 1000  # decisions after which a counter's rate stays as it is

# ln(p / (1 - p)) of the p in the middle of 4096 equal intervals; no entry lies within 1e-5 of where
# it would be rounded the other way, so that any sound logarithm gives the same.
STRETCH = np.array(
    [round(SCALE * math.log((i + 0.5) / (4095.5 - i))) for i in range(4096)], np.int64
)
# 65536 / (1 + e^-x), 1 to 65535.
SQUASH = np.array(
    [min(max(round(65536 / (1 + math.exp(-x / SCALE))), 1), 65535) for x in range(-MOST, MOST + 1)],
    np.int64,
)
# 65536 times what a counter moves towards its n-th decision: 1 / (n + 1.6).
RATE = np.array([655360 // (10 * n + 16) for n in range(COUNTED + 1)], np.int64)
