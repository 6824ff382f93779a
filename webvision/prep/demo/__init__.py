"""A small data set that is drawn, not downloaded: data_set lays it out, pictures draws."""
