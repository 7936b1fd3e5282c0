"""Triangle meshes: hierarchy, rasterizer, ray casting, normals, points on a surface; dilation of masks."""
