"""A LightningModule and its callbacks: avatar, losses and data -> checkpoint, metrics and videos."""
