"""From a folder of pictures to shards (pack), and lists from the shards of others (lists)."""
