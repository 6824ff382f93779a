"""What the commands do, across the rooms: entry points parse their flags and call these."""
