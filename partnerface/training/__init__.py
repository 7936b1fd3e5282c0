"""The Lightning module and its callbacks: everything comes together here."""
