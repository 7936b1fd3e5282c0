"""Frames and rays in the order that training and evaluation visit them."""
