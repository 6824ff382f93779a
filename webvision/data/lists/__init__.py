"""Which pictures, which label, in which order: text and integers, no pixel.

text reads and writes lists, scan and index make one memory-mapped table of them (index_file is its file), folders opens
a split of a data set, balance and order say which rows an epoch has and when, balanced writes them out as a list;
repeats finds what a list names twice.
"""
