"""Files for other programs: textured meshes, sequences of posed meshes, Gaussian splats."""
