"""How kernels are compiled, and the vector and matrix units that they use."""
