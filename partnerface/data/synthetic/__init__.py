"""The embedded subject: a procedural monocular video with exact ground truth, rendered from the Anny head."""
