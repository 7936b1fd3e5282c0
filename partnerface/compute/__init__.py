"""Use of the hardware: Warp launches, threads, cores, memory, chunks of rays."""
