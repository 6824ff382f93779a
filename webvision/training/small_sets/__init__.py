"""What few pictures want: a linear probe, a rate that is safe, an end that the recorded validation decides."""
