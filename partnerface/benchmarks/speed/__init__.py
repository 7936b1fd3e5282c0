"""Training and rendering speed, growth with problem size, memory and convergence on this machine."""
