"""The former name of `PartNetworks`, which avatars of earlier versions hold."""

from partnerface.deformation.part_networks import PartNetworks as PartDeformation

__all__ = ["PartDeformation"]
