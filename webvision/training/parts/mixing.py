"""Mixup in pairs: pictures 0 and 1 of a batch mix with each other, 2 and 3, and so on; the order is random already.

Pairs stay within a tower's piece when it is even, so 1, 2 and 4 towers mix the same pictures. How much of a picture is
its own follows from (seed, step) alone.
"""

import numpy as np

from webvision.compat import tf

_STREAM = 0x6D697875  # this use of the seed: other draws have other counters
UNMIXED = 0.9  # of a picture, from which its margin counts as its own


def own_shares(seed, step, batch, strength):
    """How much of each picture of a batch is its own, float32 [batch], 0.5 to 1: max(l, 1 - l) of l ~ Beta(a, a).

    Both of a pair have the same; the last of an odd batch has nobody and stays whole.
    """
    counter = np.array([0, 0, step, _STREAM], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=int(seed) & (1 << 128) - 1, counter=counter))
    drawn = generator.beta(strength, strength, size=batch // 2)
    shares = np.ones(batch, np.float32)
    shares[: batch // 2 * 2] = np.repeat(np.maximum(drawn, 1 - drawn), 2)
    return shares


def partners(tensor):
    """The other one of each pair, along the first axis; the last of an odd number is its own partner."""
    count = tf.shape(tensor)[0]
    return tf.gather(tensor, tf.minimum(tf.bitwise.bitwise_xor(tf.range(count), 1), count - 1))


def mix(images, share):
    """Pictures [n, h, w, 3] of which `share` [n] is their own and the rest their partner's, in float32."""
    images = tf.cast(images, tf.float32)
    share = tf.reshape(share, [-1, 1, 1, 1])
    return share * images + (1 - share) * partners(images)
