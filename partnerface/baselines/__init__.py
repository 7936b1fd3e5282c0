"""Other published methods behind the interface of `Avatar`: same data, losses, metrics and torso."""
