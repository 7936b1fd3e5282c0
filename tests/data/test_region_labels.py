import torch

from partnerface.data.region_labels import EVALUATION_REGIONS, HEAD, Region, region_masks


def test_masks_pixel_by_pixel():
    generator = torch.Generator().manual_seed(0)
    matte = torch.rand(9, 11, generator=generator)
    labels = torch.randint(0, len(Region), (9, 11), generator=generator, dtype=torch.uint8)
    forehead = torch.rand(9, 11, generator=generator) < 0.5
    masks = region_masks(matte, labels, forehead)
    assert tuple(masks) == EVALUATION_REGIONS
    for y in range(9):
        for x in range(11):
            label, person = Region(int(labels[y, x])), bool(matte[y, x] > 0.5)
            expected = {
                "head_mask": person and label in HEAD,
                "matte": person,
                "eyes": person and label == Region.EYES,
                "mouth": person and label == Region.MOUTH,
                # Hair that hangs over the forehead is none of it, nor is a brow's eye.
                "forehead": person and bool(forehead[y, x]) and label == Region.FACE,
            }
            assert {name: bool(mask[y, x]) for name, mask in masks.items()} == expected
