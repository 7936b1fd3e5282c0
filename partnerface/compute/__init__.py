"""How the hardware is used: Warp launches, threads, memory, chunks."""
