import shutil

import numpy as np
import pytest
from PIL import Image

from partnerface.data.image_files import write_image
from partnerface.data.readers.partnerface import PartnerfaceReader
from partnerface.dataset_checks.frame_statistics import frame_statistics
from partnerface.user_error import UserError


@pytest.fixture
def root(synthetic_dataset, tmp_path):
    shutil.copytree(synthetic_dataset, tmp_path / "set")
    return tmp_path / "set"


def test_shares_against_counting_by_hand(root):
    matte = np.zeros((32, 32), np.uint8)
    matte[:8], matte[8:10] = 255, 128
    write_image(root / "fg_masks" / "00005.png", matte)
    found = frame_statistics(PartnerfaceReader(root).read())
    assert found.matte_share[5] == pytest.approx((8 + 2 * 128 / 255) / 32)
    assert found.soft_share[5] == pytest.approx(2 / 10)


def test_digests_are_of_the_pixels_not_of_the_file(root):
    image = Image.open(root / "images" / "00003.png")
    image.save(root / "images" / "00009.png", compress_level=9)
    digests = frame_statistics(PartnerfaceReader(root).read()).digests
    assert len(set(digests)) == 23
    assert digests[3] == digests[9]


def test_a_damaged_picture_is_named(root):
    path = root / "images" / "00007.png"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"images/00007\.png"):
        frame_statistics(PartnerfaceReader(root).read())
