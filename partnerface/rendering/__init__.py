"""Volume rendering, and the mesh rasterizer that draws head models. Imports cameras and head_models."""
