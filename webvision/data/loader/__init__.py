"""Who builds batches, where, and what happens when one of them dies.

batches is the way in; builder makes one batch (compiled is its C path), source runs builders here or in a pool of
workers (pool, worker, worker_link, spawn, ring), speed measures all that.
"""
