"""Numbers that anyone can measure again: speed against a published peer, growth, memory, convergence."""
