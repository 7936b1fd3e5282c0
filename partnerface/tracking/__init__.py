"""Raw video -> tracked sequence: landmarks, matte, head fit."""
