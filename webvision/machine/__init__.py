"""What this machine is, asked without TensorFlow: its GPUs, their driver, the CUDA libraries, its cores and memory."""
