"""The page in the browser on which an avatar is moved by hand: ``partnerface view``."""
