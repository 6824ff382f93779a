"""From addresses to unpacked archives, whatever breaks in between.

command -> crew (all archives) -> acquire (one archive) -> fetch (one file) -> http (one exchange); partfile and proof
are what is known of a begun and of a finished one, unpack reads archives, catalogue says what there is.
"""
