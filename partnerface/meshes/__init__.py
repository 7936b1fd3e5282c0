"""Triangle meshes: hierarchy, rasterizer, ray casting, points on a surface."""
