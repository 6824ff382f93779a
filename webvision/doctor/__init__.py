"""Is this machine ready? What a run stands on, each said in one line, with what to do where it is wrong."""
