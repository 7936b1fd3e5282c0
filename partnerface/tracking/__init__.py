"""Raw video -> tracked sequence: landmarks, matte, head fit. Imports head_models, cameras, data, rendering."""
