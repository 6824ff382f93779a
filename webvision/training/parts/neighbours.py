"""Neighbour consistency: what a network says of a picture should be what it says of the pictures most like it.

Iscen et al. 2022, "Learning with neighbor consistency for noisy labels", eq. 4 to 7, with targets held fixed.
"""

from webvision.compat import tf

_NOBODY = -2.0  # similarity of what may not be a neighbour; cosines are above


def consensus(features, bank_features, bank_probabilities, *, count, excluded=None):
    """(targets [n, classes], found [n]): the mean of what was said of the `count` most similar entries of the bank.

    Similarity is the cosine of float32 features [n, d] and [m, d]; an entry weighs as much as it is similar, one below
    0 nothing. `excluded` [n, m]: pairs that are no neighbours, as a picture with itself. Where nothing weighs, `found`
    is 0 and the target is of no use. No gradient flows through any of it.
    """
    own = tf.math.l2_normalize(tf.cast(tf.stop_gradient(features), tf.float32), axis=1)
    bank = tf.math.l2_normalize(tf.cast(tf.stop_gradient(bank_features), tf.float32), axis=1)
    similarity = tf.matmul(own, bank, transpose_b=True)
    if excluded is not None:
        similarity = tf.where(excluded, tf.fill(tf.shape(similarity), _NOBODY), similarity)
    best, who = tf.math.top_k(similarity, k=tf.minimum(count, tf.shape(bank)[0]))
    weight = tf.nn.relu(best)
    total = tf.reduce_sum(weight, axis=1, keepdims=True)
    found = tf.cast(total[:, 0] > 0, tf.float32)
    weight = tf.math.divide_no_nan(weight, total)
    said = tf.gather(tf.stop_gradient(bank_probabilities), who)
    return tf.reduce_sum(weight[:, :, None] * tf.cast(said, tf.float32), axis=1), found
