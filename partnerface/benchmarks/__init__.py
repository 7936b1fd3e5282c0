"""Measurements that anyone can repeat: methods against each other, and the speed of this installation."""
